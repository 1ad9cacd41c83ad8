"""Station 3, the request headers: application, nonce and API signature, before and after the caller is known.

Headers that are present are always checked; what must be present is a setting of the server and of each application. An
application that no organisation of this server has is ignored (and logged) unless one is demanded: it names nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import structlog

from countersign.access import nonce
from countersign.access.api_signature import SignedRequest, verify_api_signature
from countersign.access.applications import Application, Applications, Demands
from countersign.api import ApiError, Caller, Operation
from countersign.credentials.outcome import Refused
from countersign.storage import Database
from countersign.world import World

log = structlog.get_logger("countersign.request")

#: Scope of nonces where neither an organisation nor an application is known.
PUBLIC_SCOPE = "public"

_APPLICATION_ID = re.compile(r"ap-[a-z0-9]{5}-[a-z0-9]{5}-[a-z0-9]{14,16}")


@dataclass(frozen=True, slots=True)
class Presented:
    """What the headers of a request hold, found good as far as the caller does not matter.

    ``secret``: that of a server-signed application; its API signature holds.
    """

    application: Application | None
    nonce: nonce.Nonce | None
    strict_nonce: bool
    secret: str | None = field(repr=False)


class Admission:
    """Checks request headers. ``hosts`` and ``scheme`` are the public ones, for the API signature.

    Without ``hosts`` no API signature holds, unless ``any_host``.
    """

    def __init__(
        self,
        applications: Applications,
        database: Database,
        world: World,
        demands: Demands,
        *,
        nonce_length: int,
        hosts: frozenset[str],
        scheme: str,
        any_host: bool,
    ) -> None:
        self._applications = applications
        self._database = database
        self._world = world
        self._demands = demands
        self._nonce_length = nonce_length
        self._hosts = hosts
        self._scheme = scheme
        self._any_host = any_host
        self._plain = demands == Demands()

    def nothing_to_check(self, headers: Mapping[str, str]) -> bool:
        """Whether nothing was sent and nothing is demanded."""
        return self._plain and "x-dfns-appid" not in headers and "x-dfns-nonce" not in headers

    def forget(self, org_id: str) -> None:
        """Read the organisation's applications anew when they are named next."""
        self._applications.forget(org_id)

    async def present(self, request: SignedRequest) -> Presented | None:
        """Check what needs no caller; ``None`` when there is nothing to check.

        Raises 403 ``APPLICATION_REFUSED``, 400 ``NONCE_INVALID``.
        """
        headers = request.headers
        if self.nothing_to_check(headers):
            return None
        app_id, header = headers.get("x-dfns-appid"), headers.get("x-dfns-nonce")
        application = await self._named(app_id)
        demands = Demands() if application is None else application.demands
        signs = self._demands.api_signature or demands.api_signature
        strict = self._demands.nonce or demands.nonce
        fresh = self._nonce(header, strict=strict, required=strict or signs)
        secret = await self._check_signature(request, application) if signs else None
        return Presented(application, fresh, strict, secret)

    async def look_again(self, presented: Presented | None) -> Presented | None:
        """The same with the application as the database has it now. Raises 403 ``APPLICATION_REFUSED``."""
        if presented is None or presented.application is None:
            return presented
        application = await self._named(presented.application.app_id, fresh=True)
        if application is not None and presented.secret is not None:
            await self._check_secret(presented.secret, application)
        return replace(presented, application=application)

    async def admit(self, presented: Presented | None, caller: Caller) -> Caller:
        """Hold the caller to what was presented, and use up the nonce; the caller with the application named.

        Raises 403 ``APPLICATION_REFUSED``, 400 ``NONCE_INVALID`` and ``NONCE_REUSED``.
        """
        if presented is None and caller.app_id is None:
            return caller
        admitted = await self.match(presented, caller)
        if presented is not None and presented.nonce is not None:
            # Only after authentication, so that strangers cannot fill the memory.
            await self._use_up(caller.org_id, presented.nonce)
        return admitted

    async def admit_public(self, presented: Presented | None) -> None:
        """The same where nobody is authenticated; the nonce is one of the application's, or of all strangers."""
        if presented is not None and presented.nonce is not None:
            scope = PUBLIC_SCOPE if presented.application is None else presented.application.app_id
            await self._use_up(scope, presented.nonce)

    async def match(self, presented: Presented | None, caller: Caller) -> Caller:
        """Hold the caller to what was presented, without using anything up."""
        application = None if presented is None else presented.application
        if application is not None and application.org_id != caller.org_id:
            raise _refused("an application of another organisation")
        if caller.app_id is not None and (application is None or application.app_id != caller.app_id):
            await self._check_own(caller.app_id, presented)
        if application is None:
            return caller
        # What an operation asks of the caller beside its own permission, the application must hold as well.
        granted = caller.operations if application.operations is None else application.operations
        if caller.operations is not None and granted is not None:
            granted &= caller.operations
        return replace(caller, app_id=application.app_id, operations=granted)

    async def _check_own(self, app_id: str, presented: Presented | None) -> None:
        """The caller's token was issued through an application that the request does not name."""
        own = await self._applications.find(app_id)
        if own is None:
            return
        if own.demands.application_id or own.demands.api_signature:
            raise _refused("the application that the caller's token belongs to is not named")
        if own.demands.nonce and (presented is None or presented.nonce is None or not presented.strict_nonce):
            raise ApiError("NONCE_INVALID", reason="the application of the caller's token demands one")

    async def _named(self, app_id: str | None, *, fresh: bool = False) -> Application | None:
        required = self._demands.application_id or self._demands.api_signature
        if app_id is None:
            if required:
                raise _refused("no application is named")
            return None
        found = None
        if _APPLICATION_ID.fullmatch(app_id):
            found = await self._applications.find(app_id, fresh=fresh)
        if found is None:
            if required or fresh:
                raise _refused("unknown application")
            log.info("an unknown application is named and ignored")
            return None
        if not found.is_active:
            raise _refused("the application is not active")
        return found

    def _nonce(self, header: str | None, *, strict: bool, required: bool) -> nonce.Nonce | None:
        if header is None:
            if required:
                raise ApiError("NONCE_INVALID", reason="missing")
            return None
        parsed = nonce.parse(header, self._world.now(), strict=strict, least_length=self._nonce_length)
        if isinstance(parsed, nonce.Refused):
            raise ApiError("NONCE_INVALID", reason=parsed.reason)
        return parsed

    async def _check_signature(self, request: SignedRequest, application: Application | None) -> str:
        if application is None or application.key is None:
            raise _refused("the application has no key to sign requests with")
        secret = request.headers.get("x-dfns-appsecret")
        if secret is None:
            raise _refused("a server-signed application sends its secret")
        await self._check_secret(secret, application)
        hosts = self._hosts
        if self._any_host and not hosts:
            hosts = frozenset({request.headers.get("host", "").lower()})
        verified = verify_api_signature(request, application.key, hosts, self._scheme)
        if isinstance(verified, Refused):
            raise _refused(verified.reason)
        return secret

    async def _check_secret(self, secret: str, application: Application) -> None:
        reason = await self._applications.secret_refusal(secret, application)
        if reason is not None:
            raise _refused(f"application secret: {reason}")

    async def _use_up(self, scope: str, fresh: nonce.Nonce) -> None:
        # Without the database nothing can be known to be fresh; StorageUnavailable is answered 503.
        if not await self._database.write(lambda: nonce.remember(scope, fresh)):
            raise ApiError("NONCE_REUSED")


def authorise_application(operation: Operation, presented: Presented | None) -> None:
    """403 ``APPLICATION_REFUSED`` unless the application that is named, if any, holds the operation."""
    if presented is None or presented.application is None or operation.permission is None:
        return
    application = presented.application
    if not application.may(operation.permission):
        raise ApiError(
            "APPLICATION_REFUSED",
            f"application {application.app_id} is not authorized to perform operation ({operation.permission})",
        )


def _refused(reason: str) -> ApiError:
    return ApiError("APPLICATION_REFUSED", reason=reason)
