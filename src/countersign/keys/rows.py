"""A key as it is stored."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


class StoredKey(msgspec.Struct, frozen=True, gc=False):
    """A row of the table ``keys``, in the order of ``store.KEY_COLUMNS``.

    Times in ms. ``public_key``: hex. ``next_child``: no smaller index directly below this master is free to be handed
    out. ``master_key_id`` and ``derivation_path`` are set together. ``may_delegate``: made with ``delayDelegation``.
    ``delegated_to``: the end user who owns it.
    """

    key_id: str
    scheme: str
    curve: str
    public_key: str
    name: str | None
    status: str
    custodial: int
    store_id: str
    created_at: int
    deleted_at: int | None
    is_master: int
    next_child: int
    master_key_id: str | None
    derivation_path: str | None
    may_delegate: int
    delegated_to: str | None
    is_imported: int
    exported_at: int | None
    destroyed_at: int | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is stored of a new key beside its public key and record; members as of :class:`StoredKey`."""

    org_id: str
    key_id: str
    scheme: str
    curve: str
    store_id: str
    name: str | None = None
    is_master: bool = False
    master_key_id: str | None = None
    derivation_path: str | None = None
    may_delegate: bool = False
    delegated_to: str | None = None
    is_imported: bool = False
