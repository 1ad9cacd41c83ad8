"""What a key store can do with each scheme: make a key, recompute its public key, sign and check what it signed.

Everything works on the secret in the locked page and leaves wiping to the caller. ``kind`` is the kind of secret that
lies there: a scheme has one for new keys, one for keys that were given as a scalar, and one for master keys.

Rules: ECDSA takes exactly 32 bytes that are already hashed; its signatures are low-S with a recovery id. EdDSA takes
the whole message. Schnorr (BIP340) takes 32 bytes and an optional taproot tweak; its keys have an even y, so the secret
is negated where needed. The STARK curve signs numbers below 2**251 only. A DH key signs nothing: it gives outputs
(``derive_output``). Every signature is verified against the stored public key before it leaves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from countersign.keystores import ed25519_scalar, native, stark
from countersign.keystores import secret_kinds as kinds
from countersign.keystores.hash_to_curve import hash_to_curve
from countersign.keystores.memory import LockedPage, fill_random
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import DIGEST32, MAX_MESSAGE, MESSAGE, Buffer


@dataclass(frozen=True, slots=True)
class Scheme:
    """A supported pair and what it keeps and signs.

    ``secret_kind`` is that of a generated key, ``scalar_kind`` that of an imported or derived one, ``master_kind`` that
    of a master key (None: no master keys). ``payload_kind`` is None for keys that sign nothing.
    """

    name: str
    curve: str
    secret_kind: str
    scalar_kind: str
    master_kind: str | None
    payload_kind: str | None


_SECP256K1: Final = (kinds.SECP256K1_SCALAR, kinds.SECP256K1_SCALAR)

SCHEMES: Final = {
    (scheme.name, scheme.curve): scheme
    for scheme in (
        Scheme("ECDSA", "secp256k1", *_SECP256K1, kinds.HD_SECP256K1, DIGEST32),
        Scheme("ECDSA", "stark", kinds.STARK_SCALAR, kinds.STARK_SCALAR, kinds.HD_STARK, DIGEST32),
        Scheme("EdDSA", "ed25519", kinds.ED25519_SEED, kinds.ED25519_SCALAR, kinds.HD_ED25519, MESSAGE),
        Scheme("Schnorr", "secp256k1", *_SECP256K1, kinds.HD_SECP256K1, DIGEST32),
        Scheme("DH", "secp256k1", *_SECP256K1, None, None),
    )
}


def generate(scheme: Scheme, page: LockedPage, *, master: bool = False) -> bytes:
    """Draw a new secret into the page and give its canonical public key.

    33 bytes SEC1 compressed for secp256k1 (``02`` first for Schnorr) and stark, 32 bytes (RFC 8032) for ed25519. The
    secret is of the scheme's ``secret_kind``, or with ``master`` of its ``master_kind`` with a random chain code.
    """
    if scheme.curve == "ed25519":
        if not master:
            fill_random(page.secret)
            return native.ed25519_public_key(page.secret, page.keypair)
        fill_random(page.keypair[:64])
        ed25519_scalar.reduce_wide(page.keypair[:64])
        page.secret[:] = page.keypair[:32]
    else:
        _draw(scheme, page)
        while not is_scalar(scheme, page):
            _draw(scheme, page)
    return adopt_scalar(scheme, page, master=master)


def _draw(scheme: Scheme, page: LockedPage) -> None:
    fill_random(page.secret)
    if scheme.curve == "stark":
        page.secret[0] &= 15  # the order has 252 bits, so that every other draw is below it


def adopt_scalar(scheme: Scheme, page: LockedPage, *, master: bool = False, chain_code: bytes | None = None) -> bytes:
    """Make a whole secret of the scalar in ``page.secret`` and give its canonical public key.

    The scalar is 32 bytes, little-endian for ed25519, else big-endian. An ed25519 key gets a random nonce prefix, a
    Schnorr key an even y, a master key its ``chain_code`` (32 bytes; None: random). The secret is then of the scheme's
    ``scalar_kind`` or ``master_kind``. Raises ValueError for a scalar that is zero or not below the group order.
    """
    kind = scheme.master_kind if master else scheme.scalar_kind
    if kind is None:
        raise ValueError(f"{scheme.name} has no master keys")
    if not is_scalar(scheme, page):
        raise ValueError("scalar is zero or not below the group order")
    if scheme.curve == "ed25519":
        fill_random(page.secret_area[32:64])
    public = public_key(scheme, page, kind)
    if scheme.name == "Schnorr" and public[0] == 3:
        native.negate_scalar(page.secret)
        public = public_key(scheme, page, kind)
    if master:
        end = kinds.SECRET_BYTES[kind]
        place = page.secret_area[end - kinds.CHAIN_CODE_BYTES : end]
        if chain_code is None:
            fill_random(place)
        else:
            place[:] = chain_code
    return public


def is_scalar(scheme: Scheme, page: LockedPage) -> bool:
    """Whether the page's secret is a private scalar of the scheme's curve: above zero and below the group order."""
    if scheme.curve == "ed25519":
        return ed25519_scalar.is_scalar(page.secret, page.keypair)
    return stark.is_scalar(page.secret) if scheme.curve == "stark" else native.is_scalar(page.secret)


def public_key(scheme: Scheme, page: LockedPage, kind: str) -> bytes:
    """The public key recomputed from the secret in the page. Raises ValueError for a scalar out of range."""
    if kind == kinds.ED25519_SEED:
        return native.ed25519_public_key(page.secret, page.keypair)
    if scheme.curve == "ed25519":
        return ed25519_scalar.public_key(page.secret)
    if scheme.curve == "stark":
        return stark.public_key(page.secret)
    return native.secp256k1_public_key(page.secret)


def payload_defect(scheme: Scheme, kind: str, payload: Buffer, tweak: bytes | None) -> Refusal | None:
    """Why this scheme can't sign that payload, or None. ``kind`` is that of the payload."""
    if scheme.payload_kind is None:
        return Refusal("Unsupported", f"{scheme.name} keys sign nothing")
    if kind != scheme.payload_kind:
        return Refusal("Unsupported", f"{scheme.name} signs payloads of kind {scheme.payload_kind}, not {kind!r}")
    if kind == DIGEST32 and len(payload) != 32:
        return Refusal("Unsupported", f"a digest has 32 bytes, not {len(payload)}")
    if scheme.curve == "stark" and not stark.is_signable(payload):
        return Refusal("Unsupported", "the STARK curve signs numbers below 2**251")
    if len(payload) > MAX_MESSAGE:
        return Refusal("Unsupported", f"a message has at most {MAX_MESSAGE} bytes")
    if tweak is not None and (scheme.name != "Schnorr" or len(tweak) not in (0, 32)):
        return Refusal("Unsupported", "a taproot tweak is for Schnorr keys and has 0 or 32 bytes")
    return None


