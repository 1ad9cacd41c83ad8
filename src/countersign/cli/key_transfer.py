"""Keys on their way from and to a server, as its customer sends and gets them: in shares, encrypted."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from countersign.cli import export_approvals
from countersign.cli.customer import Customer, Refused, read_answer
from countersign.cli.key_formats import HeldKey, Unusable
from countersign.keystores import Refusal, share_envelope, share_holder
from countersign.keystores.memory import wipe
from countersign.keystores.sharing import MIN_SIGNERS, ORDERS

_PROTOCOLS: Final = {
    ("ECDSA", "secp256k1"): "CGGMP21",
    ("ECDSA", "stark"): "CGGMP21",
    ("EdDSA", "ed25519"): "FROST",
    ("Schnorr", "secp256k1"): "FROST_BITCOIN",
    ("DH", "secp256k1"): "GLOW20_DH",
}


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    """Part of an answer; members that are not needed are passed over."""


class ShownKey(_Part, frozen=True):
    """A key, as far as it is needed here; the public key in hexadecimal."""

    id: str
    scheme: Literal["ECDSA", "EdDSA", "Schnorr", "DH"]
    curve: Literal["secp256k1", "ed25519", "stark"]
    public_key: Annotated[str, msgspec.Meta(pattern="^([0-9a-f][0-9a-f])+\\Z")]


class _Share(_Part, frozen=True):
    signer_id: str
    encrypted_key_share: str


class _Exported(_Part, frozen=True):
    min_signers: int
    encrypted_key_shares: list[_Share]


class _Signer(_Part, frozen=True):
    signer_id: str
    encryption_key: str


class _Cluster(_Part, frozen=True):
    signers: list[_Signer]


class _Signers(_Part, frozen=True):
    clusters: Annotated[list[_Cluster], msgspec.Meta(min_length=1)]


def supported(scheme: str, curve: str) -> bool:
    """Whether keys of this kind travel in shares."""
    return (scheme, curve) in _PROTOCOLS


def show(customer: Customer, key_id: str) -> ShownKey:
    """What the server says of a key. Raises ``Refused``."""
    return read_answer(customer.get(f"/keys/{key_id}"), ShownKey)


def fetch(customer: Customer, shown: ShownKey, request: Path) -> HeldKey:
    """Have the server export the key to a decryption key made here, and put it together.

    ``request``: where to say what others are to approve, if they have to; the decryption key waits in memory alone.
    Raises ``Refused`` and ``Unusable``.
    """
    scalar = bytearray((1 + share_holder.random_below(ORDERS["secp256k1"] - 1)).to_bytes(32, "big"))
    body = {
        "encryptionKey": _base64(share_envelope.encryption_key(scalar)),
        "supportedSchemes": [{"protocol": _PROTOCOLS[shown.scheme, shown.curve], "curve": shown.curve}],
    }
    try:
        answer = read_answer(export_approvals.export(customer, shown.id, body, request), _Exported)
        envelopes = tuple(
            (_bytes(one.signer_id), _bytes(one.encrypted_key_share)) for one in answer.encrypted_key_shares
        )
        public = bytes.fromhex(shown.public_key)
        secret = share_holder.put_together(shown.curve, public, answer.min_signers, envelopes, scalar)
    finally:
        wipe(scalar)
    if isinstance(secret, Refusal):
        raise Unusable(f"the server's shares are refused: {secret.reason}")
    return HeldKey(shown.curve, secret, shown.scheme)


def submit(customer: Customer, key: HeldKey, scheme: str, name: str | None, master: bool) -> ShownKey:
    """Share the key among the server's signers and send the shares; the server must answer with its public key.

    Raises ``Refused`` and ``Unusable``.
    """
    clusters = read_answer(customer.get("/signers"), _Signers).clusters
    listed = [(_bytes(one.signer_id), _bytes(one.encryption_key)) for one in clusters[0].signers]
    shares = share_holder.share(key.scalar, key.curve, listed, chain_code=key.chain_code if master else None)
    if isinstance(shares, Refusal):
        raise Unusable(f"the key cannot be shared: {shares.reason}")
    body: dict[str, Any] = {
        "protocol": _PROTOCOLS[scheme, key.curve],
        "curve": key.curve,
        "minSigners": MIN_SIGNERS,
        "encryptedKeyShares": [
            {"signerId": _base64(signer_id), "encryptedKeyShare": _base64(envelope)} for signer_id, envelope in shares
        ],
    }
    if name is not None:
        body["name"] = name
    if master:
        body["masterKey"] = True
    made = read_answer(customer.signed("POST", "/keys/import", body), ShownKey)
    expected = key.public_key.hex()
    if made.public_key != ("02" + expected[2:] if scheme == "Schnorr" else expected):
        raise Unusable(f"the server answers with the public key {made.public_key}, which is not that of the file")
    return made


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused("the server's answer is not understood: what should be base64 is not") from None


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
