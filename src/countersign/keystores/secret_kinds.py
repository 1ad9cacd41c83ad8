"""What a sealed record may hold: the kinds of secret, and their exact lengths.

A kind never changes its meaning: records name it in their associated data and live for as long as their key.
"""

from __future__ import annotations

from typing import Final

SECP256K1_SCALAR: Final = "secp256k1.scalar"
"""32 bytes big-endian, above zero and below the order of secp256k1."""

ED25519_SEED: Final = "ed25519.seed"
"""32 bytes: the private key of RFC 8032 section 5.1.5."""

ED25519_SCALAR: Final = "ed25519.scalar"
"""Scalar below the group order L, 32 bytes little-endian, then 32 bytes of nonce prefix.

The form of every Ed25519 key that was imported as shares or derived: such a key has no seed.
"""

STARK_SCALAR: Final = "stark.scalar"
"""32 bytes big-endian, above zero and below the order of the STARK curve."""

HD_SECP256K1: Final = "hd.secp256k1"
"""A secp256k1 scalar and 32 bytes of chain code: a master key."""

HD_ED25519: Final = "hd.ed25519"
"""An Ed25519 scalar, its nonce prefix, and 32 bytes of chain code: a master key."""

HD_STARK: Final = "hd.stark"
"""A STARK scalar and 32 bytes of chain code: a master key."""

CHAIN_CODE_BYTES: Final = 32

SECRET_BYTES: Final = {
    SECP256K1_SCALAR: 32,
    ED25519_SEED: 32,
    ED25519_SCALAR: 64,
    STARK_SCALAR: 32,
    HD_SECP256K1: 64,
    HD_ED25519: 96,
    HD_STARK: 64,
}
"""Length of each kind; none is longer than the page's secret area. A chain code is always the last 32 bytes."""

MASTER_KINDS: Final = frozenset((HD_SECP256K1, HD_ED25519, HD_STARK))
"""Kinds with a chain code, from which child keys can be derived."""
