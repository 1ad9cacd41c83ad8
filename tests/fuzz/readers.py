"""Second readers of what the server reads, written for the tests alone, on other libraries where there are any.

They say what a message means, so that one which was accepted can be held against the one it was made from. Where
the server is stricter than they are, that is no matter here. Each raises ``ValueError`` for what it cannot read.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Hashable
from decimal import Decimal
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}", re.ASCII)
ORDERS = {
    "p256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    "p384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}


def read64(text: str) -> bytes:
    """Base64 in either alphabet, padded or not."""
    if not _BASE64.fullmatch(text):
        raise ValueError("not base64")
    bare = text.rstrip("=").replace("+", "-").replace("/", "_")
    return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))


def read_json(data: bytes | str) -> Any:
    """JSON without a member that occurs twice; numbers are exact."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a member occurs twice")
        return dict(pairs)

    text = data.decode("utf-8") if isinstance(data, bytes) else data
    return json.loads(text, object_pairs_hook=members, parse_float=Decimal, parse_int=Decimal)


def value_of(item: Any) -> Hashable:
    """A JSON or CBOR value to compare: 1 is 1.0 and not true, the order of members does not matter."""
    if isinstance(item, dict):
        return "map", frozenset((value_of(name), value_of(member)) for name, member in item.items())
    if isinstance(item, list):
        return "list", tuple(value_of(member) for member in item)
    if isinstance(item, bool) or item is None:
        return "constant", item
    if isinstance(item, int | Decimal):
        return "number", item
    if isinstance(item, str | bytes):
        return type(item).__name__, item
    raise ValueError(f"a value of type {type(item).__name__}")


def read_object(
    data: bytes | str, *, needed: set[str], optional: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    """A JSON object with these members and no others. A member that is null counts as absent if it may be."""
    return only(read_json(data), needed=needed, optional=optional)


def only(found: Any, *, needed: set[str], optional: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """The same for an object inside another."""
    if not isinstance(found, dict) or not needed <= found.keys() <= needed | optional:
        raise ValueError("other members")
    return {name: member for name, member in found.items() if member is not None or name in needed}


def read_cbor(data: bytes) -> Any:
    """The one CBOR item that fills the data."""
    found, rest = _item(data)
    if rest:
        raise ValueError("bytes behind the item")
    return found


def signature_of(kind: str, raw: bytes) -> Hashable:
    """A signature up to the twin that anyone can make of it: s or order - s of ECDSA."""
    if kind not in ORDERS:
        return raw
    r, s = decode_dss_signature(raw)
    return r, min(s, ORDERS[kind] - s)


def fingerprint_of(key: Any) -> str:
    """Of a public key: ``SHA256:`` and base64 of SHA-256 over its SubjectPublicKeyInfo."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + base64.b64encode(hashlib.sha256(spki).digest()).decode().rstrip("=")


def cose_fingerprint(key: Any) -> str:
    """Of a decoded COSE key."""
    try:
        match key[1], key[3]:
            case 2, -7:
                point = b"\x04" + key[-2] + key[-3]
                return fingerprint_of(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
            case 1, -8:
                return fingerprint_of(Ed25519PublicKey.from_public_bytes(key[-2]))
            case 3, -257:
                numbers = rsa.RSAPublicNumbers(int.from_bytes(key[-2], "big"), int.from_bytes(key[-1], "big"))
                return fingerprint_of(numbers.public_key())
    except (KeyError, TypeError) as error:
        raise ValueError(f"no COSE key: {error}") from None
    raise ValueError("a COSE key of another kind")


def client_data_of(raw: bytes, type_: str) -> dict[str, Any]:
    """Client data of this type, whose challenge is a text; what is not known in it is ignored."""
    found = read_json(raw)
    if not isinstance(found, dict) or found.get("type") != type_ or not isinstance(found.get("challenge"), str):
        raise ValueError("no client data of this type")
    return found


def answers(client_data: dict[str, Any], challenge: str) -> bool:
    """Whether it names this challenge, as it stands or encoded once more."""
    twice = base64.urlsafe_b64encode(challenge.encode()).decode().rstrip("=")
    return client_data["challenge"] in (challenge, twice)


class AuthenticatorData:
    """The fields of WebAuthn section 6.1, with nothing behind them."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) < 37:
            raise ValueError("too short")
        self.raw = raw
        self.rp_id_hash, flags, self.counter = raw[:32], raw[32], int.from_bytes(raw[33:37], "big")
        self.present, self.verified, self.eligible, self.backed_up = (bool(flags & bit) for bit in (1, 4, 8, 16))
        self.aaguid, self.credential_id, self.fingerprint = b"", b"", ""
        rest = raw[37:]
        if self.backed_up and not self.eligible:
            raise ValueError("backed up and not eligible")
        self.attests = bool(flags & 0x40)
        if self.attests:
            size = int.from_bytes(rest[16:18], "big")
            self.aaguid, self.credential_id = rest[:16], rest[18 : 18 + size]
            key, rest = _item(rest[18 + size :])
            self.fingerprint = cose_fingerprint(key)
        if flags & 0x80:
            extensions, rest = _item(rest)
            if not isinstance(extensions, dict):
                raise ValueError("extensions are no map")
        if rest:
            raise ValueError("trailing bytes")


def _item(data: bytes) -> tuple[Any, bytes]:
    stream = io.BytesIO(data)
    try:
        found = cbor2.CBORDecoder(stream, allow_duplicate_keys=False).decode()
    except Exception as error:
        # The library has errors of its own for each defect.
        raise ValueError(f"not CBOR: {error}") from None
    return found, stream.read()
