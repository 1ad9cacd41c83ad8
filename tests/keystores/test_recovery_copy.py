"""Recovery copies: who was named when the root was made opens them, without the key-encryption key."""

from __future__ import annotations

import msgspec
import pytest
from pyrage import encrypt, x25519

from countersign.keystores import create_root
from countersign.keystores.memory import LockedPage
from countersign.keystores.orders import about
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import Generated, Order
from countersign.keystores.recovery_copy import Recovered, open_copy
from countersign.keystores.roots import next_root, parse_root
from countersign.keystores.schemes import SCHEMES, public_key
from countersign.keystores.service import SignerService
from tests.keystores.builders import KEY, ORG, STORE, Bench

RECOVERY = x25519.Identity.generate()


def with_recovery(*recipients: str) -> Bench:
    bench = Bench()
    named = recipients or (str(RECOVERY.to_public()),)
    bench.root = create_root(bench.kek, STORE, bench.authoriser.public_key, recovery_recipients=named)
    bench.service = SignerService(bench.kek, clock=lambda: bench.now, grant_level="G1")
    bench.load([bench.root])
    return bench


def made(bench: Bench, scheme: str, curve: str, *, master: bool = False) -> Generated:
    kind = "generate_master" if master else "generate"
    order = Order(1, "generate", KEY, scheme, payload=memoryview(curve.encode()), payload_kind=kind)
    order.org_id, order.curve = ORG, curve
    reply = bench.ask(bench.granted(order))
    assert reply.code == "ok", reply
    return msgspec.msgpack.decode(reply.data, type=Generated)


@pytest.mark.parametrize(
    ("scheme", "curve", "master"),
    [
        (*pair, master)
        for pair, scheme in sorted(SCHEMES.items())
        for master in (False, True)
        if scheme.master_kind or not master
    ],
)
def test_a_copy_holds_all_that_makes_the_key(scheme: str, curve: str, master: bool) -> None:
    new = made(with_recovery(), scheme, curve, master=master)
    copy = open_copy(new.recovery_copy, [RECOVERY])
    assert isinstance(copy, Recovered)
    assert (copy.store_id, copy.org_id, copy.key_id) == (STORE, ORG, KEY)
    assert (copy.scheme, copy.curve, copy.secret_kind) == (scheme, curve, new.secret_kind)
    page = LockedPage()
    page.secret_area[: len(copy.secret)] = copy.secret
    assert public_key(SCHEMES[scheme, curve], page, copy.secret_kind) == new.public_key == copy.public_key


def test_without_recipients_there_is_no_copy() -> None:
    assert made(Bench(), "ECDSA", "secp256k1").recovery_copy == b""


def test_nobody_else_opens_a_copy_and_a_changed_one_opens_for_nobody() -> None:
    copy = made(with_recovery(), "EdDSA", "ed25519").recovery_copy
    changed = bytearray(copy)
    changed[-1] ^= 1
    for data, identity in ((copy, x25519.Identity.generate()), (bytes(changed), RECOVERY), (b"", RECOVERY)):
        assert isinstance(open_copy(data, [identity]), Refusal)
    assert isinstance(open_copy(encrypt(b"{}", [RECOVERY.to_public()]), [RECOVERY]), Refusal)


def test_a_new_root_may_name_others_or_keeps_those_it_had() -> None:
    bench = with_recovery()
    record = bench.generate()
    (first,) = [bench.root]
    other = x25519.Identity.generate()
    for recipients, opens in ((None, RECOVERY), ((str(other.to_public()),), other)):
        wrapped = parse_root(first)
        assert not isinstance(wrapped, Refusal)
        second = next_root(wrapped, bench.kek, b"", recovery_recipients=recipients)
        assert isinstance(second, bytes)
        bench.service = SignerService(bench.kek, clock=lambda: bench.now, grant_level="G1")
        bench.load([first, second])
        reply = bench.ask(about("rewrap", record))
        assert reply.code == "ok", reply
        moved = msgspec.msgpack.decode(reply.data, type=Generated)
        assert moved.root_version == 2
        assert isinstance(open_copy(moved.recovery_copy, [opens]), Recovered)


def test_recipients_are_checked_when_the_root_is_made() -> None:
    with pytest.raises(ValueError, match="not an age recipient"):
        with_recovery("age1nobody")
    with pytest.raises(ValueError, match="at most"):
        with_recovery(*[str(x25519.Identity.generate().to_public()) for _ in range(5)])
