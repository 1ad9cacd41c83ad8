"""Keys that come in and go out as shares: the rows on either side of the signer's work."""

from __future__ import annotations

import base64

import msgspec
import structlog

from countersign.api import UNSET, ApiError, Call, Effect, not_found, validation
from countersign.encoding import base64url
from countersign.keys import export_approvals, key_settings, keys, signers, store, telling
from countersign.keys.export_approvals import Approved, fingerprint
from countersign.keys.ownership import require_usable
from countersign.keys.rows import NewKey
from countersign.keys.service import Keys
from countersign.keys.signing import SUPPORTED
from countersign.keys.transfer_types import (
    Cluster,
    EncryptedKeyShare,
    ExportedKey,
    ExportKey,
    ImportKey,
    Signer,
    SignerList,
)
from countersign.keys.types import Key
from countersign.keystores import GeneratedKey, KeyRecord, SignerRefused
from countersign.keystores.share_format import PROTOCOLS, choose_protocol
from countersign.keystores.sharing import MIN_SIGNERS
from countersign.keystores.store import ListedSigners, insert_signers, list_signers, newest_root
from countersign.keystores.transfer_messages import ExportPayload, ImportPayload, SealedSigner, decode_signers, encode
from countersign.storage import Transaction
from countersign.world import World

log = structlog.get_logger("countersign.keys")

_ENCRYPTION_KEY_VERSION = b"\x01"
_NO_APPROVAL = "none: the organisation names no approver group"


async def signer_list(service: Keys, call: Call) -> SignerList:
    """The signers of the primary store as clients see them."""
    store_id = service.primary_store
    listed, fresh = await _current_signers(service, call, store_id)
    if fresh:
        now = call.world.now()
        await call.write(lambda: insert_signers(store_id, listed, now))
        # Of two processes that made some at once, both give out those of the first.
        listed = (await call.read(lambda: list_signers(store_id)))[0]
    shown = [
        Signer(signer_id=_text(signer.signer_id), encryption_key=_text(_ENCRYPTION_KEY_VERSION + signer.public_key))
        for signer in sorted(decode_signers(listed.signers), key=lambda one: one.signer_id)
    ]
    return SignerList(clusters=[Cluster(cluster_id=listed.cluster_id, signers=shown)])


async def _current_signers(service: Keys, call: Call, store_id: str) -> tuple[ListedSigners, bool]:
    """Those under the newest store root, or else new ones that are yet to be stored, and whether they are.

    Those of an older root will do while the signer is away.
    """

    def known() -> Transaction[tuple[list[ListedSigners], int]]:
        sets = yield from list_signers(store_id)
        return sets, (yield from newest_root(store_id))

    sets, newest = await call.read(known)
    signer = service.signers[store_id]
    if sets and (sets[0].root_version >= newest or not signer.available):
        return sets[0], False
    await _require_sharing(call, store_id)
    signers.require(signer)
    with signers.answered(store_id):
        made = await signer.make_signers(call.request.request_id)
    return ListedSigners(made[0].root_version, call.world.new_id("cl"), encode(made)), True


async def _require_sharing(call: Call, store_id: str) -> None:
    """400 for a hardware module, whose keys come in and go out by its vendor's means only."""
    listed = await call.read(keys.list_stores)
    if any(each.id == store_id and each.kind == "Hsm" for each in listed):
        raise ApiError("KEY_UNSUPPORTED", f"{store_id} is a hardware module: its keys cannot be imported or exported.")


async def import_key(service: Keys, call: Call, body: ImportKey) -> Key:
    """Have the signer put a key together from its shares, and store it sealed."""
    await call.read(lambda: key_settings.require_import(call.org_id))
    scheme = PROTOCOLS.get((body.protocol, body.curve))
    if scheme is None:
        raise validation("protocol", f"{body.protocol} makes no keys on {body.curve}")
    if (scheme, body.curve) not in SUPPORTED:
        raise ApiError("KEY_UNSUPPORTED", f"{scheme} with {body.curve} is not supported")
    if body.master_key is True and scheme == "DH":
        raise validation("masterKey", "DH keys cannot be master keys")
    shares = tuple(
        (
            _bytes(f"encryptedKeyShares[{index}].signerId", share.signer_id),
            _bytes(f"encryptedKeyShares[{index}].encryptedKeyShare", share.encrypted_key_share),
        )
        for index, share in enumerate(body.encrypted_key_shares)
    )
    sets = await call.read(lambda: list_signers(service.primary_store))
    if not sets:
        await _require_sharing(call, service.primary_store)
        raise ApiError("KEY_SHARES_REFUSED", "The shares are for signers that this server never listed.")
    named = {signer_id for signer_id, _ in shares}
    listed = next((one for one in map(_signers, sets) if named & {signer.signer_id for signer in one}), None)
    signer = service.signers[service.primary_store]
    signers.require(signer)
    new = NewKey(
        org_id=call.org_id,
        key_id=call.world.new_id("key"),
        scheme=scheme,
        curve=body.curve,
        store_id=service.primary_store,
        name=None if body.name is UNSET else body.name,
        is_master=body.master_key is True,
        delegated_to=call.caller.user_id if call.caller.sees_only_delegated else None,
        is_imported=True,
    )
    payload = ImportPayload(body.protocol, body.curve, body.min_signers, shares)
    with signers.answered(new.key_id):
        try:
            made = await signer.import_key(
                call.org_id,
                new.key_id,
                scheme,
                payload,
                listed or _signers(sets[0]),
                call.request.request_id,
                call.evidence,
                master=new.is_master,
            )
        except SignerRefused as error:
            raise _shares_refused(error) from None
    return await call.commit(lambda: _imported(new, made, call.world))


