"""The customer's side of import and export: shares for a server's signers, and keys from what it exports."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import Any

from countersign.keystores import share_envelope, share_holder, sharing
from countersign.keystores.outcome import Refusal

#: What the published tools say they can put together, in their order.
SUPPORTED = [
    {"protocol": "CGGMP21", "curve": "secp256k1"},
    {"protocol": "CGGMP21", "curve": "stark"},
    {"protocol": "FROST", "curve": "ed25519"},
    {"protocol": "FROST_BITCOIN", "curve": "secp256k1"},
]


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def signers_of(listed: Any) -> list[tuple[bytes, bytes]]:
    """Ids and encryption keys out of an answer to ``GET /signers``."""
    signers = listed["clusters"][0]["signers"]
    return [(base64.b64decode(one["signerId"]), base64.b64decode(one["encryptionKey"])) for one in signers]


def import_body(
    listed: Any, secret: int | None = None, protocol: str = "CGGMP21", curve: str = "secp256k1", **members: Any
) -> dict[str, Any]:
    """The body that imports a key, by default a new one, into the server that listed these signers."""
    chosen = secrets.randbelow(sharing.ORDERS[curve] - 1) + 1 if secret is None else secret
    shared = share_holder.share(chosen, curve, signers_of(listed), chain_code=members.pop("chain_code", None))
    assert not isinstance(shared, Refusal), shared
    shares = [{"signerId": text(one), "encryptedKeyShare": text(envelope)} for one, envelope in shared]
    return {"protocol": protocol, "curve": curve, "minSigners": 3, "encryptedKeyShares": shares, **members}


@dataclass(frozen=True)
class Receiver:
    """Who a key is exported to."""

    scalar: bytearray = field(default_factory=lambda: bytearray(b"\1" + secrets.token_bytes(31)))

    @property
    def encryption_key(self) -> bytes:
        return share_envelope.encryption_key(self.scalar)

    def body(self, supported: list[dict[str, str]] | None = None) -> dict[str, Any]:
        """The body that exports a key to this receiver."""
        return {
            "encryptionKey": text(self.encryption_key),
            "supportedSchemes": SUPPORTED if supported is None else supported,
        }

    def open(self, exported: Any) -> int:
        """The key out of an answer; it belongs to the public key that came with it."""
        envelopes = tuple(
            (base64.b64decode(one["signerId"]), base64.b64decode(one["encryptedKeyShare"]))
            for one in exported["encryptedKeyShares"]
        )
        public = bytes.fromhex(exported["publicKey"])
        secret = share_holder.put_together(exported["curve"], public, exported["minSigners"], envelopes, self.scalar)
        assert isinstance(secret, int), secret
        return secret
