"""Master keys, their children, and the outputs of DH keys, through the signer's orders."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from countersign.keystores import KeyRecord, SignerRefused, SignOrder, hd, share_envelope, stark
from countersign.keystores import secret_kinds as kinds
from countersign.keystores.derivation_path import parse_path
from countersign.keystores.hash_to_curve import hash_to_curve
from countersign.keystores.orders import about
from countersign.keystores.protocol import MESSAGE, Generated, Order
from countersign.keystores.record import seal, unseal
from countersign.keystores.schemes import SCHEMES
from countersign.keystores.transfer_messages import ExportPayload, encode
from tests.keystores.builders import KEY, ORG, Bench, evidence, running
from tests.keystores.oracle import ask

CHILD = "ke-00000-00002-0000000000000002"
ALL = tuple(SCHEMES)
MASTERS = tuple(pair for pair, scheme in SCHEMES.items() if scheme.master_kind)
SIGNERS = tuple(pair for pair, scheme in SCHEMES.items() if scheme.payload_kind)
DIGEST = b"\1" * 32


def child_order(master: KeyRecord, path: str, child: str = CHILD) -> Order:
    order = about("derive_child", master)
    order.payload, order.payload_kind = memoryview(msgspec.msgpack.encode((child, path))), "derive_child"
    return order


def derived(bench: Bench, master: KeyRecord, path: str) -> KeyRecord:
    reply = bench.ask(bench.granted(child_order(master, path)))
    assert reply.code == "ok", reply
    made = msgspec.msgpack.decode(reply.data, type=Generated)
    return KeyRecord(
        ORG,
        CHILD,
        master.scheme,
        master.curve,
        made.public_key,
        made.secret_kind,
        made.root_version,
        made.generation,
        made.record,
    )


@pytest.mark.parametrize("op", ["verify", "derive_child", "derive", "export"])
def test_a_secret_that_is_not_of_the_public_key_it_is_sealed_with_gives_nothing(op: str) -> None:
    """Nobody can make such a record but the signer itself, by a fault."""
    bench = Bench()
    scheme = "DH" if op == "derive" else "ECDSA"
    key, other = bench.generate(scheme, "secp256k1", master=op == "derive_child"), bench.generate()
    order = about(op, key)
    assert bench.service.open(order) is None
    order.public_key = other.public_key
    order.record = seal(bench.service.page, bench.service.page.root(0), bench.service.binding(order))
    bench.service.page.wipe_work()
    wrong = replace(key, public_key=other.public_key, record=order.record)
    if op == "derive_child":
        order = child_order(wrong, "m/1")
    elif op == "derive":
        order = output_order(wrong, b"domain", b"seed")
    elif op == "export":
        receiver = share_envelope.encryption_key(bytearray(b"\1" * 32))
        order.payload, order.payload_kind = memoryview(encode(ExportPayload(receiver, "CGGMP21"))), "export"
        order.arguments = encode(tuple(bytes([number]) * 32 for number in range(5)))
    reply = bench.ask(bench.granted(order))
    assert (reply.code, b"does not belong to the stored public key" in reply.data) == ("Integrity", True)


def output_order(key: KeyRecord, domain: bytes, seed: bytes) -> Order:
    order = about("derive", key)
    order.payload, order.payload_kind = memoryview(msgspec.msgpack.encode((domain, seed))), "derive"
    return order


def opened(bench: Bench, key: KeyRecord) -> bytes:
    """The secret in a record, by the signer's own page."""
    order = about("verify", key)
    page = bench.service.page
    assert unseal(page, page.root(0), bench.service.binding(order), key.record) is None
    secret = bytes(page.secret_area[: kinds.SECRET_BYTES[key.secret_kind]])
    page.wipe_work()
    return secret


def test_every_pair_of_the_api_is_served() -> None:
    assert set(ALL) == {
        ("ECDSA", "secp256k1"),
        ("ECDSA", "stark"),
        ("EdDSA", "ed25519"),
        ("Schnorr", "secp256k1"),
        ("DH", "secp256k1"),
    }


@pytest.mark.parametrize(("scheme", "curve"), MASTERS)
def test_a_master_key_signs_and_its_children_are_those_of_the_public_side(scheme: str, curve: str) -> None:
    bench = Bench()
    master = bench.generate(scheme, curve, master=True)
    bench.sign(master, DIGEST)
    assert master.secret_kind == SCHEMES[scheme, curve].master_kind
    chain_code = opened(bench, master)[-32:]
    for path in ("m/0", "m/1", "m/44/60/0/2147483647"):
        child = derived(bench, master, path)
        indices = parse_path(path)
        assert isinstance(indices, tuple)
        expected = hd.derive_public(curve, hd.ExtendedPublicKey(master.public_key, chain_code), indices).public_key
        assert child.public_key == (b"\2" + expected[1:] if scheme == "Schnorr" else expected)
        assert child.secret_kind == SCHEMES[scheme, curve].scalar_kind
        assert bench.ask(about("verify", child)).code == "ok"
        bench.sign(child, DIGEST)


