"""The side that holds a whole key: share it for the signers of a server, or put it together from what one exported.

Runs where the customer trusts the machine, never in the server. Scalars are integers, which cannot be wiped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from countersign.keystores import share_envelope, share_format, share_points, sharing
from countersign.keystores.memory import wipe
from countersign.keystores.native import Secret
from countersign.keystores.outcome import Refusal

_ROOM = 4096

Envelopes = tuple[tuple[bytes, bytes], ...]
"""Pairs of signer id and envelope."""


def share(
    secret: int,
    curve: str,
    signers: Sequence[tuple[bytes, bytes]],
    *,
    min_signers: int = sharing.MIN_SIGNERS,
    chain_code: bytes | None = None,
) -> Envelopes | Refusal:
    """One envelope for each signer, given as pairs of id and encryption key (34 bytes).

    ``secret`` is the scalar of the key, ``chain_code`` (32 bytes) for a master key.
    """
    order, places = sharing.ORDERS[curve], sharing.positions([signer_id for signer_id, _ in signers])
    if not 0 < secret < order:
        return Refusal("Unsupported", f"the private key is out of range for {curve}")
    if places is None or not 2 <= min_signers <= len(places):
        return Refusal("Unsupported", f"{len(signers)} signers cannot hold a key with {min_signers} shares needed")
    coefficients = [random_below(order) for _ in range(min_signers - 1)]
    shares = sharing.split(secret, coefficients, len(places), order)
    points = [share_points.public_share(curve, value) for value in shares]
    keys, made = dict(signers), []
    for signer_id, position in places.items():
        content = share_format.encode_import(curve, shares[position - 1], points, chain_code)
        try:
            envelope = share_envelope.encrypt(keys[signer_id], content)
        finally:
            wipe(content)
        if isinstance(envelope, Refusal):
            return Refusal(envelope.code, f"signer {position}: {envelope.reason}")
        made.append((signer_id, envelope))
    return tuple(made)


def put_together(
    curve: str, public_key: bytes, min_signers: int, envelopes: Envelopes, decryption_scalar: Secret
) -> int | Refusal:
    """The scalar of an exported key, from all shares given; it belongs to ``public_key`` or is refused.

    ``decryption_scalar``: 32 bytes big-endian.
    """
    if not 2 <= min_signers <= len(envelopes):
        return Refusal("Unsupported", f"{min_signers} shares are needed and {len(envelopes)} given")
    if sharing.positions([signer_id for signer_id, _ in envelopes]) is None:
        return Refusal("Unsupported", "a signer has more than one share")
    shares: dict[int, int] = {}
    room = bytearray(_ROOM)
    for number, (_, envelope) in enumerate(envelopes, 1):
        try:
            content = share_envelope.decrypt(decryption_scalar, envelope, memoryview(room))
            opened = content if isinstance(content, Refusal) else share_format.decode_export(content, curve)
        finally:
            wipe(room)
        if isinstance(opened, Refusal):
            return Refusal(opened.code, f"share {number}: {opened.reason}")
        if opened.index in shares:
            return Refusal("Unsupported", f"share {number}: position {opened.index} is taken by another share")
        shares[opened.index] = opened.scalar
    order = sharing.ORDERS[curve]
    if not sharing.on_one_polynomial(shares, min_signers, order):
        return Refusal("Unsupported", "the shares are not those of one key")
    secret = sharing.combine(shares, order)
    if secret == 0 or share_points.canonical(curve, share_points.public_share(curve, secret)) != public_key:
        return Refusal("Unsupported", "the shares make another key than the public key that came with them")
    return secret


def random_below(order: int) -> int:
    """Uniform below ``order`` but for 2^-128: half as many bits again as the order has are reduced."""
    return int.from_bytes(os.urandom(48), "big") % order
