import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey, load
from countersign.credentials.strict_der import der, integer_size
from countersign.encoding import base64url
from tests.support.vectors import auth_vectors, named

_REFUSED = auth_vectors()["refused_public_keys"]
_CURVES: dict[str, tuple[ec.EllipticCurve, int]] = {
    "p256": (ec.SECP256R1(), int("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)),
    "p384": (
        ec.SECP384R1(),
        int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16),
    ),
    "p521": (
        ec.SECP521R1(),
        int("01ff" + "ff" * 31 + "fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409", 16),
    ),
    "secp256k1": (ec.SECP256K1(), int("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)),
}
_MESSAGE = b"what was signed"
_ED25519_ORDER = (1 << 252) + 27742317777372353535851937790883648493


def _loaded(key: PublicKeyTypes) -> PublicKey:
    outcome = load(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    assert isinstance(outcome, PublicKey)
    return outcome


def _pem(encoded: bytes, label: str = "PUBLIC KEY") -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(encoded).decode()}\n-----END {label}-----\n"


def _rsa_key() -> rsa.RSAPrivateKey:
    key = load_pem_private_key(auth_vectors()["keys"]["rsa2048"]["private_pkcs8_pem"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@pytest.mark.parametrize("case", **named(auth_vectors()["accepted_public_keys"]))
def test_every_form_of_pem_that_clients_send_is_accepted(case: dict[str, Any]) -> None:
    key = load(case["pem"])
    assert isinstance(key, PublicKey)
    assert key.fingerprint == case["fingerprint"]
    assert load(key.pem) == key


@pytest.mark.parametrize("case", **named(_REFUSED["cases"]))
def test_refused_public_keys(case: dict[str, Any]) -> None:
    assert isinstance(load(case["pem"]), Refused)


def test_a_key_under_which_one_signature_holds_for_every_message_is_refused() -> None:
    forgery = _REFUSED["low_order_forgery"]
    signature = base64url.decode(forgery["signature_b64url"])
    careless = load_pem_public_key(forgery["pem"].encode())
    assert isinstance(careless, Ed25519PublicKey)
    for message in forgery["verifies_for"]:
        careless.verify(signature, message.encode())
    assert isinstance(load(forgery["pem"]), Refused)


def test_an_ed25519_key_with_a_component_of_small_order_is_refused() -> None:
    good = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    prefix = good.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)[:-32]
    raw = bytearray(good.public_bytes_raw())
    # (x, y) -> (-x, -y) adds the point of order two.
    y = ((1 << 255) - 19) - (int.from_bytes(raw, "little") & ~(1 << 255))
    mixed = (y | (~(raw[31] >> 7) & 1) << 255).to_bytes(32, "little")
    assert isinstance(load(_pem(prefix + bytes(raw))), PublicKey)
    assert isinstance(load(_pem(prefix + mixed)), Refused)


@pytest.mark.parametrize("name", _CURVES)
def test_a_compressed_point_is_the_same_key(name: str) -> None:
    public = ec.derive_private_key(7, _CURVES[name][0]).public_key()
    normal = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    compressed = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    uncompressed = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    algorithm = normal[normal.index(b"\x30", 1) : -len(der(0x03, b"\x00" + uncompressed))]
    key = load(_pem(der(0x30, algorithm + der(0x03, b"\x00" + compressed))))
    assert isinstance(key, PublicKey)
    assert key == _loaded(public)
    assert key.kind == name
    hybrid = bytes((6 | uncompressed[-1] & 1,)) + uncompressed[1:]
    for point in (hybrid, b"\x00", compressed + b"\x00"):
        assert isinstance(load(_pem(der(0x30, algorithm + der(0x03, b"\x00" + point)))), Refused)


@pytest.mark.parametrize(
    "change",
    [
        lambda der_bytes: der_bytes + b"\x00",
        lambda der_bytes: der_bytes[:-1],
        lambda der_bytes: b"\x30\x81" + der_bytes[1:],
        lambda der_bytes: der_bytes.replace(bytes.fromhex("06032b6570"), bytes.fromhex("06032b65700500")),
    ],
)
def test_a_key_in_another_encoding_than_der_is_refused(change: Callable[[bytes], bytes]) -> None:
    encoded = (
        Ed25519PrivateKey.from_private_bytes(bytes(32))
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    assert isinstance(load(_pem(encoded)), PublicKey)
    assert isinstance(load(_pem(change(encoded))), Refused)


def test_an_rsa_key_under_the_pss_identifier_or_the_wrong_label_is_refused() -> None:
    public = _rsa_key().public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pkcs1 = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    assert isinstance(load(_pem(pkcs1, "RSA PUBLIC KEY")), PublicKey)
    pss = der(0x30, bytes.fromhex("300b06092a864886f70d01010a") + der(0x03, b"\x00" + pkcs1))
    no_null = der(0x30, bytes.fromhex("300b06092a864886f70d010101") + der(0x03, b"\x00" + pkcs1))
    for text in (_pem(pss), _pem(no_null), _pem(pkcs1), _pem(spki, "RSA PUBLIC KEY")):
        assert isinstance(load(text), Refused)


@pytest.mark.parametrize("e", [3, 65535, 65538, (1 << 32) + 1])
def test_an_rsa_exponent_out_of_range_is_refused(e: int) -> None:
    n = _rsa_key().public_key().public_numbers().n
    pkcs1 = der(0x30, b"".join(der(0x02, v.to_bytes(integer_size(v), "big")) for v in (n, e)))
    assert isinstance(load(_pem(pkcs1, "RSA PUBLIC KEY")), Refused)


@pytest.mark.parametrize("bits", [1024, 2047, 8193])
def test_an_rsa_modulus_of_the_wrong_size_is_refused(bits: int) -> None:
    n = (1 << (bits - 1)) + 1
    pkcs1 = der(0x30, b"".join(der(0x02, v.to_bytes(integer_size(v), "big")) for v in (n, 65537)))
    assert isinstance(load(_pem(pkcs1, "RSA PUBLIC KEY")), Refused)


def _ecdsa(r: int, s: int) -> bytes:
    return der(0x30, b"".join(der(0x02, v.to_bytes(integer_size(v), "big", signed=True)) for v in (r, s)))


def _signature_whose_r_needs_a_sign_byte(private: ec.EllipticCurvePrivateKey) -> tuple[bytes, int, int]:
    while True:
        signature = private.sign(_MESSAGE, ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        if r.bit_length() % 8 == 0:
            return signature, r, s


@pytest.mark.parametrize("name", _CURVES)
def test_a7_ecdsa_signatures_are_strict_der_in_range(name: str) -> None:
    curve, n = _CURVES[name]
    private = ec.derive_private_key(0x1234567, curve)
    key = _loaded(private.public_key())
    signature, r, s = _signature_whose_r_needs_a_sign_byte(private)
    low, high = min(s, n - s), max(s, n - s)
    assert key.verify(signature, _MESSAGE)
    assert key.verify(_ecdsa(r, low), _MESSAGE)
    assert key.verify(_ecdsa(r, high), _MESSAGE)
    size = (n.bit_length() + 7) // 8
    element_r, element_s = (der(0x02, v.to_bytes(integer_size(v), "big")) for v in (r, s))
    padded_r = der(0x02, b"\x00" + element_r[2:])
    unsigned_r = der(0x02, r.to_bytes(r.bit_length() // 8, "big"))
    body = element_r + element_s
    refused = {
        "zero r": _ecdsa(0, s),
        "zero s": _ecdsa(r, 0),
        "both zero": _ecdsa(0, 0),
        "both one": _ecdsa(1, 1),
        "negative r": _ecdsa(-r, s),
        "negative s": _ecdsa(r, -s),
        "r + n": _ecdsa(r + n, s),
        "s + n": _ecdsa(r, s + n),
        "r = n": _ecdsa(n, s),
        "s = n": _ecdsa(r, n),
        "r - n": _ecdsa(r - n, s),
        "s - n": _ecdsa(r, s - n),
        "swapped": _ecdsa(s, r),
        "s + 1": _ecdsa(r, s + 1),
        "padded integer": der(0x30, padded_r + element_s),
        "integer without its sign byte": der(0x30, unsigned_r + element_s),
        "trailing byte": signature + b"\x00",
        "trailing byte inside": der(0x30, body + b"\x00"),
        "null inside": der(0x30, body + b"\x05\x00"),
        "long form of the length": b"\x30\x82" + len(body).to_bytes(2, "big") + body,
        "long form inside": der(0x30, element_r[:1] + b"\x81" + element_r[1:] + element_s),
        "indefinite length": b"\x30\x80" + body + b"\x00\x00",
        "length too small": signature[:1] + bytes((signature[1] - 1,)) + signature[2:],
        "length too large": signature[:1] + bytes((signature[1] + 1,)) + signature[2:],
        "set instead of sequence": b"\x31" + signature[1:],
        "octet string": der(0x30, b"\x04" + element_r[1:] + element_s),
        "one integer": der(0x30, element_r),
        "three integers": der(0x30, body + element_s),
        "raw r and s": r.to_bytes(size, "big") + s.to_bytes(size, "big"),
        "truncated": signature[:-1],
        "empty": b"",
    }
    for what, forged in refused.items():
        assert not key.verify(forged, _MESSAGE), what
    assert not key.verify(signature, _MESSAGE + b".")


@pytest.mark.parametrize("name", _CURVES)
def test_a7_the_digest_is_sha256_unless_named_and_must_fit_the_curve(name: str) -> None:
    private = ec.derive_private_key(99, _CURVES[name][0])
    key = _loaded(private.public_key())
    digests: dict[str, hashes.HashAlgorithm] = {
        "SHA256": hashes.SHA256(),
        "SHA384": hashes.SHA384(),
        "SHA512": hashes.SHA512(),
        "RSA-SHA256": hashes.SHA256(),
        "SHA1": hashes.SHA1(),
        "none": hashes.SHA256(),
        "": hashes.SHA256(),
    }
    allowed = {"SHA256", "SHA512"} | ({"SHA384"} if name in {"p384", "p521"} else set())
    for algorithm, digest in digests.items():
        signature = private.sign(_MESSAGE, ec.ECDSA(digest))
        assert key.verify(signature, _MESSAGE, algorithm) == (algorithm in allowed)
        assert key.verify(signature, _MESSAGE) == isinstance(digest, hashes.SHA256)


def test_a7_ed25519_signatures_are_64_canonical_bytes() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    key = _loaded(private.public_key())
    signature = private.sign(_MESSAGE)
    s = int.from_bytes(signature[32:], "little")
    assert key.verify(signature, _MESSAGE)
    assert not key.verify(signature, _MESSAGE + b".")
    for forged in (
        b"",
        signature[:-1],
        signature + b"\x00",
        signature[32:] + signature[:32],
        signature[:32] + (s + _ED25519_ORDER).to_bytes(32, "little"),
        signature[:32] + (s + 8 * _ED25519_ORDER).to_bytes(32, "little"),
        signature[:32] + bytes(32),
        bytes(64),
        b"\x01" + bytes(63),
        (1).to_bytes(32, "little") + signature[32:],
        der(0x04, signature),
        der(0x30, der(0x02, b"\x00" + signature[:32]) + der(0x02, b"\x00" + signature[32:])),
        signature.hex().encode(),
    ):
        assert not key.verify(forged, _MESSAGE)
    for algorithm in ("SHA256", "SHA512", "EdDSA", "none", ""):
        assert not key.verify(signature, _MESSAGE, algorithm)


def _raw_rsa(private: rsa.RSAPrivateKey, encoded: bytes) -> bytes:
    numbers = private.private_numbers()
    size = private.key_size // 8
    return pow(int.from_bytes(encoded, "big"), numbers.d, numbers.public_numbers.n).to_bytes(size, "big")


def test_a7_rsa_signatures_are_exact_pkcs1_v15() -> None:
    private = _rsa_key()
    key = _loaded(private.public_key())
    size = private.key_size // 8
    digest = hashlib.sha256(_MESSAGE).digest()
    info = bytes.fromhex("3031300d060960864801650304020105000420") + digest

    def padded(content: bytes, filler: bytes = b"\xff", head: bytes = b"\x00\x01") -> bytes:
        return head + filler * (size - len(head) - 1 - len(content)) + b"\x00" + content

    good = _raw_rsa(private, padded(info))
    assert good == private.sign(_MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    assert key.verify(good, _MESSAGE)
    assert key.verify(good, _MESSAGE, "RSA-SHA256")
    assert not key.verify(good, _MESSAGE, "SHA512")
    assert not key.verify(good, _MESSAGE, "SHA384")
    assert key.verify(private.sign(_MESSAGE, padding.PKCS1v15(), hashes.SHA512()), _MESSAGE, "SHA512")
    n = private.private_numbers().public_numbers.n
    sha512_info = bytes.fromhex("3031300d060960864801650304020305000420") + digest
    without_null = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + digest
    long_form = bytes.fromhex("308131300d060960864801650304020105000420") + digest
    refused = {
        "the OID of another digest": _raw_rsa(private, padded(sha512_info)),
        "no parameters": _raw_rsa(private, padded(without_null)),
        "long-form length": _raw_rsa(private, padded(long_form)),
        "digest without its OID": _raw_rsa(private, padded(digest)),
        "block type 2": _raw_rsa(private, padded(info, head=b"\x00\x02")),
        "block type 0": _raw_rsa(private, padded(info, filler=b"\x00", head=b"\x00\x00")),
        "another filler": _raw_rsa(private, padded(info, filler=b"\xfe")),
        "garbage behind the digest": _raw_rsa(
            private, b"\x00\x01" + b"\xff" * 8 + b"\x00" + info + bytes(size - 11 - len(info))
        ),
        "garbage inside": _raw_rsa(private, padded(info + b"\x00" * 16)),
        "signature + n": (int.from_bytes(good, "big") + n).to_bytes(size + 1, "big"),
        "leading zero": b"\x00" + good,
        "trailing zero": good + b"\x00",
        "truncated": good[:-1],
        "zero": bytes(size),
        "one": bytes(size - 1) + b"\x01",
        "empty": b"",
        "PSS": private.sign(_MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
        "SHA-1": private.sign(_MESSAGE, padding.PKCS1v15(), hashes.SHA1()),
        "another message": private.sign(_MESSAGE + b".", padding.PKCS1v15(), hashes.SHA256()),
    }
    for what, forged in refused.items():
        assert not key.verify(forged, _MESSAGE), what


def test_a7_a_signature_holds_under_its_own_type_of_key_only() -> None:
    edwards = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    curves = {name: ec.derive_private_key(5, curve) for name, (curve, _) in _CURVES.items()}
    keys = {
        "ed25519": _loaded(edwards.public_key()),
        "rsa": _loaded(_rsa_key().public_key()),
        **{name: _loaded(private.public_key()) for name, private in curves.items()},
    }
    signatures = {
        "ed25519": edwards.sign(_MESSAGE),
        "rsa": _rsa_key().sign(_MESSAGE, padding.PKCS1v15(), hashes.SHA256()),
        **{name: private.sign(_MESSAGE, ec.ECDSA(hashes.SHA256())) for name, private in curves.items()},
    }
    for kind, key in keys.items():
        assert key.kind == kind
        for made_by, signature in signatures.items():
            assert key.verify(signature, _MESSAGE) == (kind == made_by)


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet="-BEGIN PUBLCKYRSA\n\r\\n=+/abQ", max_size=120) | st.binary(max_size=60).map(_pem))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    assert isinstance(load(text), PublicKey | Refused)
