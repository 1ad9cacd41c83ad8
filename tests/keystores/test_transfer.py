"""Keys in and out of the signer: what comes in and goes out, and everything that must not."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from countersign.keystores import (
    KeyRecord,
    native,
    share_envelope,
    share_format,
    share_holder,
    share_points,
    sharing,
    stark,
)
from countersign.keystores.orders import about
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import Generated, Order, Reply
from countersign.keystores.share_holder import Envelopes
from countersign.keystores.transfer_messages import (
    ExportPayload,
    ImportPayload,
    SealedSigner,
    decode_shares,
    decode_signers,
    encode,
)
from tests.keystores.builders import KEY, ORG, Bench, evidence, vectors

VECTORS: dict[str, Any] = vectors("keys-wallets-vectors.json")["keyShareEnvelope"]
SECRET = int(VECTORS["secretScalarHex"], 16)
DECRYPTION = bytearray(range(1, 33))
ENCRYPTION_KEY = share_envelope.encryption_key(DECRYPTION)
KINDS = (
    ("CGGMP21", "secp256k1", "ECDSA"),
    ("CGGMP24", "secp256k1", "ECDSA"),
    ("KU23", "secp256k1", "ECDSA"),
    ("FROST", "ed25519", "EdDSA"),
    ("FROST_BITCOIN", "secp256k1", "Schnorr"),
    ("CGGMP21", "stark", "ECDSA"),
    ("GLOW20_DH", "secp256k1", "DH"),
)
MASTERS = tuple(kind for kind in KINDS if kind[0] not in ("CGGMP24", "GLOW20_DH"))


def signers_of(bench: Bench) -> tuple[SealedSigner, ...]:
    reply = bench.ask(bench.granted(Order(1, "signers", payload_kind="signers")))
    assert reply.code == "ok", reply
    return decode_signers(reply.data)


def listed(signers: tuple[SealedSigner, ...]) -> list[tuple[bytes, bytes]]:
    return [(signer.signer_id, b"\1" + signer.public_key) for signer in signers]


@dataclass
class Incoming:
    """A key on its way into ``bench``; single members are changed before ``send``."""

    bench: Bench = field(default_factory=Bench)
    protocol: str = "CGGMP21"
    curve: str = "secp256k1"
    scheme: str = "ECDSA"
    min_signers: int = 3
    secret: int = SECRET
    master: bool = False
    chain_code: bytes | None = None
    envelopes: Envelopes = ()
    order_curve: str = ""
    signers: tuple[SealedSigner, ...] = ()

    def __post_init__(self) -> None:
        self.signers = signers_of(self.bench)
        shared = share_holder.share(
            self.secret, self.curve, listed(self.signers), min_signers=self.min_signers, chain_code=self.chain_code
        )
        assert not isinstance(shared, Refusal), shared
        self.envelopes = shared

    def order(self) -> Order:
        payload = ImportPayload(self.protocol, self.curve, self.min_signers, self.envelopes)
        kind = "import_master" if self.master else "import"
        order = Order(1, "import", KEY, self.scheme, payload=memoryview(encode(payload)), payload_kind=kind)
        order.org_id, order.curve = ORG, self.order_curve or self.curve
        order.evidence, order.arguments = evidence(), encode(self.signers)
        return order

    def send(self) -> Reply:
        return self.bench.ask(self.bench.granted(self.order()))

    def imported(self) -> KeyRecord:
        reply = self.send()
        assert reply.code == "ok", reply
        made = msgspec.msgpack.decode(reply.data, type=Generated)
        return KeyRecord(
            ORG,
            KEY,
            self.scheme,
            self.curve,
            made.public_key,
            made.secret_kind,
            made.root_version,
            made.generation,
            made.record,
        )

    def replace_share(self, position: int, content: bytes | bytearray) -> None:
        """Put another content into the envelope of the signer at that position."""
        signer = sorted(self.signers, key=lambda one: one.signer_id)[position - 1]
        envelope = share_envelope.encrypt(b"\1" + signer.public_key, content)
        assert isinstance(envelope, bytes)
        self.envelopes = tuple((one, envelope if one == signer.signer_id else old) for one, old in self.envelopes)

    def refused(self) -> str:
        reply = self.send()
        assert reply.code == "Unsupported", reply
        assert not any(self.bench.service.page.secret_area)
        return reply.data.decode()


def exported(bench: Bench, key: KeyRecord, protocol: str, count: int = 5) -> tuple[int | Refusal, Envelopes]:
    order = about("export", key)
    order.payload, order.payload_kind = memoryview(encode(ExportPayload(ENCRYPTION_KEY, protocol))), "export"
    order.arguments, order.evidence = encode(tuple(os.urandom(32) for _ in range(count))), evidence()
    reply = bench.ask(bench.granted(order))
    assert reply.code == "ok", reply
    envelopes = decode_shares(reply.data)
    return share_holder.put_together(key.curve, key.public_key, 3, envelopes, DECRYPTION), envelopes


def signature_holds(bench: Bench, key: KeyRecord) -> bool:
    payload = bytes(range(32))
    if key.scheme == "DH":
        return bench.ask(about("verify", key)).code == "ok"
    signature = bench.sign(key, payload)
    if key.curve == "stark":
        return stark.recovers(key.public_key, payload, signature)
    if key.scheme == "ECDSA":
        return native.ecdsa_recovers(key.public_key, payload, signature)
    if key.scheme == "Schnorr":
        return native.bip340_verify(key.public_key, payload, None, signature)
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, payload)
    return True


@pytest.mark.parametrize(("protocol", "curve", "scheme"), KINDS)
@pytest.mark.parametrize("secret", [SECRET, 1, -1])
def test_k2_an_imported_key_is_the_key_that_was_shared(protocol: str, curve: str, scheme: str, secret: int) -> None:
    secret %= sharing.ORDERS[curve]
    incoming = Incoming(protocol=protocol, curve=curve, scheme=scheme, secret=secret)
    key = incoming.imported()
    point = share_points.canonical(curve, share_points.public_share(curve, secret))
    assert key.public_key == (b"\2" + point[1:] if scheme == "Schnorr" else point)
    assert incoming.bench.ask(about("verify", key)).code == "ok"
    assert signature_holds(incoming.bench, key)


def test_the_key_of_the_vectors_has_the_public_key_of_the_vectors() -> None:
    assert Incoming().imported().public_key.hex() == VECTORS["publicKey"]


@pytest.mark.parametrize(("protocol", "curve", "scheme"), KINDS)
def test_k3_what_comes_in_goes_out_again(protocol: str, curve: str, scheme: str) -> None:
    incoming = Incoming(protocol=protocol, curve=curve, scheme=scheme)
    key = incoming.imported()
    secret, envelopes = exported(incoming.bench, key, protocol)
    order = sharing.ORDERS[curve]
    assert secret in ((SECRET, order - SECRET) if scheme == "Schnorr" else (SECRET,))
    assert len(envelopes) == 5
    assert {len(envelope) for _, envelope in envelopes} == {{"ed25519": 277, "stark": 273, "secp256k1": 281}[curve]}


@pytest.mark.parametrize(("protocol", "curve", "scheme"), KINDS)
def test_k3_a_generated_key_moves_to_another_store_and_signs_for_the_same_public_key(
    protocol: str, curve: str, scheme: str
) -> None:
    old = Bench()
    key = old.generate(scheme, curve)
    secret, _ = exported(old, key, protocol)
    assert isinstance(secret, int)
    arrived = Incoming(protocol=protocol, curve=curve, scheme=scheme, secret=secret)
    moved = arrived.imported()
    assert moved.public_key == key.public_key
    assert signature_holds(arrived.bench, moved)


def test_an_export_is_shared_anew_each_time() -> None:
    bench = Bench()
    key = bench.generate()
    first, second = exported(bench, key, "CGGMP21")[1], exported(bench, key, "CGGMP21")[1]
    texts = []
    for envelopes in (first, second):
        content = share_envelope.decrypt(DECRYPTION, envelopes[0][1], memoryview(bytearray(500)))
        assert isinstance(content, memoryview)
        texts.append(bytes(content))
    assert texts[0] != texts[1]


@pytest.mark.parametrize(("protocol", "curve", "scheme"), MASTERS)
def test_a_master_key_keeps_the_chain_code_that_came_with_it(protocol: str, curve: str, scheme: str) -> None:
    chain_code = os.urandom(32)
    incoming = Incoming(protocol=protocol, curve=curve, scheme=scheme, master=True, chain_code=chain_code)
    key = incoming.imported()
    assert key.secret_kind == f"hd.{curve}"
    service = incoming.bench.service
    assert service.open(about("sign", key)) is None
    length = 96 if curve == "ed25519" else 64
    assert bytes(service.page.secret_area[length - 32 : length]) == chain_code
    service.page.wipe_work()
    assert signature_holds(incoming.bench, key)


def test_a_master_key_without_a_chain_code_gets_a_random_one() -> None:
    codes = set()
    for _ in range(2):
        incoming = Incoming(master=True)
        key = incoming.imported()
        assert incoming.bench.service.open(about("sign", key)) is None
        codes.add(bytes(incoming.bench.service.page.secret_area[32:64]))
    assert len(codes) == 2
    assert bytes(32) not in codes


@pytest.mark.parametrize("position", range(1, 6))
def test_k5_a_changed_byte_in_any_share_is_refused(position: int) -> None:
    incoming = Incoming()
    changed = bytearray(incoming.envelopes[position - 1][1])
    changed[len(changed) // position - 1] ^= 4
    envelopes = list(incoming.envelopes)
    envelopes[position - 1] = (envelopes[position - 1][0], bytes(changed))
    incoming.envelopes = tuple(envelopes)
    assert incoming.refused().startswith(f"share {position}: the envelope ")


def test_k5_shares_of_two_keys_make_none() -> None:
    one, other = Incoming(), Incoming()
    other.bench, other.signers = one.bench, one.signers
    shared = share_holder.share(SECRET + 1, "secp256k1", listed(one.signers))
    assert not isinstance(shared, Refusal)
    one.envelopes = (*one.envelopes[:4], shared[4])
    assert one.refused() == "share 5: its public shares are not those of share 1"


def test_k5_two_sharings_of_one_key_do_not_mix() -> None:
    incoming = Incoming()
    again = share_holder.share(SECRET, "secp256k1", listed(incoming.signers))
    assert not isinstance(again, Refusal)
    incoming.envelopes = (again[0], *incoming.envelopes[1:])
    assert incoming.refused() == "share 2: its public shares are not those of share 1"


def contents(incoming: Incoming, shares: list[int], points: list[bytes] | None = None) -> None:
    """Fill all envelopes with these shares, and with the points that belong to them unless others are given."""
    points = points or [share_points.public_share(incoming.curve, share) for share in shares]
    for position, share in enumerate(shares, 1):
        incoming.replace_share(position, share_format.encode_import(incoming.curve, share, points, None))


@pytest.mark.parametrize(("protocol", "curve", "scheme"), KINDS[2:])
def test_k5_shares_on_no_polynomial_of_the_degree_are_refused(protocol: str, curve: str, scheme: str) -> None:
    incoming = Incoming(protocol=protocol, curve=curve, scheme=scheme)
    contents(incoming, sharing.split(SECRET, [5, 6, 7], 5, sharing.ORDERS[curve]))
    assert incoming.refused() == "the shares are not those of one key with minSigners 3"


def test_k5_shares_that_sum_to_zero_make_no_key() -> None:
    incoming = Incoming()
    contents(incoming, sharing.split(0, [5, 6], 5, sharing.ORDERS["secp256k1"]))
    assert "zero" in incoming.refused()


@pytest.mark.parametrize("point", [b"\4" + bytes(64), b"\4" + b"\1" * 64, bytes(65), None])
@pytest.mark.parametrize("position", [1, 3, 5])
def test_k5_a_public_share_that_is_another_point_or_none_is_refused(point: bytes | None, position: int) -> None:
    incoming = Incoming()
    shares = sharing.split(SECRET, [5, 6], 5, sharing.ORDERS["secp256k1"])
    points = [share_points.public_share("secp256k1", share) for share in shares]
    points[position - 1] = point or points[position % 5]
    contents(incoming, shares, points)
    assert incoming.refused() == f"share {position}: its public share is another point, or none"


def test_k5_shares_in_each_others_envelopes_are_refused() -> None:
    incoming = Incoming()
    shares = sharing.split(SECRET, [5, 6], 5, sharing.ORDERS["secp256k1"])
    points = [share_points.public_share("secp256k1", share) for share in shares]
    for position, share in ((1, shares[1]), (2, shares[0])):
        incoming.replace_share(position, share_format.encode_import("secp256k1", share, points, None))
    for position in (3, 4, 5):
        incoming.replace_share(position, share_format.encode_import("secp256k1", shares[position - 1], points, None))
    assert "another point" in incoming.refused()


def test_k5_chain_codes_that_differ_are_refused() -> None:
    incoming = Incoming(master=True, chain_code=bytes(32))
    shares = sharing.split(SECRET, [5, 6], 5, sharing.ORDERS["secp256k1"])
    points = [share_points.public_share("secp256k1", share) for share in shares]
    for position, share in enumerate(shares, 1):
        code = bytes([position == 4]) * 32
        incoming.replace_share(position, share_format.encode_import("secp256k1", share, points, code))
    assert incoming.refused() == "share 4: its chain code is not that of share 1"


def broken_requests() -> list[tuple[str, Any, str]]:
    def without_last(incoming: Incoming) -> None:
        incoming.envelopes = incoming.envelopes[:4]

    def twice(incoming: Incoming) -> None:
        incoming.envelopes = (*incoming.envelopes, incoming.envelopes[0])

    def first_for_all(incoming: Incoming) -> None:
        incoming.envelopes = (incoming.envelopes[0],) * 5

    def stranger(incoming: Incoming) -> None:
        incoming.envelopes = (*incoming.envelopes[:4], (bytes(32), incoming.envelopes[4][1]))

    def setting(**members: Any) -> Any:
        return lambda incoming: [setattr(incoming, name, value) for name, value in members.items()]

    return [
        ("a signer without a share", without_last, "1 of 5 signers have no share"),
        ("a signer with two", twice, "more than one share"),
        ("one signer for all", first_for_all, "more than one share"),
        ("a signer nobody listed", stranger, "not listed"),
        ("minSigners 1", setting(min_signers=1), "minSigners is 2 to 5, not 1"),
        ("minSigners 6", setting(min_signers=6), "minSigners is 2 to 5, not 6"),
        ("minSigners too low for the shares", setting(min_signers=2), "with minSigners 2"),
        ("protocol of another curve", setting(protocol="FROST"), "no protocol for ECDSA"),
        ("protocol of another scheme", setting(protocol="FROST_BITCOIN"), "no protocol for ECDSA"),
        ("unknown protocol", setting(protocol="GG18"), "no protocol for ECDSA"),
        ("curve of another scheme", setting(curve="ed25519"), "no keys of ECDSA on ed25519"),
        ("curve of the order alone", setting(order_curve="stark"), "CGGMP21 on secp256k1 is no protocol"),
        (
            "curve of the request",
            setting(curve="ed25519", scheme="EdDSA", protocol="FROST"),
            "'secp256k1', not 'ed25519'",
        ),
        ("no signers", setting(signers=()), "signers are too few"),
    ]


@pytest.mark.parametrize(
    ("spoil", "reason"), [case[1:] for case in broken_requests()], ids=[c[0] for c in broken_requests()]
)
def test_k5_a_request_that_is_not_whole_is_refused(spoil: Any, reason: str) -> None:
    incoming = Incoming()
    spoil(incoming)
    assert reason in incoming.refused()


def test_signers_of_another_store_open_nothing() -> None:
    incoming, other = Incoming(), Incoming()
    incoming.signers, incoming.envelopes = other.signers, other.envelopes
    assert incoming.send().code == "Integrity"


def test_a_signers_key_is_sealed_for_its_own_id() -> None:
    incoming = Incoming()
    first, second, *rest = incoming.signers
    # Whoever can write the table cannot make one signer's key another's.
    swapped = msgspec.structs.replace(first, record=second.record, public_key=second.public_key)
    incoming.signers = (swapped, second, *rest)
    assert incoming.send().code == "Integrity"


@pytest.mark.parametrize("op", ["import", "signers", "export"])
def test_every_order_needs_a_grant_for_exactly_its_payload(op: str) -> None:
    incoming = Incoming()
    key = incoming.imported()
    order = {"import": incoming.order, "signers": lambda: Order(1, "signers", payload_kind="signers")}.get(op)
    made = about("export", key) if order is None else order()
    if op == "export":
        made.payload, made.payload_kind = memoryview(encode(ExportPayload(ENCRYPTION_KEY, "CGGMP21"))), "export"
        made.arguments, made.evidence = encode(tuple(bytes([n]) * 32 for n in range(5))), evidence()
    assert incoming.bench.ask(made).code == "Denied"
    granted = incoming.bench.granted(made, payload_hash=bytes(32))
    assert incoming.bench.ask(granted).code == "Denied"


@pytest.mark.parametrize(
    ("encryption_key", "protocol", "reason"),
    [
        (ENCRYPTION_KEY[:-1], "CGGMP21", "34 bytes, not 33"),
        (b"\2" + ENCRYPTION_KEY[1:], "CGGMP21", "version 2"),
        (b"\1" + bytes(33), "CGGMP21", "no point"),
        (ENCRYPTION_KEY, "FROST", "no protocol for ECDSA"),
        (ENCRYPTION_KEY, "GG18", "no protocol for ECDSA"),
    ],
)
def test_an_export_that_nobody_could_read_is_refused(encryption_key: bytes, protocol: str, reason: str) -> None:
    bench = Bench()
    order = about("export", bench.generate())
    order.payload, order.payload_kind = memoryview(encode(ExportPayload(encryption_key, protocol))), "export"
    order.arguments, order.evidence = encode(tuple(bytes([n]) * 32 for n in range(5))), evidence()
    reply = bench.ask(bench.granted(order))
    assert (reply.code, reason in reply.data.decode()) == ("Unsupported", True), reply


def test_a_record_of_another_key_is_not_exported_under_this_one() -> None:
    bench = Bench()
    key, other = bench.generate(), bench.generate()
    order = about("export", replace(key, record=other.record))
    order.payload, order.payload_kind = memoryview(encode(ExportPayload(ENCRYPTION_KEY, "CGGMP21"))), "export"
    order.arguments, order.evidence = encode(tuple(bytes([n]) * 32 for n in range(5))), evidence()
    assert bench.ask(bench.granted(order)).code == "Integrity"


def test_k5_the_holder_gets_the_key_or_a_reason() -> None:
    bench = Bench()
    key = bench.generate()
    secret, envelopes = exported(bench, key, "CGGMP21")
    assert isinstance(secret, int)

    def together(given: Envelopes, public: bytes = key.public_key, scalar: bytearray = DECRYPTION) -> int | Refusal:
        return share_holder.put_together("secp256k1", public, 3, given, scalar)

    assert together(envelopes[2:]) == secret
    other_key = replace(bench.generate(), key_id=KEY)
    mixed = exported(bench, other_key, "CGGMP21")[1]
    again = exported(bench, key, "CGGMP21")[1]
    changed = (envelopes[0][0], envelopes[0][1][:9] + b"\0" + envelopes[0][1][10:])
    for given, reason in (
        (envelopes[:2], "3 shares are needed and 2 given"),
        ((envelopes[0], envelopes[0], envelopes[1]), "more than one share"),
        (((b"other", envelopes[1][1]), *envelopes[:3]), "position 2 is taken"),
        ((*envelopes[:4], mixed[4]), "not those of one key"),
        ((*envelopes[:2], again[2]), "another key"),
        ((changed, *envelopes[1:]), "share 1: the envelope does not open"),
        (mixed, "another key"),
    ):
        refusal = together(given)
        assert isinstance(refusal, Refusal), reason
        assert reason in refusal.reason
    wrong = together(envelopes, scalar=bytearray(b"\7" * 32))
    assert isinstance(wrong, Refusal)


def test_the_export_of_the_vectors_is_put_together() -> None:
    response = VECTORS["exportResponse"]
    envelopes = tuple(
        (base64.b64decode(share["signerId"]), base64.b64decode(share["encryptedKeyShare"]))
        for share in response["encryptedKeyShares"]
    )
    secret = share_holder.put_together(
        response["curve"],
        bytes.fromhex(response["publicKey"]),
        response["minSigners"],
        envelopes,
        bytearray.fromhex(VECTORS["exportDecryptionScalarHex"]),
    )
    assert secret == SECRET
