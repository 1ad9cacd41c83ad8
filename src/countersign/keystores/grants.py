"""Grants: a short-lived, signed permission for one operation on one key with one payload.

The authoriser (the API process, or a process of its own at level G2) signs it, the signer checks it against the
authoriser keys that were pinned when the store was made. A grant lives at most 60 seconds by the signer's clock and
works once.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

import msgspec
from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import MALFORMED, Buffer, Order

MAX_LIFE_MS: Final = 60_000
_LIFE_MS: Final = 15_000
_EARLY_MS: Final = 1_000
_MAX_REMEMBERED: Final = 1_000_000
_SIGNATURE_BYTES: Final = 64
_NONCE_BYTES: Final = 16


class Grant(msgspec.Struct, array_like=True, frozen=True):
    """The signed body. Times are milliseconds since the epoch by the signer's clock."""

    version: int
    store_id: str
    org_id: str
    key_id: str
    op: str
    scheme: str
    payload_hash: bytes
    request_id: str
    policy_decision_id: str
    boot_id: bytes
    not_before: int
    not_after: int
    nonce: bytes


class Asked(msgspec.Struct, array_like=True, frozen=True):
    """What a grant says beside its order: for which store and start of its signer, for whom, and by when.

    ``now`` in milliseconds by the signer's clock; ``nonce``: 16 random bytes.
    """

    store_id: str
    request_id: str
    policy_decision_id: str
    boot_id: bytes
    now: int
    nonce: bytes


class Grants(Protocol):
    """Where grants come from: a key at hand, or an authoriser in a process of its own."""

    @property
    def public_key(self) -> bytes:
        """Under which they verify; empty while it is not known."""

    @property
    def trouble(self) -> str | None:
        """Why none can be had right now."""

    async def grant(self, order: Order, asked: Asked) -> bytes:
        """A grant for this order; raises what the orders to a signer raise."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Grant).decode


def payload_hash(kind: str, payload: Buffer, tweak: bytes | None) -> bytes:
    """SHA-256 of msgpack ``[kind, payload, tweak or nil]``: what exactly may be done with the key."""
    return hashlib.sha256(_encode((kind, payload, tweak))).digest()


def grant_for(order: Order, asked: Asked) -> Grant:
    """The grant for exactly this order."""
    return Grant(
        1,
        asked.store_id,
        order.org_id,
        order.key_id,
        order.op,
        order.scheme,
        payload_hash(order.payload_kind, order.payload, order.tweak),
        asked.request_id,
        asked.policy_decision_id,
        asked.boot_id,
        asked.now - _EARLY_MS,
        asked.now + _LIFE_MS,
        asked.nonce,
    )


class Authoriser:
    """Holder of the Ed25519 key that makes grants; ``seed`` is its 32-byte secret (RFC 8032)."""

    __slots__ = ("_secret_key", "public_key")

    trouble: Final = None

    def __init__(self, seed: bytes) -> None:
        self.public_key, self._secret_key = crypto_sign_seed_keypair(seed)

    async def grant(self, order: Order, asked: Asked) -> bytes:
        """A grant for whatever is asked: who holds the key has judged the order."""
        return self.sign(grant_for(order, asked))

    def sign(self, grant: Grant) -> bytes:
        """The grant as it travels: signature (64 bytes), then the signed msgpack."""
        return crypto_sign(_encode(grant), self._secret_key)


class GrantBook:
    """Checks grants for one store and one start of the signer, and remembers the nonces of those it accepted."""

    def __init__(self, boot_id: bytes) -> None:
        self._boot_id = boot_id
        self._spent: set[bytes] = set()
        self._by_expiry: dict[int, list[bytes]] = {}
        self._swept = 0

    def accept(
        self, sealed: bytes, order: Order, expected_hash: bytes, store_id: str, authorisers: tuple[bytes, ...], now: int
    ) -> Refusal | None:
        """None if ``sealed`` permits ``order`` at ``now`` (ms), and then never again; else why not."""
        grant = _authentic(sealed, authorisers)
        if grant is None:
            return Refusal("Denied", "grant missing, malformed or not signed by an authoriser of this store")
        named = (grant.version, grant.store_id, grant.org_id, grant.key_id, grant.op, grant.scheme)
        if named != (1, store_id, order.org_id, order.key_id, order.op, order.scheme):
            return Refusal("Denied", "grant is for another operation or key")
        if grant.payload_hash != expected_hash:
            return Refusal("Denied", "grant is for another payload")
        if grant.boot_id != self._boot_id:
            return Refusal("Denied", "grant is for an earlier start of the signer")
        if not grant.not_before <= now < grant.not_after:
            return Refusal("Denied", "grant is expired or not yet valid")
        if grant.not_after - grant.not_before > MAX_LIFE_MS:
            return Refusal("Denied", "grant lives longer than 60 seconds")
        if len(grant.nonce) != _NONCE_BYTES:
            return Refusal("Denied", "grant nonce is not 16 bytes")
        return self._spend(grant, now)

    def _spend(self, grant: Grant, now: int) -> Refusal | None:
        # Buckets of one second: a nonce is forgotten with its bucket, once every grant in it has expired.
        if now // 1000 > self._swept:
            self._swept = now // 1000
            for second in [bucket for bucket in self._by_expiry if bucket * 1000 < now]:
                self._spent.difference_update(self._by_expiry.pop(second))
        if grant.nonce in self._spent:
            return Refusal("Denied", "grant was used before")
        if len(self._spent) >= _MAX_REMEMBERED:
            return Refusal("Busy", "too many grants within their lifetime")
        self._spent.add(grant.nonce)
        self._by_expiry.setdefault(-(-grant.not_after // 1000), []).append(grant.nonce)
        return None


def _authentic(sealed: bytes, authorisers: tuple[bytes, ...]) -> Grant | None:
    if len(sealed) <= _SIGNATURE_BYTES:
        return None
    for public_key in authorisers:
        try:
            return _decode(crypto_sign_open(sealed, public_key))
        except (BadSignatureError, *MALFORMED):
            continue
    return None
