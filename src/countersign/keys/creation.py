"""Making keys: drawn at random, or derived from a master key."""

from __future__ import annotations

from dataclasses import dataclass, replace

from countersign.api import UNSET, ApiError, Call, Caller, Effect, Superseded, conflict, not_found, validation
from countersign.identity.end_users import hold_active_end_user
from countersign.keys import keys, signers, store, telling
from countersign.keys.ownership import require_usable
from countersign.keys.rows import NewKey, StoredKey
from countersign.keys.service import Keys
from countersign.keys.signing import SUPPORTED
from countersign.keys.types import CreateKey, DeriveFrom, Key
from countersign.keystores import GeneratedKey, Refusal
from countersign.keystores.derivation_path import parse_path
from countersign.storage import Transaction
from countersign.world import World

CHILD_PERMISSION = "Keys:ChildKeys:Create"
#: How often an index is looked for that others keep taking, of other processes too.
_TRIES = 10


async def create(service: Keys, call: Call, body: CreateKey) -> Key:
    """Have the signer make a key, and store it sealed. A crash in between leaves nothing but an unused secret."""
    check(body, call.caller)
    if body.derive_from is not UNSET:
        return await _derive(service, call, body, body.derive_from)
    store_id = service.primary_store if body.store_id is UNSET else body.store_id
    signer = service.signers.get(store_id)
    if signer is None:
        raise not_found("key store")
    signers.require(signer)
    new = _described(call, body, store_id)
    with signers.answered(new.key_id):
        made = await signer.generate(
            call.org_id,
            new.key_id,
            new.scheme,
            new.curve,
            call.request.request_id,
            call.evidence,
            master=new.is_master,
        )
        return await call.commit(lambda: _insert(call.caller, new, made, call.world))


def check(body: CreateKey, caller: Caller) -> None:
    """What no key can be, whatever is stored: 400 naming the member."""
    if (body.scheme, body.curve) not in SUPPORTED:
        offered = ", ".join(sorted(f"{scheme}/{curve}" for scheme, curve in SUPPORTED))
        raise ApiError("KEY_UNSUPPORTED", f"{body.scheme} with {body.curve} is not supported; supported: {offered}")
    if body.master_key is True and body.scheme == "DH":
        raise validation("masterKey", "DH keys cannot be master keys")
    if body.delegate_to is not UNSET and body.delay_delegation is True:
        raise validation("delayDelegation", "a key that is delegated at once cannot be delegated later")
    if caller.sees_only_delegated:
        if body.delay_delegation is True:
            raise validation("delayDelegation", "keys that end users create are their own from the start")
        if body.delegate_to not in (UNSET, caller.user_id):
            raise validation("delegateTo", "end users create keys for themselves only")
    if body.derive_from is not UNSET:
        if body.master_key is True:
            raise validation("masterKey", "a derived key cannot be a master key")
        parsed = () if body.derive_from.path is UNSET else parse_path(body.derive_from.path)
        if isinstance(parsed, Refusal):
            raise validation("deriveFrom.path", parsed.reason)


def _described(call: Call, body: CreateKey, store_id: str) -> NewKey:
    owner = None if body.delegate_to is UNSET else body.delegate_to
    return NewKey(
        org_id=call.org_id,
        key_id=call.world.new_id("key"),
        scheme=body.scheme,
        curve=body.curve,
        store_id=store_id,
        name=None if body.name is UNSET else body.name,
        is_master=body.master_key is True,
        may_delegate=body.delay_delegation is True,
        delegated_to=call.caller.user_id if call.caller.sees_only_delegated else owner,
    )


def _insert(caller: Caller, new: NewKey, made: GeneratedKey, world: World) -> Transaction[Effect[Key]]:
    if new.delegated_to not in (None, caller.user_id):
        yield from require_end_user(new.org_id, new.delegated_to or "")
    return (yield from telling.created(new.org_id, keys.insert(new, made, world.now()), world))


