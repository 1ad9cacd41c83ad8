"""Making keys and signatures: where rows and the signer meet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import structlog

from countersign.api import ApiError, Call
from countersign.audit.entry import Signature
from countersign.audit.log import append
from countersign.encoding.dates import to_iso
from countersign.keys import keys, signatures
from countersign.keys.signatures import NewSignature
from countersign.keys.signing import ToSign, parts
from countersign.keys.types import Key, SignatureParts, SignatureRequest
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
    """What the second transaction of a signature writes down."""

    installation_id: str
    key: KeyRecord
    wanted: ToSign
    signature_id: str
    action_id: str
    payload_sha256: str
    request_id: str | None
    outcome: SignatureValue | Failure


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys in the primary store, ``store_id``."""

    signer: SignerClient
    store_id: str
    installation_id: str

    def require_signer(self) -> None:
        """503 while no order could be carried out, so that no consent is spent for nothing."""
        if self.signer.sealed:
            raise ApiError("KEYSTORE_SEALED")
        if not self.signer.available:
            raise ApiError("SIGNER_UNAVAILABLE")

    async def create(self, call: Call, scheme: str, curve: str, name: str | None) -> Key:
        """Have the signer make a key, and store it sealed. A crash in between leaves nothing but an unused secret."""
        self.require_signer()
        key_id = call.world.new_id("key")
        try:
            made = await self.signer.generate(
                call.org_id, key_id, scheme, curve, call.request.request_id, call.evidence
            )
        except SignerSealed:
            raise ApiError("KEYSTORE_SEALED") from None
        except SignerUnavailable as error:
            raise ApiError("SIGNER_UNAVAILABLE", reason=str(error)) from None
        now = call.world.now()
        return await call.commit(
            lambda: keys.insert(call.org_id, key_id, scheme, curve, name, self.store_id, made, now)
        )

    async def sign(self, call: Call, key: KeyRecord, wanted: ToSign, external_id: str | None) -> SignatureRequest:
        """Two transactions with the signer between them; what a crash leaves between is finished by the recovery."""
        self.require_signer()
        payload_sha256 = hashlib.sha256(call.request.canonical_body).hexdigest()
        new = NewSignature(
            signature_id=call.world.new_id("sig"),
            key_id=key.key_id,
            body=dict(call.request.body),
            external_id=external_id,
            payload_hash=payload_sha256,
            action_id=call.action_id,
        )
        started = await call.commit(lambda: signatures.start(call.caller, new, call.world.now()))
        if not started.fresh:
            return started.request
        try:
            outcome = await order(self.signer, key, wanted, new.signature_id, call.evidence)
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
    """Record the outcome once, with its audit entry; whoever comes second reads what the first recorded."""
    key, outcome, now = done.key, done.outcome, world.now()
    value: SignatureParts | None = None
    raw: bytes | None = None
    if isinstance(outcome, SignatureValue):
        raw = outcome.r + outcome.s
        value = parts(key.scheme, raw, outcome.recid)
    reason = outcome.reason if isinstance(outcome, Failure) else None
    request = yield from signatures.finish(key.org_id, done.signature_id, value, reason, now)
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
        ),
        None,
    )
    return request