@pytest.mark.parametrize(("scheme", "curve"), MASTERS)
def test_the_same_path_gives_the_same_key_in_another_record(scheme: str, curve: str) -> None:
    bench = Bench()
    master = bench.generate(scheme, curve, master=True)
    once, again, other = (derived(bench, master, path) for path in ("m/7", "m/7", "m/8"))
    assert once.public_key == again.public_key != other.public_key
    assert once.record != again.record


def test_a_childs_record_opens_as_the_child_only() -> None:
    bench = Bench()
    child = derived(bench, bench.generate(master=True), "m/0")
    assert bench.ask(about("verify", replace(child, key_id=KEY))).code == "Integrity"
    assert bench.ask(about("verify", replace(child, secret_kind=kinds.HD_SECP256K1))).code == "Integrity"
    assert bench.ask(about("verify", replace(child, secret_kind="secp256k1"))).code == "Integrity"


def test_children_are_refused_of_keys_that_are_no_masters() -> None:
    bench = Bench()
    for scheme, curve in ALL:
        reply = bench.ask(bench.granted(child_order(bench.generate(scheme, curve), "m/0")))
        assert (reply.code, reply.data) == ("Unsupported", b"only a master key has child keys")
    relabelled = replace(bench.generate(), secret_kind=kinds.HD_SECP256K1)
    assert bench.ask(bench.granted(child_order(relabelled, "m/0"))).code == "Integrity"
    grandchild = child_order(derived(bench, bench.generate(master=True), "m/0"), "m/0", "ke-3")
    assert bench.ask(bench.granted(grandchild)).code == "Unsupported"


@pytest.mark.parametrize("path", ["", "m", "m/0'", "m/00", "m/2147483648", "m/0/"])
def test_children_along_other_paths_are_refused(path: str) -> None:
    bench = Bench()
    assert bench.ask(bench.granted(child_order(bench.generate(master=True), path))).code == "Unsupported"


def test_a_child_needs_an_id_of_its_own_and_a_payload_in_shape() -> None:
    bench = Bench()
    master = bench.generate(master=True)
    for child in ("", KEY, "x" * 257):
        assert bench.ask(bench.granted(child_order(master, "m/0", child))).code == "Unsupported"
    order = child_order(master, "m/0")
    order.payload = memoryview(b"\xc1")
    assert bench.ask(bench.granted(order)).code == "Unsupported"
    order = child_order(master, "m/0")
    order.payload_kind = "generate"
    assert bench.ask(bench.granted(order)).code == "Unsupported"


def test_a_grant_for_one_child_makes_no_other() -> None:
    bench = Bench()
    master = bench.generate(master=True)
    order, other = child_order(master, "m/0"), child_order(master, "m/1")
    other.grant = bench.granted(order).grant
    assert bench.ask(other).code == "Denied"
    assert bench.ask(order).code == "ok"
    assert bench.ask(order).code == "Denied"


def test_a_master_under_another_public_key_derives_nothing() -> None:
    bench = Bench()
    master, other = bench.generate(master=True), bench.generate(master=True)
    assert (
        bench.ask(bench.granted(child_order(replace(master, public_key=other.public_key), "m/0"))).code == "Integrity"
    )


def test_dh_keys_are_no_masters_and_sign_nothing() -> None:
    bench = Bench()
    order = Order(1, "generate", KEY, "DH", payload=memoryview(b"secp256k1"), payload_kind="generate_master")
    order.org_id, order.curve = ORG, "secp256k1"
    assert bench.ask(bench.granted(order)).code == "Unsupported"
    key = bench.generate("DH", "secp256k1")
    assert bench.ask(bench.granted(bench.sign_order(key, DIGEST))).code == "Unsupported"


def test_a_dh_output_is_the_hash_of_the_product() -> None:
    bench = Bench()
    key = bench.generate("DH", "secp256k1")
    replies = [bench.ask(bench.granted(output_order(key, b"domain", b"seed"))) for _ in range(2)]
    assert [reply.code for reply in replies] == ["ok", "ok"]
    point = hash_to_curve(b"seed", b"domain").hex()
    (product,) = ask([{"ask": "multiply", "point": point, "secret": opened(bench, key).hex()}])
    assert {reply.data for reply in replies} == {hashlib.sha256(bytes.fromhex(product)).digest()}


