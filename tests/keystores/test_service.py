"""What the signer answers, order by order."""

from __future__ import annotations

import os
from dataclasses import replace

import msgspec
import pytest

from countersign.keystores import Authoriser, create_root
from countersign.keystores.kek import PassphraseProvider
from countersign.keystores.orders import about
from countersign.keystores.protocol import NotAnOrder, Order
from tests.keystores.builders import PAIRS, STORE, Bench, FixedKek, next_root

CHEAPEST = PassphraseProvider(memory_kib=64 * 1024, iterations=1, lanes=1)


def unseal(bench: Bench, passphrase: bytes = b"") -> str:
    return bench.ask(Order(1, "unseal", payload=memoryview(passphrase))).code


@pytest.mark.parametrize(("scheme", "curve"), PAIRS)
def test_verify_recomputes_the_public_key(scheme: str, curve: str) -> None:
    bench = Bench()
    key = bench.generate(scheme, curve)
    assert bench.ask(about("verify", key)).code == "ok"
    assert (
        bench.ask(about("verify", replace(key, public_key=bench.generate(scheme, curve).public_key))).code
        == "Integrity"
    )


def test_a_relabelled_curve_is_refused() -> None:
    bench = Bench()
    order = bench.sign_order(replace(bench.generate("ECDSA"), scheme="Schnorr"), b"d" * 32)
    assert bench.ask(bench.granted(order)).code == "Integrity"


def test_a_record_of_another_organisation_is_refused() -> None:
    bench = Bench()
    order = bench.sign_order(replace(bench.generate(), org_id="or-2"), b"d" * 32)
    order.evidence = msgspec.structs.replace(order.evidence, org_id="or-2")
    assert bench.ask(bench.granted(order)).code == "Integrity"


def test_a_root_version_that_is_not_loaded_is_not_found() -> None:
    bench = Bench()
    assert bench.ask(about("verify", replace(bench.generate(), root_version=7))).code == "NotFound"


@pytest.mark.parametrize(
    ("scheme", "curve"), [("Schnorr", "stark"), ("DH", "ed25519"), ("EdDSA", "secp256k1"), ("", "")]
)
def test_unsupported_pairs_are_refused_at_creation(scheme: str, curve: str) -> None:
    bench = Bench()
    order = Order(1, "generate", "ke-1", scheme, payload=memoryview(curve.encode()), payload_kind="generate")
    order.org_id, order.curve = "or-1", curve
    assert bench.ask(bench.granted(order)).code == "Unsupported"


def test_an_unknown_order_is_refused() -> None:
    assert Bench().ask(Order(1, "export")).code == "Unsupported"


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"x" * 50, msgspec.msgpack.encode({"id": 1}), b"\x92\x01\xa1\xff"])
def test_a_frame_that_is_no_order_is_told_apart(frame: bytes) -> None:
    with pytest.raises(NotAnOrder):
        Bench().service.handle(memoryview(bytearray(frame)))


def test_later_versions_may_append_fields() -> None:
    bench = Bench()
    longer = [7, "status", *([""] * 2), b"", None, b"", b"", "", "", "", "", b"", 0, 0, None, b"", "a later field"]
    reply = bench.service.handle(memoryview(bytearray(msgspec.msgpack.encode(longer))))
    assert msgspec.msgpack.decode(reply)[:2] == [7, "ok"]


def test_before_any_root_everything_that_needs_a_key_is_sealed() -> None:
    unsealed = Bench()
    key = unsealed.generate()
    bench = Bench(kek=CHEAPEST)
    assert bench.state().state == "sealed"
    assert bench.ask(bench.granted(bench.sign_order(key, b"d" * 32))).code == "Sealed"
    assert bench.ask(about("verify", key)).code == "Sealed"
    assert unseal(bench) == "Sealed"


def test_a_passphrase_unseals_and_sealing_lasts_until_it_is_given_again() -> None:
    bench = Bench(kek=CHEAPEST)
    root = create_root(CHEAPEST, STORE, bench.authoriser.public_key, b"correct horse")
    assert bench.load([root]).state == "sealed"
    assert "passphrase" in bench.state().reason
    assert unseal(bench, b"battery staple") == "Denied"
    assert "passphrase is not the one" in bench.state().reason
    assert unseal(bench, b"correct horse") == "ok"
    assert bench.state().state == "unsealed"
    key = bench.generate()
    bench.sign(key, b"d" * 32)
    assert bench.ask(Order(1, "seal")).code == "ok"
    assert bench.ask(bench.granted(bench.sign_order(key, b"d" * 32))).code == "Sealed"
    assert bench.load([root]).state == "sealed"
    assert unseal(bench, b"correct horse") == "ok"
    bench.sign(key, b"d" * 32)


def test_what_was_sealed_by_order_does_not_open_by_itself_when_roots_are_handed_over_again() -> None:
    bench = Bench()
    root = create_root(bench.kek, STORE, bench.authoriser.public_key)
    bench.ask(Order(1, "seal"))
    assert bench.load([root]).state == "sealed"
    assert unseal(bench) == "ok"
    assert bench.state().state == "unsealed"


def test_sealing_wipes_the_root_key() -> None:
    bench = Bench()
    page = bench.service.page
    assert bytes(page.root(0)) != bytes(32)
    bench.ask(Order(1, "seal"))
    assert bytes(page._view) == bytes(4096)


