"""Shamir's sharing of a private key over the scalar field of its curve, as threshold protocols hold keys.

A polynomial of degree ``min_signers - 1`` has the key as its value at 0; the share of the signer at position i, counted
from 1, is its value at i. Any ``min_signers`` shares give the key back, fewer say nothing about it.

Scalars are integers here: they pass through ordinary objects of the interpreter, which cannot be wiped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

ORDERS: Final[Mapping[str, int]] = {
    "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    "ed25519": 2**252 + 27742317777372353535851937790883648493,
    "stark": 0x0800000000000010FFFFFFFFFFFFFFFFB781126DCAE7B2321E66A241ADC64D2F,
}
"""Order of each curve's group: scalars are above zero and below it."""

MIN_SIGNERS: Final = 3
"""How many shares an exported key takes to be put together."""

SIGNERS: Final = 5
"""How many signers an installation has, and into how many shares a key is split."""


def split(secret: int, coefficients: Sequence[int], count: int, order: int) -> list[int]:
    """The shares of positions 1 to ``count``; ``coefficients`` are uniform below ``order``, one fewer than it takes."""
    shares = []
    for position in range(1, count + 1):
        value = 0
        for coefficient in (*reversed(coefficients), secret):
            value = (value * position + coefficient) % order
        shares.append(value)
    return shares


def combine(shares: Mapping[int, int], order: int, position: int = 0) -> int:
    """The value at ``position`` of the polynomial through all ``shares``, by position (Lagrange interpolation).

    Positions are distinct modulo ``order``; ``ValueError`` when they are not.
    """
    total = 0
    for at, share in shares.items():
        above, below = 1, 1
        for other in shares:
            if other != at:
                above = above * (position - other) % order
                below = below * (at - other) % order
        total += share * above * pow(below, -1, order)
    return total % order


def on_one_polynomial(shares: Mapping[int, int], min_signers: int, order: int) -> bool:
    """Whether all shares are values of one polynomial of degree below ``min_signers``.

    Where each public share is known to be the generator times its secret share, the same holds of the public shares.
    """
    first = dict(list(shares.items())[:min_signers])
    return all(combine(first, order, position) == share for position, share in shares.items())


def positions(signer_ids: Sequence[bytes]) -> dict[bytes, int] | None:
    """Position of each signer: its rank by id, from 1, whatever the order they come in. None when one comes twice."""
    if len(set(signer_ids)) != len(signer_ids):
        return None
    return {signer_id: rank for rank, signer_id in enumerate(sorted(signer_ids), 1)}
