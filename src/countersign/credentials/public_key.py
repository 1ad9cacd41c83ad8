"""Public keys of credentials: which are accepted, and what a signature under them is.

Accepted are Ed25519 (RFC 8410), ECDSA on P-256, P-384, P-521 and secp256k1 with named curves (RFC 5480),
and RSA of 2048 to 8192 bits (RFC 3279). Every form in which one key or signature could be written twice
is refused, except for the text around a PEM block, compressed points and high-S signatures, which real
clients produce.
"""

from __future__ import annotations

import hashlib
import re
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from nacl import bindings as sodium

from countersign.credentials import ed25519
from countersign.credentials.outcome import Refused
from countersign.credentials.strict_der import der, ecdsa_signature

KeyKind = Literal["ed25519", "p256", "p384", "p521", "secp256k1", "rsa"]

_Native = Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_Verifier = bytes | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MAX_PEM = 4096
"""Characters; an RSA key of 8192 bits takes about 1500."""

_NOT_CANONICAL = Refused("the key is not canonical DER")
_PEM = re.compile(
    r"-----BEGIN (?P<label>(?:RSA )?PUBLIC KEY)-----(?P<body>[A-Za-z0-9+/=\r\n]+)-----END (?P=label)-----\s{0,2}",
    re.ASCII,
)
_CURVES: dict[str, tuple[KeyKind, int]] = {
    "secp256r1": ("p256", 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
    "secp384r1": (
        "p384",
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    ),
    "secp521r1": (
        "p521",
        0x1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409,
    ),
    "secp256k1": ("secp256k1", 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141),
}
_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "SHA256": hashes.SHA256(),
    "RSA-SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}
_ALGORITHMS: dict[KeyKind, frozenset[str]] = {
    "ed25519": frozenset(),
    "p256": frozenset({"SHA256", "SHA512"}),
    "secp256k1": frozenset({"SHA256", "SHA512"}),
    "p384": frozenset({"SHA256", "SHA384", "SHA512"}),
    "p521": frozenset({"SHA256", "SHA384", "SHA512"}),
    "rsa": frozenset({"SHA256", "RSA-SHA256", "SHA512"}),
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An accepted public key, made by ``load``.

    ``pem`` is the SubjectPublicKeyInfo in one normal form (LF, 64 columns, uncompressed point), so equal
    keys have equal text. ``fingerprint`` is ``SHA256:`` and the unpadded standard base64 of SHA-256 over
    its DER. ``bits`` is the size of the modulus or of the curve.
    """

    pem: str
    kind: KeyKind
    fingerprint: str
    bits: int
    _key: _Verifier = field(repr=False, compare=False)
    _order: int = field(default=0, repr=False, compare=False)

    def verify(self, signature: bytes, message: bytes, algorithm: str | None = None) -> bool:
        """Whether ``signature`` over ``message`` holds.

        Ed25519: 64 raw bytes with S below the group order. ECDSA: strict DER (X.690), ``r`` and ``s`` in
        range, high S allowed. RSA: PKCS#1 v1.5. ``algorithm`` is the digest the client names, SHA-256 if
        none (for every curve, as Node's default is): ``SHA256``, ``SHA512``, for RSA also ``RSA-SHA256``,
        for P-384 and P-521 also ``SHA384``. A name that does not fit the key fails the verification.
        """
        if algorithm is not None and algorithm not in _ALGORITHMS[self.kind]:
            return False
        key = self._key
        if isinstance(key, bytes):
            return ed25519.holds(key, message, signature)
        digest = _DIGESTS[algorithm or "SHA256"]
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, message, padding.PKCS1v15(), digest)
            else:
                if not _in_range(signature, self._order):
                    return False
                key.verify(signature, message, ec.ECDSA(digest))
        except InvalidSignature:
            return False
        return True


def load(pem: str) -> PublicKey | Refused:
    """The key of one PEM block, ``PUBLIC KEY`` or ``RSA PUBLIC KEY``.

    Any line length, CRLF, a missing final newline and the two characters ``\\n`` instead of a newline are
    accepted. Cached, because a server sees the same few keys with every signed request.
    """
    if len(pem) > MAX_PEM:
        return Refused(f"a public key in PEM has at most {MAX_PEM} characters")
    return _load(pem)


@lru_cache(maxsize=2048)
def _load(pem: str) -> PublicKey | Refused:
    block = _PEM.fullmatch(pem.replace("\\r", "").replace("\\n", "\n"))
    if block is None:
        return Refused("not one PEM block with a public key")
    base64 = block["body"].replace("\r", "").replace("\n", "").encode("ascii")
    try:
        encoded = a2b_base64(base64, strict_mode=True)
        key = load_der_public_key(encoded)
    except (ValueError, UnsupportedAlgorithm):
        return Refused("the PEM block holds no public key that can be read")
    if b2a_base64(encoded, newline=False) != base64:
        return Refused("the base64 of the PEM block is not canonical")
    pkcs1 = block["label"] == "RSA PUBLIC KEY"
    if isinstance(key, rsa.RSAPublicKey):
        return _load_rsa(key, encoded, pkcs1)
    if pkcs1:
        return Refused("an RSA PUBLIC KEY block holds another key")
    if isinstance(key, Ed25519PublicKey):
        return _load_ed25519(key, encoded)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _load_ec(key, encoded)
    return Refused("keys are Ed25519, ECDSA (P-256, P-384, P-521, secp256k1) or RSA")


def _load_ed25519(key: Ed25519PublicKey, encoded: bytes) -> PublicKey | Refused:
    raw = key.public_bytes_raw()
    # Under a point of small order one constant signature verifies for every message. Also refused here:
    # y not below the field prime, bytes that are no point, points outside the prime-order subgroup.
    if not sodium.crypto_core_ed25519_is_valid_point(raw):
        return Refused("the Ed25519 key is no point of the prime-order group")
    if encoded != _spki(key):
        return _NOT_CANONICAL
    return _accepted(key, "ed25519", 255, raw)


def _load_ec(key: ec.EllipticCurvePublicKey, encoded: bytes) -> PublicKey | Refused:
    curve = _CURVES.get(key.curve.name)
    if curve is None:
        return Refused("the curve must be P-256, P-384, P-521 or secp256k1")
    if encoded != _spki(key) and encoded != _compressed_spki(key):
        return _NOT_CANONICAL
    kind, order = curve
    return _accepted(key, kind, key.curve.key_size, key, order)


def _load_rsa(key: rsa.RSAPublicKey, encoded: bytes, pkcs1: bool) -> PublicKey | Refused:
    numbers = key.public_numbers()
    if not 2048 <= key.key_size <= 8192 or numbers.n % 2 == 0:
        return Refused("an RSA modulus is odd and has 2048 to 8192 bits")
    if not 65537 <= numbers.e < 1 << 32 or numbers.e % 2 == 0:
        return Refused("an RSA exponent is odd, at least 65537 and below 2^32")
    # A key under the RSA-PSS identifier is read as an RSA key, but does not encode to the same bytes.
    if encoded != (key.public_bytes(Encoding.DER, PublicFormat.PKCS1) if pkcs1 else _spki(key)):
        return _NOT_CANONICAL
    return _accepted(key, "rsa", key.key_size, key)


def _accepted(key: _Native, kind: KeyKind, bits: int, verifier: _Verifier, order: int = 0) -> PublicKey:
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    digest = b2a_base64(hashlib.sha256(_spki(key)).digest(), newline=False).rstrip(b"=").decode("ascii")
    return PublicKey(pem, kind, f"SHA256:{digest}", bits, verifier, order)


def _spki(key: _Native) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _compressed_spki(key: ec.EllipticCurvePublicKey) -> bytes:
    uncompressed = _spki(key)
    start = 2 if uncompressed[1] < 0x80 else 3
    algorithm = uncompressed[start : start + 2 + uncompressed[start + 1]]
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return der(0x30, algorithm + der(0x03, b"\x00" + point))


def _in_range(signature: bytes, order: int) -> bool:
    pair = ecdsa_signature(signature)
    return pair is not None and 0 < pair[0] < order and 0 < pair[1] < order
