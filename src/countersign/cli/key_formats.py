"""Forms in which others keep private keys, and what the customer's side of import and export makes of them. Pure.

A key is a scalar on a curve here. What a form cannot hold is refused with the reason, never forced into it. The
libraries of the extra ``convert`` are loaded only where a form needs them.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import json
import re
import sys
import unicodedata
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Final

import msgspec
import pyrage
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from countersign.keystores.protocol import MALFORMED
from countersign.keystores.share_points import canonical, public_share
from countersign.keystores.sharing import ORDERS

SECP256K1_ORDER: Final = ORDERS["secp256k1"]
_AGE_FORMAT: Final = "countersign-key/1"
_MAINNET, _TESTNET = 0x80, 0xEF
_LIBRARIES: Final = {"ethereum": "eth_keyfile", "wif": "base58"}
_HARDENED: Final = 1 << 31
_STEP: Final = re.compile(r"([0-9]{1,10})(['hH]?)", re.ASCII)


class Unusable(Exception):
    """Not a key in this form, or none that this form can hold; the text is for whoever runs the command."""


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A private key. ``scalar`` is above zero and below the order of ``curve``; ``chain_code`` (32 bytes) of a master.

    ``scheme`` where the form says it.
    """

    curve: str
    scalar: int = field(repr=False)
    scheme: str | None = None
    chain_code: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.scalar < ORDERS[self.curve]:
            raise Unusable(f"the private key is out of range for {self.curve}")

    @property
    def public_key(self) -> bytes:
        """SEC1 compressed (33 bytes), or 32 bytes for ed25519."""
        return canonical(self.curve, public_share(self.curve, self.scalar))


class _KeyFile(msgspec.Struct, frozen=True, rename="camel"):
    format: str
    curve: str
    scheme: str | None
    public_key: str
    scalar: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]


_decode_file = msgspec.json.Decoder(_KeyFile).decode


def check_form(form: str, curve: str) -> None:
    """Raises ``Unusable`` when this form can't hold a key on this curve, or its library is missing."""
    if form == "pkcs8" and curve == "ed25519":
        raise Unusable(
            "PKCS#8 holds the seed of an Ed25519 key (RFC 8410), and an exported key is a scalar that no seed is known "
            "of; use the format age"
        )
    if form != "age" and curve != "secp256k1":
        raise Unusable(f"the format {form} holds keys on secp256k1, this one is on {curve}; use the format age")
    if form in _LIBRARIES:
        _convert(_LIBRARIES[form])


def to_age(key: HeldKey, passphrase: str) -> bytes:
    """A file of our own: JSON with curve, scheme and scalar, encrypted with age under a passphrase."""
    scalar = key.scalar.to_bytes(32, "big").hex()
    content = _KeyFile(_AGE_FORMAT, key.curve, key.scheme, key.public_key.hex(), scalar)
    sealed: bytes = pyrage.passphrase.encrypt(msgspec.json.encode(content), _required(passphrase))
    return sealed


def from_age(data: bytes, passphrase: str) -> HeldKey:
    """Inverse of :func:`to_age`; the scalar belongs to the public key beside it."""
    try:
        content = _decode_file(pyrage.passphrase.decrypt(data, _required(passphrase)))
    except (pyrage.DecryptError, *MALFORMED):
        raise Unusable("the file does not open: it is no key file, was changed, or the passphrase is another") from None
    if content.format != _AGE_FORMAT or content.curve not in ORDERS:
        raise Unusable("the file holds a key in a form that this program does not know")
    key = HeldKey(content.curve, int(content.scalar, 16), content.scheme)
    if key.public_key.hex() != content.public_key:
        raise Unusable("the file contradicts itself: its private key has another public key")
    return key


def to_pkcs8(key: HeldKey, passphrase: str) -> bytes:
    """PKCS#8 PEM, encrypted unless the passphrase is empty."""
    check_form("pkcs8", key.curve)
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return derive_private_key(key.scalar, SECP256K1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def from_pkcs8(data: bytes, passphrase: str) -> HeldKey:
    """A secp256k1 or Ed25519 key out of a PEM file; an Ed25519 seed becomes its scalar, and does not travel itself."""
    try:
        key = load_pem_private_key(data, passphrase.encode() or None)
    except (ValueError, TypeError) as error:
        raise Unusable(f"the file does not open: {error}") from None
    if isinstance(key, Ed25519PrivateKey):
        seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return HeldKey("ed25519", _scalar_of_seed(seed), "EdDSA")
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256K1):
        return HeldKey("secp256k1", key.private_numbers().private_value)
    raise Unusable("the file holds a key of another kind than secp256k1 and Ed25519")


def to_ethereum(key: HeldKey, passphrase: str) -> bytes:
    """Web3 secret storage, version 3, with scrypt."""
    check_form("ethereum", key.curve)
    keyfile = _convert("eth_keyfile")
    secret = key.scalar.to_bytes(32, "big")
    made = keyfile.create_keyfile_json(secret, _required(passphrase).encode(), version=3, kdf="scrypt")
    return json.dumps(made, indent=2).encode()


