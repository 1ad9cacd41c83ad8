"""Station 8: one call of one operation, and the transaction that spends its consent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from countersign.access.applications import Application, has_changed
from countersign.access.consents import Consent, PermissionsChanged, Stale, hold, recheck
from countersign.access.stored_credentials import SigningKey
from countersign.api import ApiError, Call, Caller, Effect, Request, Superseded
from countersign.audit.entry import Action, Credential, Enrolled, Evidence, Outcome, SecondFactor, pack_payload
from countersign.audit.log import append
from countersign.consent import evidence as consent_evidence
from countersign.encoding.dates import to_iso
from countersign.encoding.target import canonical_path
from countersign.keystores import ConsentEvidence, outgoing
from countersign.keystores.outgoing import RosterKeeper
from countersign.server.services import Services
from countersign.server.turnstile import Transactions
from countersign.storage import ConstraintViolated, Transaction

T = TypeVar("T")


#: How often a transaction is tried that others' changes keep getting in the way of.
_LOOKS = 3


class _Spent(Exception):
    """The action has an audit entry already; rolls the effect back."""


class _Refused(Exception):
    """The effect refused; rolls it back."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))
        self.error = error


class ServerCall(Call):
    """A call inside the corridor."""

    def __init__(
        self,
        services: Services,
        request: Request,
        caller: Caller | None,
        params: Mapping[str, str],
        consent: Consent | None,
        application: Application | None,
        refresh: Callable[[], Awaitable[tuple[Caller, Application | None]]],
        transactions: Transactions,
    ) -> None:
        self._services = services
        self._transactions = transactions
        self.request = request
        self.params = params
        self.world = services.world
        self._caller = caller
        self._consent = consent
        self._application = application
        self._refresh = refresh
        self._committed = False
        self._told = False

    @property
    def caller(self) -> Caller:
        """The caller; an operation without authentication has none."""
        if self._caller is None:
            raise LookupError("this operation has no caller")
        return self._caller

    def service(self, kind: type[T]) -> T:
        """The service of this type."""
        return self._services.get(kind)

    async def read(self, make: Callable[[], Transaction[T]]) -> T:
        """Run a reading transaction."""
        return await self._transactions.read(make)

    async def write(self, make: Callable[[], Transaction[T]]) -> T:
        """Run a transaction that follows the one which spent the consent, or that of an operation without one."""
        if self._consent is not None and not self._committed:
            raise RuntimeError("nothing is written before the consent is spent")
        return await self._transactions.write(make)

    @property
    def consent(self) -> Consent:
        """The verified consent of a signed operation."""
        if self._consent is None:
            raise LookupError("this operation is not signed")
        return self._consent

    @property
    def action_id(self) -> str:
        """Id of the user action, which is the id of its audit entry."""
        return self.consent.action_id

    @property
    def evidence(self) -> ConsentEvidence:
        """What an order to the signer carries."""
        return self.consent.order_evidence(self._services.installation_id, self.request, self.caller)

    async def commit(self, make: Callable[[], Transaction[Effect[T]]], *, hold_caller: bool = False) -> T:
        """See :meth:`Call.commit`."""
        if self._committed:
            raise RuntimeError("a call commits once")
        self._committed = True
        payload = self._sealed_payload()
        try:
            effect = await self._run(make, payload, hold_caller=hold_caller)
        except Superseded:
            self._committed = False
            raise
        except _Spent:
            raise ApiError("USER_ACTION_REUSED") from None
        except Stale as stale:
            raise ApiError(stale.code, reason=stale.reason) from None
        except _Refused as refused:
            await self._spend_on_refusal(refused.error, payload)
            raise refused.error from None
        if self._told:
            # So that a credential can be used right away; what cannot be delivered now is later.
            await self._services.get(RosterKeeper).deliver()
        if effect.refused is not None:
            raise effect.refused
        return effect.value

    async def refused(self, error: ApiError) -> None:
        """An operation that refuses before it commits uses the action up too; one that cannot be served does not."""
        if self._consent is None or self._committed or error.status >= 500:
            return
        if error.code == "SIGNER_REFUSED":
            await self._say_if_stale()
        await self._spend_on_refusal(error, self._sealed_payload())

    async def _say_if_stale(self) -> None:
        """A consent that was cancelled is refused by the signer too; the caller is told what it is, as without it."""
        try:
            await self._services.database.read(lambda: recheck(self.caller, self.consent, self.world.now()))
        except Stale as stale:
            raise ApiError(stale.code, reason=stale.reason) from None
        except PermissionsChanged:
            return

    async def _run(self, make: Callable[[], Transaction[Effect[T]]], payload: bytes, *, hold_caller: bool) -> Effect[T]:
        """The transaction; run again when it met a change that its second look takes into account."""
        for _ in range(_LOOKS):
            try:
                return await self._services.database.write(
                    lambda: self._spend(make(), payload, hold_caller=hold_caller)
                )
            except PermissionsChanged:
                self._caller, self._application = await self._refresh()
            except ConstraintViolated:
                # Someone took the unique name meanwhile; the effect's own check sees it now.
                continue
        raise ApiError("UNAVAILABLE", "Too much is changing at once.")

    def _spend(self, effect: Transaction[Effect[T]], payload: bytes, *, hold_caller: bool) -> Transaction[Effect[T]]:
        if hold_caller:
            yield from hold(self.caller)
        yield from recheck(self.caller, self.consent, self.world.now())
        if self._application is not None and (yield from has_changed(self._application)):
            raise PermissionsChanged
        try:
            done = yield from effect
        except ApiError as error:
            raise _Refused(error) from None
        outcome = _outcome(done)
        if not (yield from self._append(outcome, done, payload)):
            raise _Spent
        if outcome.status not in (200, 204):
            # What waits, or was blocked, has not been done.
            return done
        if done.enrolled or outgoing.concerned(self.request.method, canonical_path(self.request.target.segments)):
            enrolled = [item.credential_uuid for item in done.enrolled]
            self._told = yield from outgoing.follow(self.evidence, enrolled, self.world)
        return done

    async def _spend_on_refusal(self, error: ApiError, payload: bytes) -> None:
        """The effect was rolled back; the action is used up all the same, in a transaction of its own."""
        outcome = Outcome(status=error.status, code=error.code)
        nothing: Effect[None] = Effect(None)
        if not await self._services.database.write(lambda: self._append(outcome, nothing, payload)):
            raise ApiError("USER_ACTION_REUSED") from None

    def _sealed_payload(self) -> bytes:
        """Body and action token as kept beside the entry, bound to it."""
        plain = pack_payload(self.request.canonical_body, self.consent.token)
        return self._services.ring.payload_seal.seal(plain, self.consent.action_id)

    def _append(self, outcome: Outcome, done: Effect[Any], payload: bytes) -> Transaction[bool]:
        consent, caller, request = self.consent, self.caller, self.request
        now = to_iso(self.world.now())
        entry = Action(
            installation_id=self._services.installation_id,
            org_id=caller.org_id,
            id=consent.action_id,
            date_performed=now,
            entity_ids=done.entities,
            enrolled=tuple(
                Enrolled(credential_uuid=e.credential_uuid, user_id=e.user_id, kind=e.kind, fingerprint=e.fingerprint)
                for e in done.enrolled
            ),
            request_id=request.request_id,
            user_id=caller.user_id,
            username=caller.username,
            token_id=caller.token_id,
            token_kind=caller.token_kind,
            app_id=caller.app_id,
            delegated_by=caller.delegated_by,
            method=request.method,
            path=canonical_path(request.target.segments),
            query=consent.signed_query,
            actual_query=consent.actual_query,
            query_signed=consent.query_signed,
            payload_sha256=consent.payload_sha256,
            digest=consent.digest,
            credential=_credential(consent.credential_uuid, consent.evidence, consent.signed_by.first),
            evidence=_evidence(consent.evidence),
            date_signed=to_iso(consent.signed_at * 1000),
            response=outcome,
            client_address=request.client_address,
            second_factor=_second_factor(consent),
        )
        return (yield from append(entry, payload))


def _outcome(done: Effect[Any]) -> Outcome:
    """What the caller is answered, as its audit entry says it."""
    if done.refused is not None:
        return Outcome(status=done.refused.status, code=done.refused.code)
    return Outcome(status=done.status, code=done.code)


def _credential(uuid: str, evidence: consent_evidence.Evidence, key: SigningKey) -> Credential:
    return Credential(uuid=uuid, kind=evidence.kind, public_key=key.public_key.pem, relying_party_id=key.rp_id)


def _evidence(evidence: consent_evidence.Evidence) -> Evidence:
    return Evidence(
        client_data=evidence.client_data,
        signature=evidence.signature,
        authenticator_data=evidence.authenticator_data,
        algorithm=evidence.algorithm,
    )


def _second_factor(consent: Consent) -> SecondFactor | None:
    second, key = consent.second_factor, consent.signed_by.second
    if second is None or key is None:
        return None
    return SecondFactor(
        credential=_credential(second.credential_uuid, second.evidence, key), evidence=_evidence(second.evidence)
    )
