"""Making signatures: where rows and the signer meet."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import structlog

from countersign.api import ApiError, Call
from countersign.audit.entry import Signature, System
from countersign.audit.log import append
from countersign.encoding.dates import to_iso
from countersign.keys import keys, signatures, signers
from countersign.keys.signatures import NewSignature
from countersign.keys.signing import ToSign, parts
from countersign.keys.types import SignatureRequest
from countersign.keystores import (
    ConsentEvidence,
    KeyRecord,
    SignatureValue,
    SignerClient,
    SignerRefused,
    SignerSealed,
    SignerUnavailable,
    SignOrder,
)
from countersign.storage import StorageUnavailable, Transaction
from countersign.world import World

log = structlog.get_logger("countersign.keys")


@dataclass(frozen=True, slots=True)
class Failure:
    """The signer understood and refused: the request ends as ``Failed``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """What the second transaction of a signature writes down; ``approvals``: ids of the actions that approved it."""

    installation_id: str
    key: KeyRecord
    wanted: ToSign
    signature_id: str
    action_id: str
    payload_sha256: str
    request_id: str | None
    outcome: SignatureValue | Failure
    approval_id: str | None = None
    approvals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys in all stores. ``signers``: by id of the key store, the ``primary_store`` among them.

    ``destruction_days``: how long a key must have been archived before it can be destroyed.
    """

    signers: Mapping[str, SignerClient]
    primary_store: str
    installation_id: str
    destruction_days: int = 7
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def log_event(self, call: Call, event: str, key_id: str, now: int, details: Mapping[str, str]) -> Transaction[None]:
        """What happened to a key, in an entry of its own: the body of the request may be redacted. ``now`` in ms."""
        entry = System(
            installation_id=self.installation_id,
            org_id=call.org_id,
            id=call.world.new_id("uj"),
            date_performed=to_iso(now),
            entity_ids=(key_id,),
            event=event,
            user_id=call.caller.user_id,
            username=call.caller.username,
            details=dict(details),
        )
        yield from append(entry, None)

    @property
    def available(self) -> bool:
        """Whether an order would reach any of the stores right now."""
        return any(signer.available for signer in self.signers.values())

    def signer_of(self, key: KeyRecord) -> SignerClient:
        """The signer of the store that holds the key; 503 when this server serves no such store."""
        signer = self.signers.get(key.store_id)
        if signer is None:
            raise ApiError("SIGNER_UNAVAILABLE", reason=f"key store {key.store_id} is not configured")
        return signer

    def turn(self, name: str) -> asyncio.Lock:
        """What calls of this process that would get into each other's way wait for."""
        return self._turns.setdefault(name, asyncio.Lock())

    async def sign(self, call: Call, key: KeyRecord, wanted: ToSign, external_id: str | None) -> SignatureRequest:
        """Two transactions with the signer between them; what a crash leaves between is finished by the recovery."""
        signer = self.signer_of(key)
        signers.require(signer)
        payload_sha256 = hashlib.sha256(call.request.canonical_body).hexdigest()
        new = NewSignature(
            signature_id=call.world.new_id("sig"),
            key_id=key.key_id,
            body=dict(call.request.body),
            external_id=external_id,
            payload_hash=payload_sha256,
            action_id=call.action_id,
        )
        started = await call.commit(lambda: signatures.start(call.caller, new, call.world))
        if not started.fresh:
            return started.request
        try:
            outcome = await order(signer, key, wanted, new.signature_id, call.evidence)
        except (SignerUnavailable, SignerSealed) as error:
            raise _kept(
                "SIGNER_UNAVAILABLE", new.signature_id, "The signer went away while signing", str(error)
            ) from None
        done = Finish(
            self.installation_id,
            key,
            wanted,
            new.signature_id,
            call.action_id,
            payload_sha256,
            call.request.request_id,
            outcome,
        )
        try:
            return await call.write(lambda: finish(done, call.world))
        except StorageUnavailable as error:
            reason = "The signature could not be recorded"
            raise _kept("OUTCOME_UNKNOWN", new.signature_id, reason, error.reason) from None


def _kept(code: str, signature_id: str, what: str, reason: str) -> ApiError:
    """503 after the consent was spent: the request stays ``Executing``, and the recovery takes it up under its id."""
    return ApiError(
        code,
        f"{what}; the request is kept and will be finished.",
        details={"signatureId": signature_id, "hint": "Read the signature request instead of repeating it."},
        reason=reason,
    )


async def order(
    signer: SignerClient, key: KeyRecord, wanted: ToSign, signature_id: str, evidence: ConsentEvidence
) -> SignatureValue | Failure:
    """Ask the signer. Raises ``SignerUnavailable`` and ``SignerSealed``, after which the same may be asked again."""
    try:
        return await signer.sign(
            SignOrder(
                key=key,
                kind=wanted.payload_kind,
                payload=wanted.payload,
                request_id=signature_id,
                evidence=evidence,
                tweak=wanted.tweak,
            )
        )
    except SignerRefused as error:
        log.warning("signer refused", code=error.code, key_id=key.key_id, signature_id=signature_id)
        return Failure(f"the signer refused: {error.code}")


def finish(done: Finish, world: World) -> Transaction[SignatureRequest]:
    """Record the outcome once, with its audit entry; whoever comes second reads what the first recorded.

    A key that was archived meanwhile has signed nothing: what it made is dropped, and the request fails.
    """
    key, outcome, now = done.key, done.outcome, world.now()
    raw: bytes | None = None
    request: SignatureRequest | None = None
    if isinstance(outcome, SignatureValue):
        raw = outcome.r + outcome.s
        value = parts(key.scheme, raw, outcome.recid)
        request = yield from signatures.finish(key.org_id, done.signature_id, value, now)
    reason = None
    if request is None:
        raw, reason = None, outcome.reason if isinstance(outcome, Failure) else keys.ARCHIVED
        request = yield from signatures.fail(key.org_id, done.signature_id, reason)
    if request is None:
        existing = yield from signatures.get(key.org_id, key.key_id, done.signature_id)
        if existing is None:
            raise LookupError(f"signature request {done.signature_id} vanished")
        return existing
    yield from append(
        Signature(
            installation_id=done.installation_id,
            org_id=key.org_id,
            id=world.new_id("uj"),
            date_performed=to_iso(now),
            entity_ids=(done.signature_id,),
            request_id=done.request_id,
            action_id=done.action_id,
            signature_id=done.signature_id,
            key_id=key.key_id,
            public_key=key.public_key.hex(),
            scheme=key.scheme,
            curve=key.curve,
            payload_kind=done.wanted.payload_kind,
            payload_sha256=done.payload_sha256,
            taproot_tweak=None if done.wanted.tweak is None else done.wanted.tweak.hex(),
            signature=None if raw is None else raw.hex(),
            failure=reason,
            approval_id=done.approval_id,
            approvals=done.approvals,
        ),
        None,
    )
    yield from signatures.tell(
        key.org_id, "wallet.signature.signed" if reason is None else "wallet.signature.failed", request, world
    )
    return request