def test_dh_outputs_of_other_inputs_or_keys_are_refused() -> None:
    bench = Bench()
    key = bench.generate("DH", "secp256k1")
    for domain, seed in ((b"", b"seed"), (b"d" * 4097, b"seed"), (b"domain", b"s" * (384 * 1024 + 1))):
        assert bench.ask(bench.granted(output_order(key, domain, seed))).code == "Unsupported"
    assert bench.ask(bench.granted(output_order(bench.generate(), b"domain", b"seed"))).code == "Unsupported"
    order = output_order(key, b"domain", b"seed")
    order.payload = memoryview(msgspec.msgpack.encode(["domain", 7]))
    assert bench.ask(bench.granted(order)).code == "Unsupported"
    wrong = replace(key, public_key=bench.generate("DH").public_key)
    assert bench.ask(bench.granted(output_order(wrong, b"domain", b"seed"))).code == "Integrity"
    assert bench.ask(output_order(key, b"domain", b"seed")).code == "Denied"


def test_the_stark_curve_signs_numbers_below_2_to_the_251_only() -> None:
    bench = Bench()
    key = bench.generate("ECDSA", "stark")
    value = bench.sign(key, b"\x07" + b"\xff" * 31)
    assert stark.recovers(key.public_key, b"\x07" + b"\xff" * 31, value)
    for digest in (b"\x08" + bytes(31), b"\xff" * 32):
        assert bench.ask(bench.granted(bench.sign_order(key, digest))).code == "Unsupported"


@pytest.mark.parametrize(("scheme", "curve"), ALL)
def test_k1_no_reply_holds_a_secret_and_none_stays_in_the_page(
    scheme: str, curve: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench, said, held = Bench(), bytearray(), []
    page, masters = bench.service.page, (scheme, curve) in MASTERS
    for key in [bench.generate(scheme, curve), *([bench.generate(scheme, curve, master=True)] if masters else [])]:
        orders = [about("verify", key), bench.granted(output_order(key, b"domain", b"seed"))]
        if (scheme, curve) in SIGNERS:
            orders.append(bench.granted(bench.sign_order(key, DIGEST)))
        if key.secret_kind in kinds.MASTER_KINDS:
            orders.append(bench.granted(child_order(key, "m/0/1")))
            child = derived(bench, key, "m/0/1")
            held.append(opened(bench, child))
        for order in orders:
            said += msgspec.msgpack.encode(bench.ask(order))
            assert not any(page.secret_area)
            assert not any(page.keypair)
        said += key.record
        held.append(opened(bench, key))
    secrets = [secret[start : start + 32] for secret in held for start in range(0, len(secret), 32)]
    assert len(set(secrets)) == len(secrets)
    for secret in secrets:
        assert secret not in said
        assert secret.hex() not in said.decode("latin-1") + caplog.text


def test_k7_no_two_signatures_of_a_derived_ed25519_key_share_r() -> None:
    bench = Bench()
    child = derived(bench, bench.generate("EdDSA", "ed25519", master=True), "m/0")
    assert child.secret_kind == kinds.ED25519_SCALAR
    assert len({bench.sign(child, b"message %d" % number)[:32] for number in range(1000)}) == 1000


def test_k7_two_derivations_of_one_ed25519_key_never_share_a_nonce() -> None:
    """Their prefixes differ, so that one message signed by both has two nonces, as two messages have."""
    bench = Bench()
    master = bench.generate("EdDSA", "ed25519", master=True)
    first, second = derived(bench, master, "m/0"), derived(bench, master, "m/0")
    assert opened(bench, first)[:32] == opened(bench, second)[:32]
    assert bench.sign(first, b"message")[:32] != bench.sign(second, b"message")[:32]


async def test_the_client_makes_masters_children_and_outputs_in_a_signer_process() -> None:
    async with running() as signer:

        async def new(scheme: str, curve: str, **more: Any) -> KeyRecord:
            made = await signer.client.generate(ORG, KEY, scheme, curve, "rq-1", evidence(), **more)
            return KeyRecord(
                ORG,
                KEY,
                scheme,
                curve,
                made.public_key,
                made.secret_kind,
                made.root_version,
                made.generation,
                made.record,
            )

        master = await new("EdDSA", "ed25519", master=True)
        made = await signer.client.derive_child(master, CHILD, "m/3", "rq-2", evidence())
        child = replace(
            master,
            key_id=CHILD,
            public_key=made.public_key,
            secret_kind=made.secret_kind,
            generation=made.generation,
            record=made.record,
        )
        await signer.client.verify(child)
        await signer.client.sign(SignOrder(child, MESSAGE, b"message", "sig-1", evidence()))
        dh = await new("DH", "secp256k1")
        outputs = {await signer.client.derive(dh, b"domain", seed, "rq-3", evidence()) for seed in (b"a", b"b", b"a")}
        assert {len(output) for output in outputs} == {32}
        assert len(outputs) == 2
        with pytest.raises(SignerRefused, match="a domain has"):
            await signer.client.derive(dh, b"", b"a", "rq-4", evidence())
