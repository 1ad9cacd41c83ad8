"""No two signatures of a key share their nonce (check K7), for every way in which the signer signs."""

from __future__ import annotations

import pytest

from countersign.keystores.schemes import SCHEMES
from tests.keystores.builders import Bench

SIGNS = [pair for pair, scheme in SCHEMES.items() if scheme.payload_kind is not None]
# A master key on ed25519 signs by another way than a seed; on the other curves it is a scalar like any other.
KINDS = [(scheme, curve, False) for scheme, curve in SIGNS] + [("EdDSA", "ed25519", True)]


@pytest.mark.parametrize(("scheme", "curve", "master"), KINDS, ids=lambda value: str(value))
def test_k7_no_two_of_many_messages_are_signed_with_one_nonce(
    scheme: str, curve: str, master: bool, signatures: int
) -> None:
    bench = Bench()
    key = bench.generate(scheme, curve, master=master)
    points = set()
    for number in range(signatures):
        bench.now += 1
        # The first half of a signature names the point of its nonce in every scheme.
        points.add(bench.sign(key, number.to_bytes(32, "big"))[:32])
    assert len(points) == signatures