def test_nothing_of_a_private_key_stays_in_the_page_after_an_order() -> None:
    bench = Bench()
    for scheme, curve in PAIRS:
        key = bench.generate(scheme, curve)
        bench.sign(key, b"d" * 32)
        bench.ask(about("verify", key))
        assert bytes(bench.service.page._view[2048:]) == bytes(2048)


def test_a_wrong_key_encryption_key_is_said_clearly() -> None:
    bench = Bench(kek=CHEAPEST)
    bench.service.roots._kek = FixedKek(b"x" * 32)
    state = bench.load([create_root(FixedKek(), STORE, bench.authoriser.public_key)])
    assert (state.state, state.reason) == ("sealed", "the key-encryption key is not the one that wrapped root 1")


def test_roots_of_two_stores_are_refused() -> None:
    bench = Bench()
    other = create_root(bench.kek, "ks-other", bench.authoriser.public_key)
    for blobs in ([other], [create_root(bench.kek, STORE, b"a" * 32), other]):
        order = Order(1, "load", payload=memoryview(msgspec.msgpack.encode(blobs)))
        assert bench.ask(order).code == "Denied"
    assert bench.state().store_id == STORE


def test_an_open_root_is_not_replaced_by_another_of_the_same_version() -> None:
    bench = Bench()
    key = bench.generate()
    bench.load([create_root(bench.kek, STORE, os.urandom(32))])
    bench.sign(key, b"d" * 32)


def test_a_newer_root_is_used_for_new_keys_and_old_keys_still_sign() -> None:
    bench = Bench()
    old = bench.generate()
    bench.load([bench.root, next_root(bench.root, bench.kek)])
    assert bench.state().root_versions == (1, 2)
    new = bench.generate()
    assert (old.root_version, new.root_version) == (1, 2)
    bench.sign(old, b"d" * 32)
    bench.sign(new, b"d" * 32)


def test_a_root_of_a_stranger_is_not_opened_beside_the_right_one_whoever_knows_its_passphrase() -> None:
    """A stolen API process may hand over what it likes, and its own passphrase with it."""
    bench, thief = Bench(kek=CHEAPEST), Authoriser(os.urandom(32))
    mine = create_root(CHEAPEST, STORE, bench.authoriser.public_key, b"right")
    bench.load([mine])
    assert unseal(bench, b"right") == "ok"
    key = bench.generate()
    for version in (0, 2):
        theirs = create_root(CHEAPEST, STORE, thief.public_key, b"wrong", root_version=version)
        bench.load([mine, theirs])
        assert unseal(bench, b"wrong") == "Denied"
        assert (bench.state().root_versions, bench.state().authorisers) == ((1,), (bench.authoriser.public_key,))
    # Nor is theirs taken when both open at once, and one that follows from another root than the open one.
    other = create_root(CHEAPEST, STORE, thief.public_key, b"wrong")
    bench.load([mine, next_root(other, CHEAPEST, b"wrong")])
    assert unseal(bench, b"wrong") == "Denied"
    bench.sign(key, b"d" * 32)
    bench.load([mine, next_root(mine, CHEAPEST, b"right")])
    assert unseal(bench, b"right") == "ok"
    assert bench.state().root_versions == (1, 2)


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgspec.msgpack.encode([]), msgspec.msgpack.encode([b"x"] * 129)])
def test_a_load_without_roots_is_refused(payload: bytes) -> None:
    assert Bench().ask(Order(1, "load", payload=memoryview(payload))).code == "Unsupported"


def test_a_load_of_something_else_is_an_integrity_fault() -> None:
    order = Order(1, "load", payload=memoryview(msgspec.msgpack.encode([b"no root at all"])))
    assert Bench().ask(order).code == "Integrity"


def test_a_failure_inside_is_answered_logged_and_survived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    key = bench.generate()

    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr("countersign.keystores.schemes.sign", fail)
        reply = bench.ask(bench.granted(bench.sign_order(key, b"d" * 32)))
    assert (reply.code, b"broken" in reply.data) == ("Internal", False)
    assert "broken" in caplog.text
    bench.sign(key, b"d" * 32)


def test_k1_no_reply_or_log_line_holds_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    page = bench.service.page
    seen: list[bytes] = [bytes(page.root(0))]
    original = page.wipe_work
    page.wipe_work = lambda: (seen.append(bytes(page.secret)), original())[1]
    said = bytearray()
    for scheme, curve in PAIRS:
        key = bench.generate(scheme, curve)
        order = bench.granted(bench.sign_order(key, b"d" * 32))
        for question in (order, order, about("verify", key), about("verify", replace(key, org_id="or-2"))):
            said += msgspec.msgpack.encode(bench.ask(question))
        said += key.record
    secrets = {secret for secret in seen if any(secret)}
    assert len(secrets) == 1 + len(PAIRS)
    for secret in secrets:
        assert secret not in said
        assert secret.hex() not in said.decode("latin-1") + caplog.text


def test_what_an_order_says_of_itself_makes_no_lines_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    key = replace(bench.generate(), key_id="k\nsigner INFO all is well " + "x" * 100_000, org_id="o\n\x1b[2J")
    assert bench.ask(about("verify", key)).code == "Integrity"
    (line,) = caplog.messages
    assert "integrity alarm" in line
    assert line.isprintable()
    assert len(line) < 400
