"""What becomes of keys: delegated for good, destroyed; and what DH keys derive."""

from __future__ import annotations

from countersign.api import ApiError, Call, Caller, Effect, not_found, validation
from countersign.encoding import base64url
from countersign.encoding.dates import to_iso
from countersign.keys import key_settings, keys, signers, store, telling, views
from countersign.keys.creation import require_end_user
from countersign.keys.ownership import require_usable
from countersign.keys.rows import StoredKey
from countersign.keys.service import Keys
from countersign.keys.types import Delegated, Derived, DeriveOutput, DestroyedKey
from countersign.keystores.statements import SignedStatement
from countersign.keystores.store import delete_record
from countersign.storage import Transaction
from countersign.world import World

_DAY_MS = 86_400_000

#: In bytes; an order to the signer carries both beside the whole request.
MAX_DOMAIN, MAX_SEED = 4096, 65_536


def delegate(caller: Caller, key_id: str, user_id: str, world: World) -> Transaction[Effect[Delegated]]:
    """Give an active key that may be delegated to an active end user, once and for good."""
    org_id = caller.org_id
    require_usable((yield from keys.stored(org_id, key_id)), caller)
    yield from require_end_user(org_id, user_id)
    if not (yield store.DELEGATE_KEY, (user_id, org_id, key_id)):
        # Of two at once the second sees here what the first did.
        require_usable((yield from keys.stored(org_id, key_id)), caller)
        raise ApiError("KEY_NOT_DELEGABLE")
    yield from telling.changed(org_id, key_id, "key.delegated", world)
    return Effect(Delegated(key_id=key_id), (key_id, user_id))


async def derive(service: Keys, call: Call, key_id: str, body: DeriveOutput) -> Derived:
    """What a DH key makes of domain and seed.

    The signer is asked first: the output comes out only with the consent spent and the key still active, and a signer
    that is away costs no consent.
    """
    domain, seed = (bytes.fromhex(text.removeprefix("0x")) for text in (body.domain, body.seed))
    if not 1 <= len(domain) <= MAX_DOMAIN:
        raise validation("domain", f"must have 1 to {MAX_DOMAIN} bytes")
    if len(seed) > MAX_SEED:
        raise validation("seed", f"must have at most {MAX_SEED} bytes")
    require_dh(await call.read(lambda: keys.stored(call.org_id, key_id)), call.caller)
    record = await call.read(lambda: keys.to_sign_with(call.org_id, key_id))
    if record is None:
        raise not_found("key")
    signer = service.signer_of(record)
    signers.require(signer)
    with signers.answered(key_id):
        output = await signer.derive(record, domain, seed, call.request.request_id, call.evidence)
    return await call.commit(lambda: _derived(call.caller, key_id, output))


def require_dh(key: StoredKey | None, caller: Caller) -> StoredKey:
    """As :func:`require_usable`, and 400 for a key of another scheme."""
    usable = require_usable(key, caller)
    if usable.scheme != "DH":
        raise ApiError("KEY_OPERATION_UNSUPPORTED", f"derive needs a DH key, this one is {usable.scheme}")
    return usable


def _derived(caller: Caller, key_id: str, output: bytes) -> Transaction[Effect[Derived]]:
    key = require_dh((yield from keys.hold(caller.org_id, key_id)), caller)
    yield from key_settings.require_kept(caller.org_id, key)
    return Effect(Derived(output=f"0x{output.hex()}"), (key_id,))


async def destroy(service: Keys, call: Call, key_id: str, public_key: str) -> DestroyedKey:
    """Remove the sealed record of a key that has been archived for long enough; its row stays, with the public key.

    ``public_key`` repeats the key's, as a confirmation. The signer is told first, and states that it refuses the key
    from then on: where nothing is removed after all, the key was archived and signed nothing anyway.
    """
    org_id, wait_ms = call.org_id, service.destruction_days * _DAY_MS
    await call.read(lambda: _destroyable(org_id, key_id, public_key, wait_ms, call.world.now()))
    record = await call.read(lambda: keys.to_sign_with(org_id, key_id))
    if record is None:
        # There was a key a moment ago: of several at once another one was first.
        raise _destroyed_before()
    signer = service.signer_of(record)
    signers.require(signer)
    with signers.answered(key_id):
        stated = await signer.destroy(record, call.request.request_id, call.evidence)
    return await call.commit(lambda: _remove(service, call, key_id, public_key, stated))


def _remove(
    service: Keys, call: Call, key_id: str, public_key: str, stated: SignedStatement
) -> Transaction[Effect[DestroyedKey]]:
    """The log keeps public key and statement in an entry of its own: the body of the request may be redacted."""
    org_id, now = call.org_id, call.world.now()
    key = yield from _destroyable(org_id, key_id, public_key, service.destruction_days * _DAY_MS, now)
    if not (yield store.DESTROY_KEY, (now, org_id, key_id)):
        raise _destroyed_before()
    yield from delete_record(org_id, key_id)
    details = {
        "keyId": key_id,
        "publicKey": key.public_key,
        "scheme": key.scheme,
        "actionId": call.action_id,
        "statement": base64url.encode(stated.statement),
        "statementSignature": base64url.encode(stated.signature),
        "statementKey": base64url.encode(stated.public_key),
    }
    yield from service.log_event(call, "KeyDestroyed", key_id, now, details)
    return Effect(views.destroyed(key, now), (key_id,))


def _destroyable(org_id: str, key_id: str, public_key: str, wait_ms: int, now: int) -> Transaction[StoredKey]:
    key = yield from keys.stored(org_id, key_id)
    if key is None:
        raise not_found("key")
    _require_destroyable(key, wait_ms, now)
    if public_key.lower().removeprefix("0x") != key.public_key:
        raise validation("publicKey", "is not the public key of this key; repeat it as a confirmation")
    if (yield store.UNFINISHED_OF_KEY, (org_id, key_id)):
        raise ApiError("KEY_NOT_DESTROYABLE", "The key has signature requests that are not finished yet.")
    return key


def _require_destroyable(key: StoredKey, wait_ms: int, now: int) -> None:
    if key.destroyed_at is not None:
        raise _destroyed_before()
    if key.deleted_at is None:
        raise ApiError("KEY_NOT_DESTROYABLE", "The key is active; archive it first.")
    if now < key.deleted_at + wait_ms:
        details = {"destroyableFrom": to_iso(key.deleted_at + wait_ms)}
        raise ApiError("KEY_NOT_DESTROYABLE", details=details)


def _destroyed_before() -> ApiError:
    return ApiError("KEY_NOT_DESTROYABLE", "The key has been destroyed before.")
