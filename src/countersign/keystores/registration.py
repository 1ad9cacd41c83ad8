"""Who holds keys and who judges their use, as rows: the key stores, the primary one, another one, the authoriser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from countersign.keystores.store import COPY_ROSTER_ORDERS, HOLD_ROSTER_ORDERS, insert_root, insert_store
from countersign.storage.transaction import Statement, Transaction

LIST: Final = Statement("registration_list", "SELECT store_id, kind, name, is_primary FROM key_stores")
NO_PRIMARY: Final = Statement("registration_no_primary", "UPDATE key_stores SET is_primary = 0 WHERE is_primary = 1")
PUT_AUTHORISER: Final = Statement(
    "registration_put_authoriser",
    "INSERT INTO installation (name, value) VALUES ('authoriser_id', ?)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
)
# All of them at once, so that two commands at the same moment leave one primary store; none where there is no such one.
MAKE_PRIMARY: Final = Statement(
    "registration_make_primary",
    "UPDATE key_stores SET is_primary = CASE WHEN store_id = ? THEN 1 ELSE 0 END"
    " WHERE EXISTS (SELECT 1 FROM key_stores AS wanted WHERE wanted.store_id = ?) RETURNING store_id",
)


@dataclass(frozen=True, slots=True)
class RegisteredStore:
    """``kind`` is sealed or pkcs11."""

    store_id: str
    kind: str
    name: str
    is_primary: bool


def stores() -> Transaction[list[RegisteredStore]]:
    """All key stores of the installation."""
    rows = yield LIST, ()
    return [RegisteredStore(store_id, kind, name, bool(primary)) for store_id, kind, name, primary in rows]


def add_store(store: RegisteredStore, wrapped_root: bytes, first_store_id: str, now: int) -> Transaction[None]:
    """Enter another store with its root; if it is to be the primary one, the one that was is no longer.

    Its signer is to be told all that the signer of the installation's first store was told for its roster.
    """
    yield HOLD_ROSTER_ORDERS, ()
    if store.is_primary:
        yield NO_PRIMARY, ()
    yield from insert_store(store.store_id, store.kind, store.name, now, primary=store.is_primary)
    yield from insert_root(store.store_id, 1, store.name, wrapped_root, now)
    yield COPY_ROSTER_ORDERS, (store.store_id, first_store_id)


def put_authoriser(authoriser_id: str, first_store_id: str) -> Transaction[None]:
    """Let this authoriser keep a roster, in the place of one before it; it is told all that the first store was."""
    yield HOLD_ROSTER_ORDERS, ()
    yield PUT_AUTHORISER, (authoriser_id,)
    yield COPY_ROSTER_ORDERS, (authoriser_id, first_store_id)


def make_primary(store_id: str) -> Transaction[bool]:
    """Let keys that name no store be made in this one from the next start of the server on; False: there is no such."""
    return bool((yield MAKE_PRIMARY, (store_id, store_id)))
