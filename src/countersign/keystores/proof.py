"""Proof that who runs a command holds the key-encryption secret: the store's roots open under it."""

from __future__ import annotations

from collections.abc import Sequence

from countersign.keystores.kek import KekProvider
from countersign.keystores.memory import LockedPage
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import Buffer
from countersign.keystores.roots import OpenedRoot, open_root, parse_root
from countersign.keystores.roster_keys import Roots


def prove_secret(kek: KekProvider, secret: Buffer, store_id: str, blobs: Sequence[bytes]) -> Refusal | None:
    """Open every wrapped root of the store, wipe what was opened; ``None`` when all of them did.

    ``secret``: the passphrase where the provider needs one. Every root, so that one wrapped by somebody else and put
    beside the others proves nothing.
    """
    if not blobs:
        return Refusal("Integrity", "the key store has no root")
    page = LockedPage()
    try:
        for blob in blobs:
            wrapped = parse_root(blob)
            if isinstance(wrapped, Refusal):
                return wrapped
            if wrapped.store_id != store_id:
                return Refusal("Integrity", "a root of the key store is another store's")
            opened = open_root(wrapped, kek, secret, page.root(0), page.scratch)
            if isinstance(opened, Refusal):
                return opened
        return None
    finally:
        page.wipe_all()


def operator_proof(
    kek: KekProvider, secret: Buffer, store_id: str, blobs: Sequence[bytes], message: bytes
) -> bytes | Refusal:
    """What the signer takes for the word of who holds the key-encryption key, over ``message``.

    It is an HMAC under a key derived from the newest root, and says nothing about the root to who sees it.
    """
    page = LockedPage()
    try:
        newest = _open_newest(kek, secret, store_id, blobs, page)
        if isinstance(newest, Refusal):
            return newest
        return Roots(page, {newest.root_version: 0}, store_id).operator_proof(message)
    finally:
        page.wipe_all()


def newest_root(kek: KekProvider, secret: Buffer, store_id: str, blobs: Sequence[bytes]) -> OpenedRoot | Refusal:
    """What the store's newest root says beside its key, for who holds the key-encryption key."""
    page = LockedPage()
    try:
        return _open_newest(kek, secret, store_id, blobs, page)
    finally:
        page.wipe_all()


def _open_newest(
    kek: KekProvider, secret: Buffer, store_id: str, blobs: Sequence[bytes], page: LockedPage
) -> OpenedRoot | Refusal:
    if (refusal := prove_secret(kek, secret, store_id, blobs)) is not None:
        return refusal
    parsed = [wrapped for wrapped in map(parse_root, blobs) if not isinstance(wrapped, Refusal)]
    wrapped = max(parsed, key=lambda each: each.root_version)
    return open_root(wrapped, kek, secret, page.root(0), page.scratch)
