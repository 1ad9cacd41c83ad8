"""Using restored keys: a signer inside this process that asks for no consent, and a check by other libraries."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from coincurve import PublicKeyXOnly
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from countersign.encoding.dates import to_iso
from countersign.keystores import KeyRecord
from countersign.keystores.kek import KekProvider
from countersign.keystores.memory import harden_process, wipe
from countersign.keystores.orders import about
from countersign.keystores.protocol import DIGEST32, MESSAGE, Generated, Order, Reply, State
from countersign.keystores.service import SignerService

_encode = msgspec.msgpack.Encoder().encode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode
_decode_generated = msgspec.msgpack.Decoder(Generated).decode
_decode_state = msgspec.msgpack.Decoder(State).decode


class Failed(Exception):
    """The drill can't go on; the text says why."""


class Bench:
    """A signer at level G0 (no grants, no evidence), for the holder of the key-encryption key alone."""

    def __init__(self, kek: KekProvider, now: int) -> None:
        harden_process()
        self._text = f"countersign drill {to_iso(now)}: this signature is a test and means nothing"
        self._service = SignerService(kek, clock=lambda: now, grant_level="G0")

    def unseal(self, roots: list[bytes], secrets: Sequence[bytearray]) -> None:
        """Open the store's roots with what was handed in (nothing, a passphrase, shares) and is wiped here.

        Raises ``Failed``.
        """
        try:
            state = self._state(Order(0, "load", payload=memoryview(_encode(roots))))
            for secret in secrets:
                if state.state == "sealed":
                    state = self._state(Order(0, "unseal", payload=memoryview(secret)))
        finally:
            for secret in secrets:
                wipe(secret)
        if state.state != "unsealed":
            raise Failed(f"the key store can't be unsealed: {state.reason}")

    def generate(self, org_id: str, key_id: str, scheme: str, curve: str) -> KeyRecord:
        """A key that nobody stores. Raises ``Failed``."""
        order = Order(0, "generate", key_id, scheme, payload=memoryview(curve.encode()), payload_kind="generate")
        order.org_id, order.curve = org_id, curve
        reply = self._ask(order)
        if reply.code != "ok":
            raise Failed(f"no test key could be made: {reply.data.decode(errors='replace')}")
        made = _decode_generated(reply.data)
        sealed = (made.secret_kind, made.root_version, made.generation, made.record)
        return KeyRecord(org_id, key_id, scheme, curve, made.public_key, *sealed)

    def use(self, key: KeyRecord) -> str | None:
        """Recompute the public key, then sign (or derive) with it; why that failed, or None."""
        checked = self._ask(about("verify", key))
        if checked.code != "ok":
            return f"{checked.code}: {checked.data.decode(errors='replace')}"
        order = about("derive" if key.scheme == "DH" else "sign", key)
        text = f"{self._text}, {key.key_id}".encode()
        payload, order.payload_kind = _payload(key, text)
        order.payload = memoryview(payload)
        done = self._ask(order)
        if done.code != "ok":
            return f"{done.code}: {done.data.decode(errors='replace')}"
        return None if _holds(key, payload, done.data) else "its signature does not verify"

    def close(self) -> None:
        """Wipe every secret."""
        self._service.seal()

    def _state(self, order: Order) -> State:
        reply = self._ask(order)
        if reply.code != "ok":
            raise Failed(f"the key store can't be unsealed: {reply.data.decode(errors='replace')}")
        return _decode_state(reply.data)

    def _ask(self, order: Order) -> Reply:
        return _decode_reply(self._service.handle(memoryview(bytearray(_encode(order)))))


def _payload(key: KeyRecord, text: bytes) -> tuple[bytes, str]:
    if key.scheme == "DH":
        return _encode((b"countersign-drill", text)), "derive"
    if key.scheme == "EdDSA":
        return text, MESSAGE
    digest = hashlib.sha256(text).digest()
    # What a STARK key signs is below 2^251.
    return (bytes([digest[0] & 7]) + digest[1:] if key.curve == "stark" else digest), DIGEST32


def _holds(key: KeyRecord, payload: bytes, data: bytes) -> bool:
    """Check with another library than the one that signed, where there is one."""
    try:
        match key.scheme, key.curve:
            case "EdDSA", _:
                Ed25519PublicKey.from_public_bytes(key.public_key).verify(data[:64], payload)
            case "Schnorr", _:
                return PublicKeyXOnly(key.public_key[1:]).verify(data[:64], payload)
            case "ECDSA", "secp256k1":
                public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key.public_key)
                r, s = int.from_bytes(data[:32]), int.from_bytes(data[32:64])
                public.verify(utils.encode_dss_signature(r, s), payload, ec.ECDSA(utils.Prehashed(SHA256())))
            case "DH", _:
                return len(data) == 32
            case _:
                return len(data) >= 64  # the signer has verified it; no second library knows this curve
    except InvalidSignature:
        return False
    return True