def sign(
    scheme: Scheme, page: LockedPage, kind: str, public: bytes, payload: Buffer, tweak: bytes | None
) -> bytes | Refusal:
    """Sign with the secret in the page, and verify: ``r || s`` (64 bytes), for ECDSA with the recovery id after it.

    ``payload`` and ``tweak`` have passed ``payload_defect``. A signature that does not verify is discarded.
    """
    if scheme.curve == "stark":
        signature = stark.sign(page.secret, payload, os.urandom(32))
        good = stark.recovers(public, payload, signature)
    elif scheme.name == "ECDSA":
        signature = native.ecdsa_sign(page.secret, payload, os.urandom(32))
        good = native.ecdsa_recovers(public, payload, signature)
    elif scheme.name == "Schnorr":
        signature = native.bip340_sign(page.secret, page.keypair, public, payload, tweak, os.urandom(32))
        good = native.bip340_verify(public, payload, tweak, signature)
    elif kind == kinds.ED25519_SEED:
        # The public key beside the seed saves a multiplication; a wrong one fails the check below.
        page.secret_pair[32:] = public
        signature = native.ed25519_sign(page.secret_pair, payload)
        good = native.ed25519_verify(public, payload, signature)
    else:
        signature = ed25519_scalar.sign(page.secret_pair, page.keypair, public, payload)
        good = native.ed25519_verify(public, payload, signature)
    return signature if good else Refusal("Integrity", "the signature does not verify under the stored public key")


def derive_output(page: LockedPage, domain: bytes, seed: bytes) -> bytes:
    """32 bytes that only the DH key in the page can make of ``seed`` under ``domain``; equal inputs, equal output.

    ``domain`` is the domain separation tag and not empty, ``seed`` the message of RFC 9380's hash to secp256k1. Its
    product with the key is hashed: SHA-256 of the compressed point, as the distributed verifiable random function of
    GLOW20 (eprint 2020/096) does. No other rule is published for this, so the choice is in this one function.
    """
    return native.ecdh(page.secret, hash_to_curve(seed, domain))
