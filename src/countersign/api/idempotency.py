"""``externalId``: the same id with the same request is the same entity, with another request a conflict.

The id stays bound for good, whatever became of the entity.
"""

from __future__ import annotations

from dataclasses import dataclass

from countersign.storage import Statement, Transaction

BIND = Statement(
    "bind_external_id",
    "INSERT INTO external_ids (org_id, operation, external_id, entity_id, resource_id, payload_hash) "
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, operation, external_id) DO NOTHING RETURNING entity_id",
)
READ = Statement(
    "read_external_id",
    "SELECT entity_id, resource_id, payload_hash FROM external_ids "
    "WHERE org_id = ? AND operation = ? AND external_id = ?",
)


@dataclass(frozen=True, slots=True)
class Fresh:
    """The id was free and now belongs to the new entity."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same request as before: answer the existing entity."""

    entity_id: str


@dataclass(frozen=True, slots=True)
class Taken:
    """Another request holds the id."""

    entity_id: str


def bind(
    org_id: str, operation: str, external_id: str, entity_id: str, resource_id: str, payload_hash: str
) -> Transaction[Fresh | Repeat | Taken]:
    """Bind ``external_id`` to ``entity_id``; ``payload_hash`` is the digest of the canonical request body.

    Two first requests at once meet on the unique key: the second waits for the first and repeats it.
    """
    if (yield BIND, (org_id, operation, external_id, entity_id, resource_id, payload_hash)):
        return Fresh()
    rows = yield READ, (org_id, operation, external_id)
    entity, resource, known_hash = rows[0]
    same = resource == resource_id and known_hash == payload_hash
    return Repeat(entity) if same else Taken(entity)