def require_end_user(org_id: str, user_id: str) -> Transaction[None]:
    """400 unless this is an active end user of the organisation, and just the same for one of another."""
    if not (yield from hold_active_end_user(org_id, user_id)):
        raise ApiError("NOT_AN_END_USER")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a child goes, and the ``index`` that this takes directly below the master.

    ``expected``: the master's ``next_child`` where the path was left to us, ``None`` where it was given.
    """

    master: StoredKey
    path: str
    index: int | None
    expected: int | None


async def _derive(service: Keys, call: Call, body: CreateKey, wanted: DeriveFrom) -> Key:
    """Derive a child; where the path is left to us, once more for each time that another took it first."""
    _require_permission(call.caller)
    if wanted.path is not UNSET:
        return await _derive_once(service, call, body, wanted)
    # Those of one process take turns, so that not all but one of them derive for nothing.
    async with service.turn(f"{call.org_id}/{wanted.key_id}"):
        for _ in range(_TRIES):
            try:
                return await _derive_once(service, call, body, wanted)
            except Superseded:
                continue
    raise ApiError("UNAVAILABLE", "Too much is changing at once.")


async def _derive_once(service: Keys, call: Call, body: CreateKey, wanted: DeriveFrom) -> Key:
    place = await call.read(lambda: _place(call.caller, body, wanted))
    record = await call.read(lambda: keys.to_sign_with(call.org_id, wanted.key_id))
    if record is None:
        raise not_found("key")
    signer = service.signer_of(record)
    signers.require(signer)
    new = replace(
        _described(call, body, record.store_id), master_key_id=place.master.key_id, derivation_path=place.path
    )
    if place.master.delegated_to is not None:
        if new.delegated_to not in (None, place.master.delegated_to) or new.may_delegate:
            raise validation("deriveFrom.keyId", "a child of a delegated key belongs to the same end user")
        new = replace(new, delegated_to=place.master.delegated_to)
    with signers.answered(place.master.key_id):
        made = await signer.derive_child(record, new.key_id, place.path, call.request.request_id, call.evidence)
        return await call.commit(lambda: _insert_child(call.caller, place, new, made, call.world))


def _require_permission(caller: Caller) -> None:
    if not caller.may(CHILD_PERMISSION):
        raise ApiError("FORBIDDEN", f"{caller.label} is not authorized to perform operation ({CHILD_PERMISSION})")


def _place(caller: Caller, body: CreateKey, wanted: DeriveFrom) -> Transaction[_Place]:
    """The master, checked against the wish, and the path of the child."""
    master = require_usable((yield from keys.stored(caller.org_id, wanted.key_id)), caller)
    if not master.is_master:
        raise ApiError("KEY_NOT_MASTER")
    if body.scheme != master.scheme:
        raise validation("scheme", f"must be that of the master key, {master.scheme}")
    if body.curve != master.curve:
        raise validation("curve", f"must be that of the master key, {master.curve}")
    if body.store_id not in (UNSET, master.store_id):
        raise validation("storeId", "must be that of the master key, or left out")
    if wanted.path is UNSET:
        index = master.next_child
        while (yield store.CHILD_AT, (caller.org_id, master.key_id, f"m/{index}")):
            index += 1
        return _Place(master, f"m/{index}", index, master.next_child)
    yield from _require_free(caller.org_id, master.key_id, wanted.path)
    index = int(wanted.path[2:]) if wanted.path.count("/") == 1 else -1
    return _Place(master, wanted.path, index if index >= 0 else None, None)


def _require_free(org_id: str, master_id: str, path: str) -> Transaction[None]:
    """409 naming the key at this path, if there is one; it stays taken when that key is archived or destroyed."""
    taken = yield store.CHILD_AT, (org_id, master_id, path)
    if taken:
        raise conflict(f"Conflicting key at path {path}", entity_id=taken[0][0])


def _insert_child(
    caller: Caller, place: _Place, new: NewKey, made: GeneratedKey, world: World
) -> Transaction[Effect[Key]]:
    """Store the child, if master and path are still what they were when it was derived.

    Permissions were read again before, so they are looked at again here.
    """
    _require_permission(caller)
    master_id, org_id = place.master.key_id, new.org_id
    if place.index is not None:
        expected = place.index if place.expected is None else place.expected
        moved = yield store.TAKE_CHILD_INDEX, (place.index + 1, org_id, master_id, expected)
        if place.expected is not None and not moved:
            raise Superseded
    master = require_usable((yield from keys.hold(org_id, master_id)), caller)
    if place.expected is None:
        yield from _require_free(org_id, master_id, place.path)
    elif (yield store.CHILD_AT, (org_id, master_id, place.path)):
        raise Superseded
    if master.delegated_to is not None and master.delegated_to != new.delegated_to:
        raise ApiError("KEY_DELEGATED")
    return (yield from _insert(caller, new, made, world))