def _imported(new: NewKey, made: GeneratedKey, world: World) -> Transaction[Effect[Key]]:
    yield from key_settings.require_import(new.org_id)
    return (yield from telling.created(new.org_id, keys.insert(new, made, world.now()), world))


async def export_key(service: Keys, call: Call, key_id: str, body: ExportKey) -> ExportedKey:
    """Have the signer share a key for whoever holds the encryption key.

    The signer is asked first: the shares come out only with the consent spent, the key marked and the entry in the
    audit log written, and a signer that is away costs no consent.
    """
    key = await call.read(lambda: keys.stored(call.org_id, key_id))
    require_usable(key, call.caller)
    await call.read(lambda: key_settings.require_export(call.org_id))
    record = await call.read(lambda: keys.to_sign_with(call.org_id, key_id))
    if record is None:
        raise not_found("key")
    supported: list[tuple[str, str]] = [(one.protocol, one.curve) for one in body.supported_schemes]
    protocol = choose_protocol(record.scheme, record.curve, supported)
    if protocol is None:
        pair = (record.scheme, record.curve)
        fitting = ", ".join(name for (name, curve), scheme in PROTOCOLS.items() if (scheme, curve) == pair)
        reason = f"no entry fits a key of {record.scheme} on {record.curve}; expected one of {fitting}"
        raise validation("supportedSchemes", reason)
    chosen = body.supported_schemes[supported.index((protocol, record.curve))]
    payload = ExportPayload(_bytes("encryptionKey", body.encryption_key), protocol)
    wished = export_approvals.Wished.by(call, key_id)
    approved = await call.read(lambda: export_approvals.needed(wished, call.world.now()))
    signer = service.signer_of(record)
    signers.require(signer)
    listed, fresh = await _current_signers(service, call, record.store_id)
    signer_ids = tuple(one.signer_id for one in _signers(listed))
    evidence = msgspec.structs.replace(call.evidence, approvals=tuple(one.evidence for one in approved))
    with signers.answered(key_id):
        try:
            shares = await signer.export_key(record, payload, signer_ids, call.request.request_id, evidence)
        except SignerRefused as error:
            raise _shares_refused(error) from None
    new_signers = listed if fresh else None
    await call.commit(lambda: _exported(service, call, record, payload, new_signers, approved))
    if not approved:
        log.warning("key exported without an approval", key_id=key_id, org_id=call.org_id, approval=_NO_APPROVAL)
    return ExportedKey(
        public_key=record.public_key.hex(),
        protocol=chosen.protocol,
        curve=chosen.curve,
        min_signers=MIN_SIGNERS,
        encrypted_key_shares=[
            EncryptedKeyShare(signer_id=_text(signer_id), encrypted_key_share=_text(envelope))
            for signer_id, envelope in shares
        ],
    )


def _exported(
    service: Keys,
    call: Call,
    record: KeyRecord,
    payload: ExportPayload,
    new_signers: ListedSigners | None,
    approved: tuple[Approved, ...],
) -> Transaction[Effect[None]]:
    """Mark the key, and keep in an entry of its own whom it was exported to: the body of the request may be redacted.

    ``new_signers`` were made for this export and are yet to be stored. ``approved`` is what the signer was shown.
    """
    org_id, key_id, caller, now = record.org_id, record.key_id, call.caller, call.world.now()
    require_usable((yield from keys.stored(org_id, key_id)), caller)
    yield from key_settings.require_export(org_id)
    yield from export_approvals.take(export_approvals.Wished.by(call, key_id), approved, now)
    if not (yield store.MARK_EXPORTED, (now, org_id, key_id)):
        raise ApiError("KEY_ARCHIVED")
    if new_signers is not None:
        yield from insert_signers(record.store_id, new_signers, now)
    details = {
        "keyId": key_id,
        "publicKey": record.public_key.hex(),
        "protocol": payload.protocol,
        "encryptionKey": fingerprint(payload.encryption_key),
        "approval": " ".join(one.action_id for one in approved) or _NO_APPROVAL,
        "actionId": call.action_id,
    }
    yield from service.log_event(call, "KeyExported", key_id, now, details)
    yield from telling.changed(org_id, key_id, "key.exported", call.world)
    return Effect(None, (key_id,))


def _shares_refused(error: SignerRefused) -> Exception:
    """The reasons of the signer name positions and lengths, never a content."""
    return ApiError("KEY_SHARES_REFUSED", f"Refused: {error.reason}.") if error.code == "Unsupported" else error


def _signers(listed: ListedSigners) -> tuple[SealedSigner, ...]:
    return decode_signers(listed.signers)


def _bytes(member: str, text: str) -> bytes:
    try:
        return base64url.decode_tolerant(text)
    except ValueError:
        raise validation(member, "expected base64") from None


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
