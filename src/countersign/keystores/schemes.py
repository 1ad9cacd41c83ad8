"""What a key store can do with each scheme: make a key, recompute its public key, sign and check what it signed.

Everything works on the secret in the locked page and leaves wiping to the caller.

Rules: ECDSA takes exactly 32 bytes that are already hashed; its signatures are low-S with a recovery id. EdDSA takes
the whole message. Schnorr (BIP340) takes 32 bytes and an optional taproot tweak; its keys have an even y, so the secret
is negated at generation where needed. Every signature is verified against the stored public key before it leaves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from countersign.keystores import native
from countersign.keystores.memory import LockedPage, fill_random
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import DIGEST32, MAX_MESSAGE, MESSAGE, Buffer

SCALAR: Final = "secp256k1.scalar"
SEED: Final = "ed25519.seed"


@dataclass(frozen=True, slots=True)
class Scheme:
    """A supported pair, the kind of secret it keeps (32 bytes each) and the kind of payload it signs."""

    name: str
    curve: str
    secret_kind: str
    payload_kind: str


SCHEMES: Final = {
    (scheme.name, scheme.curve): scheme
    for scheme in (
        Scheme("ECDSA", "secp256k1", SCALAR, DIGEST32),
        Scheme("EdDSA", "ed25519", SEED, MESSAGE),
        Scheme("Schnorr", "secp256k1", SCALAR, DIGEST32),
    )
}


def generate(scheme: Scheme, page: LockedPage) -> bytes:
    """Draw a new secret into the page and give its canonical public key.

    33 bytes SEC1 compressed for secp256k1 (``02`` first for Schnorr), 32 bytes (RFC 8032) for ed25519.
    """
    fill_random(page.secret)
    while scheme.secret_kind == SCALAR and not native.is_scalar(page.secret):
        fill_random(page.secret)
    public = public_key(scheme, page)
    if scheme.name == "Schnorr" and public[0] == 3:
        native.negate_scalar(page.secret)
        public = public_key(scheme, page)
    return public


def public_key(scheme: Scheme, page: LockedPage) -> bytes:
    """The public key recomputed from the secret in the page. Raises ValueError for a scalar out of range."""
    if scheme.secret_kind == SEED:
        return native.ed25519_public_key(page.secret, page.keypair)
    return native.secp256k1_public_key(page.secret)


def payload_defect(scheme: Scheme, kind: str, payload: Buffer, tweak: bytes | None) -> Refusal | None:
    """Why this scheme can't sign that payload, or None."""
    if kind != scheme.payload_kind:
        return Refusal("Unsupported", f"{scheme.name} signs payloads of kind {scheme.payload_kind}, not {kind!r}")
    if kind == DIGEST32 and len(payload) != 32:
        return Refusal("Unsupported", f"a digest has 32 bytes, not {len(payload)}")
    if len(payload) > MAX_MESSAGE:
        return Refusal("Unsupported", f"a message has at most {MAX_MESSAGE} bytes")
    if tweak is not None and (scheme.name != "Schnorr" or len(tweak) not in (0, 32)):
        return Refusal("Unsupported", "a taproot tweak is for Schnorr keys and has 0 or 32 bytes")
    return None


def sign(scheme: Scheme, page: LockedPage, public: bytes, payload: Buffer, tweak: bytes | None) -> bytes | Refusal:
    """Sign with the secret in the page, and verify: ``r || s`` (64 bytes), for ECDSA with the recovery id after it.

    ``payload`` and ``tweak`` have passed ``payload_defect``. A signature that does not verify is discarded.
    """
    if scheme.name == "ECDSA":
        signature = native.ecdsa_sign(page.secret, payload, os.urandom(32))
        good = native.ecdsa_recovers(public, payload, signature)
    elif scheme.name == "Schnorr":
        signature = native.bip340_sign(page.secret, page.keypair, public, payload, tweak, os.urandom(32))
        good = native.bip340_verify(public, payload, tweak, signature)
    else:
        # The public key beside the seed saves a multiplication; a wrong one fails the check below.
        page.secret_pair[32:] = public
        signature = native.ed25519_sign(page.secret_pair, payload)
        good = native.ed25519_verify(public, payload, signature)
    return signature if good else Refusal("Integrity", "the signature does not verify under the stored public key")
