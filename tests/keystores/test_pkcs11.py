"""A hardware module as a key store, with SoftHSM2: what it makes, what it signs, and what it does when it is gone."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import coincurve
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256K1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from countersign.keystores import KeyRecord, SignerRefused, SignOrder
from countersign.keystores.orders import about
from countersign.keystores.pkcs11_place import parse_place
from countersign.keystores.pkcs11_service import Pkcs11Service
from countersign.keystores.pkcs11_token import Token, normalised
from countersign.keystores.protocol import Generated, Order
from tests.keystores.builders import KEY, ORG, Bench, Running, evidence, running
from tests.support.aio import until
from tests.support.softhsm import Token as SoftHsm
from tests.support.softhsm import softhsm_token

NUMBERS = itertools.count(1000)
MODES = ("resident", "wrapped")
DIGEST = hashlib.sha256(b"to be signed").digest()
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    yield from softhsm_token(tmp_path_factory.mktemp("hsm"))


def spec(hsm: SoftHsm, mode: str, **others: Any) -> str:
    return f"{hsm.spec(label='wrapping', **others)}&mode={mode}"


@dataclass
class TokenBench(Bench):
    """A signer without its process, whose keys are in a token."""

    place: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.token = Token(parse_place(self.place))
        self.service = Pkcs11Service(self.token, self.kek, clock=lambda: self.now, grant_level=self.level)
        self.load([self.root])

    def generate(
        self, scheme: str = "ECDSA", curve: str = "secp256k1", *, master: bool = False, key_id: str = ""
    ) -> KeyRecord:
        return super().generate(scheme, curve, master=master, key_id=key_id or f"{KEY[:-4]}{next(NUMBERS):04}")

    def verified(self, key: KeyRecord, payload: bytes) -> bytes:
        """A signature over the payload that independent libraries accept."""
        signature = self.sign(key, payload)
        if key.scheme == "EdDSA":
            Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, payload)
            return signature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        assert s <= ORDER // 2
        public = EllipticCurvePublicKey.from_encoded_point(SECP256K1(), key.public_key)
        public.verify(encode_dss_signature(r, s), payload, ECDSA(Prehashed(SHA256())))
        recovered = coincurve.PublicKey.from_signature_and_message(signature, payload, hasher=None)
        assert recovered.format() == key.public_key
        return signature


@pytest.fixture
def benches(hsm: SoftHsm) -> Iterator[dict[str, TokenBench]]:
    made = {mode: TokenBench(place=spec(hsm, mode)) for mode in MODES}
    yield made
    for bench in made.values():
        bench.token.close()


def alone(benches: dict[str, TokenBench], mode: str) -> TokenBench:
    """Only one session is logged in at a time, as in a process of its own."""
    for other in benches.values():
        other.token.close()
    return benches[mode]


@pytest.mark.parametrize("mode", MODES)
def test_a_secp256k1_key_signs_low_s_with_a_recovery_id_and_verifies_elsewhere(
    benches: dict[str, TokenBench], mode: str
) -> None:
    bench = alone(benches, mode)
    key = bench.generate()
    signatures = [bench.verified(key, hashlib.sha256(bytes((number,))).digest()) for number in range(12)]
    assert len({signature[64] for signature in signatures}) > 1
    assert key.secret_kind == f"pkcs11.{mode}"
    assert bench.ask(about("verify", key)).code == "ok"


def test_a_resident_ed25519_key_signs_the_whole_message(benches: dict[str, TokenBench]) -> None:
    bench = alone(benches, "resident")
    key = bench.generate("EdDSA", "ed25519")
    for message in (b"", b"m", b"m" * 5000):
        if message:
            bench.verified(key, message)


def test_a_token_that_does_not_let_ed25519_out_wrapped_refuses_at_creation(benches: dict[str, TokenBench]) -> None:
    bench = alone(benches, "wrapped")
    order = Order(1, "generate", KEY, "EdDSA", payload=memoryview(b"ed25519"), payload_kind="generate")
    order.org_id, order.curve = ORG, "ed25519"
    reply = bench.ask(bench.granted(order))
    assert (reply.code, b"does not let keys on ed25519 out" in reply.data) == ("Unsupported", True)


@pytest.mark.parametrize(
    ("scheme", "curve", "kind"),
    [
        ("Schnorr", "secp256k1", "generate"),
        ("ECDSA", "stark", "generate"),
        ("DH", "secp256k1", "generate"),
        ("ECDSA", "secp256k1", "generate_master"),
    ],
)
def test_what_no_token_can_do_is_refused_at_creation(
    benches: dict[str, TokenBench], scheme: str, curve: str, kind: str
) -> None:
    bench = alone(benches, "resident")
    order = Order(1, "generate", KEY, scheme, payload=memoryview(curve.encode()), payload_kind=kind)
    order.org_id, order.curve = ORG, curve
    assert bench.ask(bench.granted(order)).code == "Unsupported"


@pytest.mark.parametrize("op", ["derive", "derive_child", "signers", "import", "export"])
def test_keys_never_come_in_or_out(benches: dict[str, TokenBench], op: str) -> None:
    assert alone(benches, "resident").ask(Order(1, op)).code == "Unsupported"


@pytest.mark.parametrize("mode", MODES)
def test_a_record_moved_to_another_row_or_changed_does_not_open(benches: dict[str, TokenBench], mode: str) -> None:
    bench = alone(benches, mode)
    key = bench.generate()
    for other in (
        replace(key, key_id=key.key_id[:-1] + "9"),
        replace(key, public_key=b"\x02" + bytes(31) + b"\x01"),
        replace(key, record=key.record[:-1] + bytes((key.record[-1] ^ 1,))),
        replace(key, record=key.record[:10]),
        replace(key, secret_kind="pkcs11.other"),
    ):
        reply = bench.ask(bench.granted(bench.sign_order(other, DIGEST)))
        assert reply.code in ("Integrity", "NotFound"), reply


@pytest.mark.parametrize("mode", MODES)
def test_permission_is_asked_for_as_by_every_signer(benches: dict[str, TokenBench], mode: str) -> None:
    bench = alone(benches, mode)
    key = bench.generate()
    order = bench.sign_order(key, DIGEST)
    assert bench.ask(order).code == "Denied"
    granted = bench.granted(order)
    assert bench.ask(granted).code == "ok"
    assert bench.ask(granted).code == "Denied"


# The package's search complains on its way out that its session is gone, which is what is tried here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("mode", MODES)
def test_a_lost_session_is_opened_again_once(benches: dict[str, TokenBench], mode: str) -> None:
    bench = alone(benches, mode)
    key = bench.generate()
    assert bench.token._session is not None
    bench.token._session.close()
    bench.verified(key, DIGEST)


def test_a_second_resident_key_of_the_same_id_is_refused_and_the_first_signs_on(
    benches: dict[str, TokenBench],
) -> None:
    bench = alone(benches, "resident")
    key = bench.generate()
    order = Order(1, "generate", key.key_id, "ECDSA", payload=memoryview(b"secp256k1"), payload_kind="generate")
    order.org_id, order.curve = ORG, "secp256k1"
    reply = bench.ask(bench.granted(order))
    assert (reply.code, reply.data) == ("Unsupported", b"the token holds a key of this id already")
    bench.verified(key, DIGEST)


def test_a_record_is_sealed_anew_under_the_newest_root_and_still_signs(benches: dict[str, TokenBench]) -> None:
    bench = alone(benches, "wrapped")
    key = bench.generate()
    reply = bench.ask(about("rewrap", key))
    made = msgspec.msgpack.decode(reply.data, type=Generated)
    assert made.generation == key.generation + 1
    bench.verified(replace(key, record=made.record, generation=made.generation), DIGEST)


def test_a_missing_token_module_or_pin_is_said_and_keeps_the_store_sealed(hsm: SoftHsm, tmp_path: Path) -> None:
    wrong = tmp_path / "pin"
    wrong.write_text("00000000")
    for place, reason in (
        (spec(hsm, "resident", pin=wrong), "refused the PIN"),
        (spec(hsm, "resident", pin=tmp_path / "none"), "can't be read"),
        (spec(hsm, "resident").replace("token=countersign", "token=other"), "there is no token 'other'"),
        (spec(hsm, "resident").replace("libsofthsm2.so", "none.so"), "can't be loaded"),
    ):
        state = TokenBench(place=place).state()
        assert (state.state, reason in state.reason) == ("sealed", True), state.reason


def test_a_wrong_pin_is_tried_once_so_that_the_token_does_not_lock_itself(hsm: SoftHsm, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("00000000")
    bench = TokenBench(place=spec(hsm, "resident", pin=pin))
    for _ in range(20):
        assert "refused the PIN" in bench.state().reason
    pin.write_text(hsm.pin_file.read_text())
    assert bench.state().state == "unsealed"
    bench.token.close()


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("sealed2", "pkcs11:token=LABEL"),
        ("pkcs11:object=x?module-path=/m&pin-source=/p", "lacks token"),
        ("pkcs11:token=x", "lacks module-path, pin-source"),
        ("pkcs11:token=x?module-path=/m&pin-source=/p&mode=other", "resident or wrapped"),
        ("pkcs11:token=x?module-path=/m&pin-value=1234", "unknown option 'pin-value'"),
    ],
)
def test_a_place_that_names_no_token_is_refused(place: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_place(place)


def test_a_high_s_is_lowered_and_the_recovery_id_found() -> None:
    secret = coincurve.PrivateKey(b"\x07" * 32)
    signature = secret.sign_recoverable(DIGEST, hasher=None)
    high = signature[:32] + (ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    assert normalised(high, DIGEST, secret.public_key.format()) == signature
    assert normalised(signature[:64], DIGEST, secret.public_key.format()) == signature
    assert normalised(signature[:64], DIGEST, coincurve.PrivateKey(b"\x08" * 32).public_key.format()) is None
    assert normalised(bytes(64), DIGEST, secret.public_key.format()) is None
    assert normalised(signature[:63], DIGEST, secret.public_key.format()) is None


@asynccontextmanager
async def process(hsm: SoftHsm, mode: str, kek: str | None = None) -> AsyncIterator[Running]:
    async with running(kek, store=spec(hsm, mode)) as signer:
        yield signer


async def made(signer: Running) -> KeyRecord:
    key_id = f"{KEY[:-4]}{next(NUMBERS):04}"
    new = await signer.client.generate(ORG, key_id, "ECDSA", "secp256k1", "ke-request", evidence())
    return KeyRecord(
        ORG, key_id, "ECDSA", "secp256k1", new.public_key, new.secret_kind, new.root_version, new.generation, new.record
    )


@pytest.mark.parametrize("mode", MODES)
async def test_a_process_of_its_own_signs_and_goes_on_after_a_restart(hsm: SoftHsm, mode: str) -> None:
    async with process(hsm, mode) as signer:
        key = await made(signer)
        order = SignOrder(key, "digest32", DIGEST, "si-1", evidence())
        await signer.client.sign(order)
        await signer.client.seal()
        await signer.client.unseal(None)
        await signer.client.sign(order)
        notes = (await signer.client.status()).notes
        assert "the key store's own library may use files and network: confine it by the service unit" in notes
        os.kill(signer.pid, signal.SIGKILL)
        await until(lambda: not signer.client.available)
        await until(lambda: signer.client.available)
        value = await signer.client.sign(order)
        assert value.recid in (0, 1)


async def test_the_key_encryption_key_may_be_in_the_same_token(hsm: SoftHsm) -> None:
    async with process(hsm, "wrapped", hsm.spec(label="kek-of-the-store")) as signer:
        key = await made(signer)
        await signer.client.sign(SignOrder(key, "digest32", DIGEST, "si-1", evidence()))


async def test_an_unsupported_pair_is_refused_over_the_socket(hsm: SoftHsm) -> None:
    async with process(hsm, "resident") as signer:
        with pytest.raises(SignerRefused, match="no Schnorr keys on secp256k1"):
            await signer.client.generate(ORG, KEY, "Schnorr", "secp256k1", "ke-request", evidence())