def from_ethereum(data: bytes, passphrase: str) -> HeldKey:
    """A key out of Web3 secret storage, version 3."""
    keyfile = _convert("eth_keyfile")
    try:
        secret = keyfile.decode_keyfile_json(json.loads(data), passphrase.encode())
    except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError, RecursionError) as error:
        raise Unusable(f"the keystore does not open: {error}") from None
    if len(secret) != 32:
        raise Unusable("the keystore holds no key of 32 bytes")
    return HeldKey("secp256k1", int.from_bytes(secret, "big"))


def to_wif(key: HeldKey, *, testnet: bool = False) -> bytes:
    """Bitcoin's wallet import format for a compressed public key. It is the key in plain."""
    check_form("wif", key.curve)
    version = _TESTNET if testnet else _MAINNET
    encoded: bytes = _convert("base58").b58encode_check(bytes((version,)) + key.scalar.to_bytes(32, "big") + b"\1")
    return encoded + b"\n"


def from_wif(data: bytes) -> HeldKey:
    """A key out of its wallet import format, of either network, for a compressed public key or not."""
    try:
        raw: bytes = _convert("base58").b58decode_check(data.strip())
    except ValueError:
        raise Unusable("not in wallet import format, or with a mistyped character") from None
    if raw[:1] not in (bytes((_MAINNET,)), bytes((_TESTNET,))) or not (
        len(raw) == 33 or (len(raw) == 34 and raw[33] == 1)
    ):
        raise Unusable("not the wallet import format of Bitcoin")
    return HeldKey("secp256k1", int.from_bytes(raw[1:33], "big"))


def from_mnemonic(phrase: str, passphrase: str, path: str, curve: str) -> HeldKey:
    """The key at ``path`` below a BIP-39 phrase (English): BIP-32 on secp256k1, SLIP-10 on ed25519.

    On secp256k1 it comes with its chain code.
    """
    words = " ".join(unicodedata.normalize("NFKD", phrase).lower().split())
    module = _convert("mnemonic")
    if not module.Mnemonic("english").check(words):
        raise Unusable("not a BIP-39 phrase: a word is not of the English list, or the checksum is wrong")
    seed: bytes = module.Mnemonic.to_seed(words, passphrase)
    steps = _steps(path)
    if curve == "ed25519":
        return HeldKey("ed25519", _scalar_of_seed(_slip10_ed25519(seed, steps)), "EdDSA")
    if curve != "secp256k1":
        raise Unusable(f"phrases have no keys on {curve} here")
    scalar, chain_code = _bip32(seed, steps)
    return HeldKey("secp256k1", scalar, chain_code=chain_code)


def _steps(path: str) -> list[int]:
    """Indices of a path such as ``m/44'/60'/0'/0/0``; a hardened one (``'``, ``h``) is 2^31 or more."""
    first, *rest = path.split("/")
    steps = []
    for step in rest:
        found = _STEP.fullmatch(step)
        if found is None or int(found[1]) >= _HARDENED:
            raise Unusable(f"{path!r} is no derivation path such as m/44'/60'/0'/0/0")
        steps.append(int(found[1]) + (_HARDENED if found[2] else 0))
    if first != "m":
        raise Unusable(f"{path!r} is no derivation path such as m/44'/60'/0'/0/0")
    return steps


def _bip32(seed: bytes, steps: list[int]) -> tuple[int, bytes]:
    """Private key and chain code (BIP-32, private parent to private child)."""
    node = hmac.digest(b"Bitcoin seed", seed, "sha512")
    scalar, chain_code = int.from_bytes(node[:32], "big"), node[32:]
    for step in steps:
        if step >= _HARDENED:
            parent = b"\0" + scalar.to_bytes(32, "big")
        else:
            parent = canonical("secp256k1", public_share("secp256k1", scalar))
        node = hmac.digest(chain_code, parent + step.to_bytes(4, "big"), "sha512")
        shift = int.from_bytes(node[:32], "big")
        scalar, chain_code = (scalar + shift) % SECP256K1_ORDER, node[32:]
        if shift >= SECP256K1_ORDER or scalar == 0:
            raise Unusable("this path leads to no key (one in 2^127 does not); use the next index")
    return scalar, chain_code


def _slip10_ed25519(seed: bytes, steps: list[int]) -> bytes:
    """The seed of the key (SLIP-10, which has hardened steps only on ed25519)."""
    node = hmac.digest(b"ed25519 seed", seed, "sha512")
    for step in steps:
        if step < _HARDENED:
            raise Unusable("on ed25519 every step of the path is hardened, such as m/44'/501'/0'")
        node = hmac.digest(node[32:], b"\0" + node[:32] + step.to_bytes(4, "big"), "sha512")
    return node[:32]


def _scalar_of_seed(seed: bytes) -> int:
    """RFC 8032 section 5.1.5: the clamped lower half of SHA-512, modulo the group order."""
    half = bytearray(hashlib.sha512(seed).digest()[:32])
    half[0] &= 248
    half[31] = half[31] & 127 | 64
    return int.from_bytes(half, "little") % ORDERS["ed25519"]


def _required(passphrase: str) -> str:
    if not passphrase:
        raise Unusable("this format needs a passphrase")
    return passphrase


def _convert(module: str) -> ModuleType:
    limit = sys.getrecursionlimit()
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Unusable("this format needs the extra: pip install 'countersign[convert]'") from None
    finally:
        # py_ecc, which eth_keyfile imports, raises the limit so far that JSON nested deeply overflows the stack.
        sys.setrecursionlimit(limit)
