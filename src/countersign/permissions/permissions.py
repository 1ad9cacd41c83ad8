"""Permissions themselves: named sets of operations whose names are never given again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from countersign.access import catalogue
from countersign.api import ApiError, Caller, conflict, not_found, validation
from countersign.encoding.dates import to_iso
from countersign.identity.usernames import username_key
from countersign.permissions import grants, store
from countersign.permissions.rights import require_held
from countersign.permissions.types import Permission
from countersign.storage import Row, Transaction
from countersign.world import World


@dataclass(frozen=True, slots=True)
class Stored:
    """A permission as the database has it; times in milliseconds. The immutable one has all operations."""

    id: str
    name: str
    operations: tuple[str, ...]
    is_immutable: bool
    is_archived: bool
    created_at: int
    updated_at: int

    @property
    def wire(self) -> Permission:
        """As the API shows it."""
        return Permission(
            id=self.id,
            name=self.name,
            operations=list(self.operations),
            is_immutable=self.is_immutable,
            is_archived=self.is_archived,
            date_created=to_iso(self.created_at),
            date_updated=to_iso(self.updated_at),
        )


def read(row: Row) -> Stored:
    """A row of the store. What is added to the catalogue later is listed, as it is granted."""
    permission_id, name, operations, is_immutable, is_archived, created_at, updated_at = row
    listed = catalogue.OPERATIONS if is_immutable else tuple(json.loads(operations))
    return Stored(permission_id, name, listed, bool(is_immutable), bool(is_archived), created_at, updated_at)


def check_name(name: str) -> None:
    """400 for a name of nothing but invisible characters, or with some. Names compare exactly."""
    if username_key(name) is None:
        raise validation("name", "must have 1 to 254 visible characters")


def check_operations(names: Sequence[str]) -> tuple[str, ...]:
    """The names without repetitions, as submitted; 400 names the first that is in no catalogue."""
    for position, name in enumerate(names):
        if not catalogue.is_known(name):
            shown = name if len(name) <= 64 and name.isprintable() else name[:24].encode("unicode_escape").decode()
            raise validation(f"operations[{position}]", f"there is no operation {shown}")
    return catalogue.distinct(names)


def create(caller: Caller, name: str, operations: tuple[str, ...], world: World) -> Transaction[Permission]:
    """A new permission, held by nobody. 403 for more than the caller holds, 409 for a name that was ever used."""
    require_held(caller, name, operations)
    permission_id, now = world.new_id("pm"), world.now()
    row = (caller.org_id, permission_id, name, json.dumps(operations), 0, now, now)
    if not (yield store.INSERT_PERMISSION, row):
        raise (yield from _taken(caller.org_id, name))
    yield from grants.revise(caller.org_id)
    return Stored(permission_id, name, operations, False, False, now, now).wire


def find(org_id: str, permission_id: str) -> Transaction[Stored | None]:
    """One permission, archived or not."""
    rows = yield store.GET_PERMISSION, (org_id, permission_id)
    return read(rows[0]) if rows else None


def locked(org_id: str, permission_id: str) -> Transaction[Stored]:
    """The permission, which nobody else changes until the transaction ends. Raises 404."""
    rows = yield store.LOCK_PERMISSION, (org_id, permission_id)
    if not rows:
        raise not_found("permission")
    return read(rows[0])


@dataclass(frozen=True, slots=True)
class Target:
    """What a permission is to become."""

    name: str
    operations: tuple[str, ...]
    is_archived: bool


def check_update(caller: Caller, current: Stored, target: Target) -> Transaction[None]:
    """Whether the caller may make this of the permission.

    412 ``PERMISSION_IMMUTABLE``, 422 ``PERMISSION_ARCHIVED``, 409 for a taken name, 403 for more than the caller holds.
    What only takes away needs nothing held.
    """
    if current.is_immutable:
        raise ApiError("PERMISSION_IMMUTABLE")
    managed = current.name == catalogue.DEFAULT_END_USER
    if managed and (target.name != current.name or target.is_archived):
        raise ApiError("PERMISSION_IMMUTABLE", f"{current.name} can be neither renamed nor archived.")
    if current.is_archived and target.is_archived and target != Target(current.name, current.operations, True):
        raise ApiError("PERMISSION_ARCHIVED")
    if target.name != current.name:
        yield from require_free_name(caller.org_id, target.name, current.id)
    if not target.is_archived:
        require_held(caller, target.name, target.operations)


def require_free_name(org_id: str, name: str, permission_id: str) -> Transaction[None]:
    """409 when another permission, archived or not, has the name."""
    taken = yield store.FIND_PERMISSION, (org_id, name)
    if taken and taken[0][0] != permission_id:
        raise conflict("Conflicting permission with same name", entity_id=taken[0][0])


def put(org_id: str, current: Stored, target: Target, world: World) -> Transaction[Permission]:
    """Write the target, checked before."""
    now = world.now()
    listed = json.dumps(target.operations)
    yield store.SET_PERMISSION, (target.name, listed, int(target.is_archived), now, org_id, current.id)
    yield from grants.revise(org_id)
    return Stored(
        current.id, target.name, target.operations, current.is_immutable, target.is_archived, current.created_at, now
    ).wire


def _taken(org_id: str, name: str) -> Transaction[Exception]:
    rows = yield store.FIND_PERMISSION, (org_id, name)
    return conflict("Conflicting permission with same name", entity_id=rows[0][0] if rows else None)
