"""What an operator sees and changes of permissions: by commands on the server's own host, each change audited.

No policy is asked: whoever has the database and its secrets could do without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from countersign.encoding.dates import to_iso
from countersign.identity.administration import Identity, find_named
from countersign.identity.local_commands import Impossible, tell
from countersign.permissions import assignments, permissions, store
from countersign.permissions.permissions import Stored
from countersign.storage import Row, Transaction
from countersign.storage.pagination import ABOVE_ALL
from countersign.world import World

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Listed:
    """A permission of an organisation."""

    org_id: str
    permission: Stored

    def document(self) -> dict[str, Any]:
        """As JSON is printed of it."""
        stored = self.permission
        return {
            "id": stored.id,
            "orgId": self.org_id,
            "name": stored.name,
            "isImmutable": stored.is_immutable,
            "isArchived": stored.is_archived,
            "operations": list(stored.operations),
            "dateCreated": to_iso(stored.created_at),
            "dateUpdated": to_iso(stored.updated_at),
        }


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a permission; ``name`` and ``state`` are empty for one that is no more."""

    assignment_id: str
    identity_id: str
    name: str
    state: str

    def document(self) -> dict[str, Any]:
        """As JSON is printed of it."""
        return {
            "assignmentId": self.assignment_id,
            "identityId": self.identity_id,
            "name": self.name,
            "state": self.state,
        }


def list_page(
    org_id: str, before: str | None, *, archived: bool = False
) -> Transaction[tuple[list[Listed], str | None]]:
    """Permissions of an organisation, newest first, and from where to go on."""
    rows = yield store.LIST_SHOWN, (org_id, before or ABOVE_ALL, int(archived), _PAGE)
    return [_listed(row) for row in rows], str(rows[-1][1]) if len(rows) == _PAGE else None


def show(named: str, org_id: str | None = None) -> Transaction[tuple[Listed, list[Holder]]]:
    """A permission by id or name, with who holds it, a thousand at most. Raises ``Impossible``."""
    found = yield from _find(named, org_id)
    rows = yield store.LIST_HOLDERS, (found.org_id, found.permission.id)
    return found, [Holder(*row) for row in rows]


def grant(named: str, identity: str, world: World) -> Transaction[tuple[Listed, Identity]]:
    """Give a permission (id or name) to an identity (id, or a person's username) of the same organisation.

    Raises ``Impossible``, and the ``ApiError`` with which a request of an administrator would be refused.
    """
    holder = yield from find_named(identity)
    found = yield from _find(named, holder.org_id)
    org_id, permission = holder.org_id, found.permission
    permission = yield from permissions.locked(org_id, permission.id)
    yield from assignments.require_assignable(org_id, permission, holder.id)
    assignment_id = world.new_id("as")
    yield from assignments.put(org_id, assignment_id, permission.id, holder.id, world.now())
    yield from _tell("PermissionGranted", found, holder, assignment_id, world)
    return found, holder


def revoke(named: str, identity: str, world: World) -> Transaction[tuple[Listed, Identity]]:
    """Take a permission away from an identity. Raises ``Impossible``, and 412 for the last person's full access."""
    holder = yield from find_named(identity)
    found = yield from _find(named, holder.org_id)
    org_id = holder.org_id
    permission = yield from permissions.locked(org_id, found.permission.id)
    rows = yield store.FIND_ASSIGNMENT, (org_id, holder.id, permission.id)
    if not rows:
        raise Impossible(f"{holder.id} does not hold {permission.name}")
    held = assignments.read(rows[0])
    yield from assignments.check_revoke(org_id, permission, held)
    yield from assignments.delete(org_id, held.id)
    yield from _tell("PermissionRevoked", found, holder, held.id, world)
    return found, holder


def _tell(event: str, found: Listed, holder: Identity, assignment_id: str, world: World) -> Transaction[None]:
    details = {"permission": found.permission.name, "kind": holder.kind, "name": holder.name}
    user_id = holder.id if holder.kind in ("user", "service-account") else holder.facts.get("userId")
    entities = (assignment_id, found.permission.id, holder.id)
    yield from tell(holder.org_id, event, entities, details, world, user_id=user_id)


def _find(named: str, org_id: str | None) -> Transaction[Listed]:
    rows = yield store.FIND_SHOWN, (named, named, org_id or "", org_id or "")
    if not rows:
        raise Impossible(f"there is no permission {named!r}" + (f" in {org_id}" if org_id else ""))
    if len(rows) > 1:
        raise Impossible(f"several organisations have a permission {named!r}: name its id, or the organisation")
    return _listed(rows[0])


def _listed(row: Row) -> Listed:
    org_id, *columns = row
    return Listed(org_id, permissions.read(columns))
