"""The way of a request: one corridor, walked once. ``handle`` is the core that every HTTP server calls."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog

from countersign.access.admission import Admission, Presented, authorise_application
from countersign.access.api_signature import SignedRequest
from countersign.access.applications import Application
from countersign.access.consents import Consent, Consents
from countersign.access.identify import Identifier, Unauthenticated
from countersign.access.large_bodies import LARGE, apart
from countersign.access.limits import RateLimits
from countersign.api import ApiError, Caller, Held, Operation, Request, Response, encode, validation
from countersign.encoding import strictjson
from countersign.encoding.nul import member_with_nul
from countersign.encoding.target import BadPath, Target, parse_target
from countersign.server import logs
from countersign.server.call import ServerCall
from countersign.server.head import Head, bearer, check_media_type, read_headers
from countersign.server.metrics import Metrics
from countersign.server.query import parse_query
from countersign.server.router import NoMethod, Route, Router
from countersign.server.services import Services
from countersign.server.turnstile import Turnstile, for_strangers
from countersign.storage import StorageUnavailable

log = structlog.get_logger("countersign.request")

ReadBody = Callable[[int], Awaitable[bytes]]

_NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store"}
#: Permissions, and approvals: what was held for one may be a permission.
_OF_RIGHTS = ("/permissions", "/v2/policy-approvals")
#: Targets whose operation is remembered: most are asked for again, by the same client or another. Strangers can fill
#: this memory, so it is small.
_MOST_FOUND = 4096
_LONGEST_FOUND = 128
#: Largest body of an operation under /auth but the challenge, which carries another body inside.
AUTH_LIMIT = 256 << 10


class Corridor:
    """Stations 0 to 9 for the declared operations."""

    def __init__(
        self,
        router: Router,
        services: Services,
        identifier: Identifier,
        admission: Admission,
        consents: Consents,
        metrics: Metrics,
    ) -> None:
        self._router = router
        self._services = services
        self._identifier = identifier
        self._admission = admission
        self._consents = consents
        self._limits = services.get(RateLimits)
        self._terms: dict[str, _Terms] = {}
        self._found: dict[tuple[str, bytes], tuple[Target, Route]] = {}
        self._metrics = metrics
        self._turnstile = Turnstile()
        self._for_strangers = for_strangers(services.database)
        settings = services.settings
        self._prefix = tuple(settings.mount_prefix.strip("/").split("/")) if settings.mount_prefix else ()
        self._hosts = frozenset(host.lower() for host in settings.public_hosts)

    async def handle(self, head: Head, read_body: ReadBody) -> Response:
        """Answer one request; never raises."""
        started = time.perf_counter()
        request_id = self._services.world.new_id("rq")
        line = logs.RequestLine(request_id)
        try:
            response = await self._walk(line, head, read_body)
        except ApiError as error:
            response = error_response(error, request_id)
            line.reason = error.reason or error.code
        except StorageUnavailable as error:
            code = "OUTCOME_UNKNOWN" if error.unknown_outcome else "UNAVAILABLE"
            response = error_response(ApiError(code), request_id)
            line.reason = error.reason
        except Exception:
            # The one place where an unforeseen fault becomes an answer: its id leads to this line.
            log.exception("fault", request_id=request_id, operation=line.operation)
            response = error_response(ApiError("INTERNAL"), request_id)
        seconds = time.perf_counter() - started
        line.status, line.milliseconds = response.status, round(seconds * 1000, 2)
        self._metrics.observe(line.operation, response.status, seconds)
        logs.request(line)
        return response

    def refuse(self, error: ApiError) -> Response:
        """The answer to what never became a request; told to log and metrics like any other."""
        request_id = self._services.world.new_id("rq")
        self._metrics.observe("none", error.status, 0.0)
        logs.request(logs.RequestLine(request_id, status=error.status, reason=error.reason or error.code))
        return error_response(error, request_id)

    async def _walk(self, line: logs.RequestLine, head: Head, read_body: ReadBody) -> Response:
        headers = read_headers(head.headers)
        token = bearer(headers)
        # Station 0, before any signature is checked.
        self._limits.admit(self._identifier.remembered(token) if token is not None else None, head.client_address)
        if self._hosts and headers.get("host", "").lower() not in self._hosts:
            raise ApiError("BAD_HEADER", "Bad Request: header host names another server")
        target, route = self._find(head)
        operation = route.operation
        line.operation = operation.id
        terms = self._terms.get(operation.id) or self._read_terms(operation)
        if operation.public and terms.of_api:
            self._limits.public(head.client_address)
            await self._turnstile.turn()
        if not operation.public:
            # Before the body is read: strangers must not make this process hold and parse megabytes.
            known = self._identifier.at_hand(token) or await self._identify(token)
            line.organisation, line.user = known.org_id, known.user_id
        data = await read_body(terms.body_limit)
        large = len(data) >= LARGE
        body = await apart(len(data), lambda: parse_body(headers, data)) if large else parse_body(headers, data)
        request = Request(line.request_id, head.method, target, headers, head.client_address, body)
        if operation.signed and large:
            # Here, and not where it is needed first: of a large body this takes long as well.
            await apart(len(data), lambda: request.canonical_body)
        caller: Caller | None = None
        consent: Consent | None = None
        presented: Presented | None = None
        if terms.of_api and not self._admission.nothing_to_check(headers):
            presented = await self._admission.present(SignedRequest(head.method, _text(head), headers, data))
        if not operation.public:
            # Again, as the body may have been long in coming; remembered for a moment, so it costs next to nothing.
            caller = self._identifier.at_hand(token) or await self._identify(token)
            caller = await self._admission.admit(presented, caller)
            if operation.signed:
                consent = await self._consents.read(request, caller)
            if not _holds(operation, caller, presented):
                # What was given a moment ago counts at once: nobody is refused by what is remembered.
                presented = await self._admission.look_again(presented)
                caller = await self._admission.match(presented, await self._identify(token, fresh=True))
            authorise_application(operation, presented)
            authorise(operation, caller)
        elif presented is not None:
            await self._admission.admit_public(presented)
            authorise_application(operation, presented)
        # Only an escape writes it: the reader refuses the character itself.
        nul = b"\\u0000" in data
        arguments = (
            await apart(len(data), lambda: typed_arguments(operation, request, may_hold_nul=nul))
            if large
            else typed_arguments(operation, request, may_hold_nul=nul)
        )

        async def refresh() -> tuple[Caller, Application | None]:
            newest = await self._admission.look_again(presented)
            authorise_application(operation, newest)
            again = await self._admission.match(newest, await self._identify(token, fresh=True))
            authorise(operation, again)
            return again, _application(newest)

        transactions = self._for_strangers if caller is None else self._services.database
        application = _application(presented)
        call = ServerCall(self._services, request, caller, route.params, consent, application, refresh, transactions)
        try:
            result = await operation.handler(call, **arguments)
        except ApiError as error:
            await call.refused(error)
            raise
        if terms.changes_rights and caller is not None:
            self._identifier.forget(caller.org_id)
            self._admission.forget(caller.org_id)
        if isinstance(result, Response):
            return result
        if result is None:
            return Response(204, b"", headers=terms.headers)
        return Response(202 if isinstance(result, Held) else 200, encode(result), headers=terms.headers)

    def _find(self, head: Head) -> tuple[Target, Route]:
        """Target and operation of a request, by heart where it is short and has no query."""
        if head.has_query or len(head.path) > _LONGEST_FOUND:
            target = self._target(head)
            return target, self._route(head.method, target)
        found = self._found.get((head.method, head.path))
        if found is None:
            target = self._target(head)
            found = target, self._route(head.method, target)
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            self._found[head.method, head.path] = found
        return found

    def _target(self, head: Head) -> Target:
        raw = head.path + b"?" + head.query if head.query else head.path
        try:
            target = parse_target(raw)
        except BadPath as error:
            raise ApiError("BAD_PATH", f"Bad Request: {error.reason}") from None
        if self._prefix:
            size = len(self._prefix)
            if target.segments[:size] != self._prefix:
                raise ApiError("NOT_FOUND", "route not found")
            return Target(target.segments[size:], target.query, target.has_query)
        return target

    def _route(self, method: str, target: Target) -> Route:
        found = self._router.find(method, target.segments)
        if isinstance(found, Route):
            return found
        if isinstance(found, NoMethod):
            raise ApiError("METHOD", headers={"Allow": ", ".join(found.allowed)})
        raise ApiError("NOT_FOUND", "route not found")

    def _read_terms(self, operation: Operation) -> _Terms:
        of_auth = operation.path.startswith("/auth/")
        carries_another = operation.path == "/auth/action/init"
        limit = min(operation.max_body, AUTH_LIMIT) if of_auth and not carries_another else operation.max_body
        changes_rights = operation.signed and operation.path.startswith(_OF_RIGHTS)
        terms = _Terms(not operation.public or of_auth, limit, _NO_STORE if of_auth else {}, changes_rights)
        self._terms[operation.id] = terms
        return terms

    async def _identify(self, token: str | None, *, fresh: bool = False) -> Caller:
        if token is None:
            raise ApiError("UNAUTHENTICATED", reason="no bearer token")
        caller = await self._identifier.identify(token, fresh=fresh)
        if isinstance(caller, Unauthenticated):
            raise ApiError("UNAUTHENTICATED", reason=caller.reason)
        return caller


class _Terms(msgspec.Struct, frozen=True):
    """What follows from the path of an operation: whether it belongs to the API (and not to what the server offers
    beside it: health, key set, documents), the bytes that its body may have, headers of its answers, and whether it
    may change what others may do."""

    of_api: bool
    body_limit: int
    headers: Mapping[str, str]
    changes_rights: bool


def parse_body(headers: Mapping[str, str], data: bytes) -> dict[str, Any]:
    """The body as the strict reader understands it; no body is ``{}``."""
    if not data:
        return {}
    check_media_type(headers)
    try:
        return strictjson.parse_object(data)
    except strictjson.BadJson as error:
        raise ApiError("BAD_JSON", f"Bad Request: {error.reason}") from None


def authorise(operation: Operation, caller: Caller) -> None:
    """Station 5: 403 unless this kind of caller is admitted and holds the operation."""
    if caller.token_kind not in operation.callers or caller.user_kind not in operation.user_kinds:
        raise ApiError("CALLER_KIND_REFUSED")
    if operation.permission is not None and not caller.may(operation.permission):
        raise ApiError("FORBIDDEN", f"{caller.label} is not authorized to perform operation ({operation.permission})")


def _holds(operation: Operation, caller: Caller, presented: Presented | None) -> bool:
    """Whether caller and application hold the operation, as they were read."""
    needed = operation.permission
    application = _application(presented)
    return needed is None or (caller.may(needed) and (application is None or application.may(needed)))


def typed_arguments(operation: Operation, request: Request, *, may_hold_nul: bool) -> dict[str, Any]:
    """Station 6: body and query as the types the operation names. ``may_hold_nul``: whether to look in the body."""
    arguments: dict[str, Any] = {}
    if operation.body is not None:
        arguments["body"] = _convert(request.body, operation.body, may_hold_nul=may_hold_nul)
    elif request.body:
        raise validation("", "this operation takes no body")
    if operation.query is not None:
        query = parse_query(request.target.query, operation.query)
        arguments["query"] = _convert(query, operation.query, may_hold_nul=True)
    elif request.target.query:
        raise validation("", "this operation takes no query")
    return arguments


def _convert(value: Mapping[str, Any], kind: type[Any], *, may_hold_nul: bool) -> Any:
    hidden = member_with_nul(value) if may_hold_nul else None
    if hidden is not None:
        raise validation(hidden, "must not hold the character U+0000")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        raise validation(path.rstrip("`").removeprefix("$").lstrip("."), _shortened(message)) from None


#: How messages about a value or name that nobody expected begin; it follows in quotes.
_ECHOES = ("Invalid enum value ", "Invalid value ", "Object contains unknown field ")
_ECHOED = 24


def _shortened(message: str) -> str:
    """The message with little of what was sent: enough to see a slip, too little of a misplaced key."""
    for start in _ECHOES:
        if message.startswith(start) and len(message) > len(start) + _ECHOED + 2:
            quote = message[len(start)]
            return f"{message[: len(start) + 1 + _ECHOED]}...{quote}"
    return message


def error_response(error: ApiError, request_id: str) -> Response:
    """The one error envelope."""
    body: dict[str, Any] = {
        "id": request_id,
        "status": error.status,
        "message": error.message,
        "code": error.code,
    }
    if error.details:
        body["details"] = error.details
    return Response(
        error.status,
        encode({"error": body, "message": error.message}),
        headers={"Cache-Control": "no-store", **error.headers},
    )


def _application(presented: Presented | None) -> Application | None:
    return None if presented is None else presented.application


def _text(head: Head) -> str:
    """The request target as it stood on the wire."""
    raw = head.path + b"?" + head.query if head.has_query else head.path
    return raw.decode("latin-1")
