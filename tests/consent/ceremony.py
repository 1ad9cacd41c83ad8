"""A valid signed action in one line, for tests that break exactly one thing of it."""

from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.consent.action_token import ActionClaims, ActionEpochs, ActionMetadata, action_id
from countersign.consent.challenge import ActionChallenge
from countersign.consent.digest import action_digest, payload_hash
from countersign.consent.evidence import Evidence
from countersign.credentials.public_key import PublicKey, load
from countersign.encoding import base64url
from countersign.encoding.strictjson import parse_payload
from countersign.encoding.target import canonical_path, canonical_query, parse_signed_path

INSTALLATION = "in-8a2lc-0a1c2-8c3e4g5j6k7m8n9p"
ORG = "or-6k2mt-9c4vd-8a1n3q5r7t9u1w3y"
USER = "us-3f8ha-2p7kd-9b2m4p6r8t0v2x4z"
NOW = 1790000000
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def public_key_of(private: Ed25519PrivateKey) -> PublicKey:
    key = load(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    assert isinstance(key, PublicKey)
    return key


PUBLIC = public_key_of(PRIVATE)


@dataclass(frozen=True)
class Ceremony:
    method: str = "POST"
    path: str = "/keys"
    payload: str = '{"scheme":"ECDSA","curve":"secp256k1"}'
    challenge_id: str = "ch-8a2lc-2e6gf-8m8o0q2s4u6w8y0a"
    installation: str = INSTALLATION
    double: bool = False

    @property
    def challenge(self) -> ActionChallenge:
        target = parse_signed_path(self.path)
        digest = action_digest(
            self.installation,
            ORG,
            USER,
            self.method,
            canonical_path(target.segments),
            canonical_query(target),
            payload_hash(parse_payload(self.payload)),
        )
        return ActionChallenge(self.challenge_id, "no-8a2lc-2e6gf-8n9p1r3t5v7x9z1b", NOW + 900, digest)

    @property
    def evidence(self) -> Evidence:
        text = self.challenge.text
        challenge = base64url.encode(text.encode()) if self.double else text
        client_data = msgspec.json.encode({"type": "key.get", "challenge": challenge})
        signature = base64url.encode(PRIVATE.sign(client_data))
        return Evidence(kind="Key", client_data=base64url.encode(client_data), signature=signature)

    def metadata(self, **changes: Any) -> ActionMetadata:
        target = parse_signed_path(self.path)
        metadata = ActionMetadata(
            user_id=USER,
            org_id=ORG,
            token_kind="UserAction",
            challenge_id=self.challenge_id,
            action=self.challenge.action,
            credential_uuid="cr-5h2ka-7m4qe-8d0f2h4j6l8n0p2r",
            token_id="uj-4c8nd-3r6ta-8f1h3j5l7n9p1r3t",
            caller_kind="Token",
            method=self.method,
            path=canonical_path(target.segments),
            query=target.query if target.has_query else None,
            epochs=ActionEpochs(user=0, token=0, org=0, credential=0),
            evidence=self.evidence,
        )
        return msgspec.structs.replace(metadata, **changes)

    def claims(self, metadata: ActionMetadata | None = None, **changes: Any) -> ActionClaims:
        claims = ActionClaims(
            iss="auth.example.org",
            aud="dfns:auth:user",
            sub=ORG,
            jti=action_id(self.challenge_id),
            username="ada@example.org",
            iat=NOW,
            exp=NOW + 300,
            metadata=metadata or self.metadata(),
        )
        return msgspec.structs.replace(claims, **changes)
