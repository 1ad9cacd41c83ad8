"""Authenticator data (WebAuthn section 6.1): what an authenticator says beside the signature.

Read here and not by a library, because it must be exact to the last byte: every defect is refused that
would let one signature be read in two ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey, load
from countersign.encoding import base64url, cbor

MAX_AUTHENTICATOR_DATA = 4096
"""Bytes."""
MAX_CREDENTIAL_ID = 1023
"""Bytes (WebAuthn section 4)."""

_HEAD = 37
_UP, _UV, _BE, _BS, _AT, _ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
_ES256, _EDDSA, _RS256 = -7, -8, -257
ALGORITHMS = (_ES256, _RS256, _EDDSA)
"""COSE algorithms of accepted keys, in the order in which clients are asked for them."""


@dataclass(frozen=True, slots=True)
class AttestedCredential:
    """The new credential. ``credential_id`` are raw bytes, ``algorithm`` is the COSE identifier of its key."""

    aaguid: UUID
    credential_id: bytes
    public_key: PublicKey
    algorithm: int


@dataclass(frozen=True, slots=True)
class AuthenticatorData:
    """``raw`` are the bytes as signed. ``backup_eligible`` and ``backed_up`` are the flags BE and BS."""

    raw: bytes
    rp_id_hash: bytes
    user_present: bool
    user_verified: bool
    backup_eligible: bool
    backed_up: bool
    sign_count: int
    attested: AttestedCredential | None


def decode_authenticator_data(text: str, max_bytes: int) -> AuthenticatorData | Refused:
    """Read authenticator data in base64 text (either alphabet, padding optional)."""
    try:
        raw = base64url.decode_tolerant(text)
    except ValueError:
        return Refused("authenticatorData is not base64url")
    if len(raw) > max_bytes:
        return Refused(f"authenticatorData is longer than {max_bytes} bytes")
    return parse_authenticator_data(raw)


def parse_authenticator_data(raw: bytes) -> AuthenticatorData | Refused:
    """Read the bytes: 37 of fixed meaning, a new credential if AT, extensions if ED, and nothing behind.

    Never raises for bad input.
    """
    if len(raw) < _HEAD:
        return Refused(f"authenticatorData is shorter than {_HEAD} bytes")
    flags, at = raw[32], _HEAD
    if flags & _BS and not flags & _BE:
        return Refused("authenticatorData: a backed up credential (BS) that is not eligible for it (BE)")
    attested = None
    try:
        if flags & _AT:
            read = _attested(raw)
            if isinstance(read, Refused):
                return read
            attested, at = read
        if flags & _ED:
            extensions, at = cbor.decode_item(raw, at)
            if not isinstance(extensions, dict) or not all(isinstance(name, str) for name in extensions):
                return Refused("authenticatorData: the extensions are no map of names")
    except cbor.BadCbor as error:
        return Refused(f"authenticatorData: {error.reason}")
    if at != len(raw):
        return Refused("authenticatorData: trailing bytes")
    return AuthenticatorData(
        raw,
        raw[:32],
        bool(flags & _UP),
        bool(flags & _UV),
        bool(flags & _BE),
        bool(flags & _BS),
        int.from_bytes(raw[33:_HEAD], "big"),
        attested,
    )


def refuse_authenticator(
    data: AuthenticatorData, rp_id_hash: bytes, *, require_user_verification: bool
) -> Refused | None:
    """Why the authenticator did not do what a ceremony of this relying party needs; ``None`` if it did."""
    if data.rp_id_hash != rp_id_hash:
        return Refused("authenticatorData: rpIdHash is that of another relying party", "relyingParty")
    if not data.user_present:
        return Refused("authenticatorData: the user was not present (UP)")
    if require_user_verification and not data.user_verified:
        return Refused("authenticatorData: the user was not verified (UV)", "userVerification")
    return None


def _attested(raw: bytes) -> tuple[AttestedCredential, int] | Refused:
    start = _HEAD + 18
    if len(raw) < start:
        return Refused("authenticatorData: the attested credential is cut off")
    size = int.from_bytes(raw[start - 2 : start], "big")
    if not 0 < size <= MAX_CREDENTIAL_ID or len(raw) < start + size:
        return Refused("authenticatorData: the credential id is empty, too long or cut off")
    key, end = cbor.decode_item(raw, start + size)
    loaded = load_cose_key(key)
    if isinstance(loaded, Refused):
        return loaded
    public_key, algorithm = loaded
    aaguid = UUID(bytes=raw[_HEAD : _HEAD + 16])
    return AttestedCredential(aaguid, raw[start : start + size], public_key, algorithm), end


def load_cose_key(key: cbor.Value) -> tuple[PublicKey, int] | Refused:
    """A decoded COSE key (RFC 9052 section 7, RFC 9053 section 7.1, RFC 8230 section 4) and its algorithm.

    ES256 on P-256 with an uncompressed point, RS256, EdDSA on Ed25519, with exactly the parameters that
    WebAuthn section 6.5.1.1 wants; the key itself must be one that ``public_key.load`` accepts.
    """
    # In Python true equals 1.
    if not isinstance(key, dict) or any(isinstance(value, bool) for value in key.values()):
        return Refused("the COSE key is no map of numbers and bytes")
    native: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | Ed25519PublicKey | None
    algorithm, size = key.get(3), len(key)
    match key:
        case {1: 2, -1: 1, -2: bytes(x), -3: bytes(y)} if algorithm == _ES256 and size == 5:
            native = _p256(x, y)
        case {1: 1, -1: 6, -2: bytes(x)} if algorithm == _EDDSA and size == 4:
            native = Ed25519PublicKey.from_public_bytes(x) if len(x) == 32 else None
        case {1: 3, -1: bytes(n), -2: bytes(e)} if algorithm == _RS256 and size == 4:
            native = _rsa(n, e)
        case _:
            return Refused("the COSE key is not ES256 on P-256, RS256 or EdDSA on Ed25519")
    if native is None:
        return Refused("the numbers of the COSE key are no public key")
    pem = native.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    public_key = load(pem)
    return public_key if isinstance(public_key, Refused) else (public_key, algorithm)


def _p256(x: bytes, y: bytes) -> ec.EllipticCurvePublicKey | None:
    if len(x) != 32 or len(y) != 32:
        return None
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
    except ValueError:
        return None


def _rsa(n: bytes, e: bytes) -> rsa.RSAPublicKey | None:
    # One encoding for each number; the sizes are checked before any arithmetic with them.
    if not 256 <= len(n) <= 1024 or not 3 <= len(e) <= 4 or 0 in (n[0], e[0]):
        return None
    try:
        return rsa.RSAPublicNumbers(int.from_bytes(e, "big"), int.from_bytes(n, "big")).public_key()
    except ValueError:
        return None
