"""People with credentials, who countersign requests as clients do."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.consent.challenge import ActionChallenge
from countersign.consent.digest import action_digest
from countersign.encoding import strictjson
from countersign.keystores import ConsentEvidence
from countersign.keystores.roots import Founder
from countersign.world import World
from tests.keystores.builders import ORG

INSTALLATION = "in-00000-00001-0000000000000001"
WORLD = World()
EXPIRES = 1_700_000_900


@dataclass(frozen=True)
class Person:
    """A user and an Ed25519 credential; the private half stays here."""

    org_id: str = ORG
    user_id: str = field(default_factory=lambda: WORLD.new_id("us"))
    uuid: str = field(default_factory=lambda: WORLD.new_id("cr"))
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    token_id: str = ""

    @property
    def pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def fingerprint(self) -> str:
        from countersign.credentials import public_key

        loaded = public_key.load(self.pem)
        assert isinstance(loaded, public_key.PublicKey)
        return loaded.fingerprint

    @property
    def founder(self) -> Founder:
        return Founder(self.org_id, self.user_id, self.uuid, "Key", self.pem, None, self.token_id)

    def another(self, **changed: Any) -> Person:
        """The same user with another credential."""
        fresh = {"uuid": WORLD.new_id("cr"), "key": Ed25519PrivateKey.generate(), **changed}
        return replace(self, **fresh)

    def consents(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        installation_id: str = INSTALLATION,
        expires: int = EXPIRES,
    ) -> ConsentEvidence:
        """Evidence of consent to this request, as an order carries it."""
        payload = strictjson.canonical(body or {})
        hashed = hashlib.sha256(payload).digest()
        digest = action_digest(installation_id, self.org_id, self.user_id, method, path, "", hashed)
        challenge = ActionChallenge(WORLD.new_id("ch"), WORLD.new_id("no"), expires, digest)
        client_data = msgspec.json.encode({"type": "key.get", "challenge": challenge.text})
        return ConsentEvidence(
            installation_id=installation_id,
            org_id=self.org_id,
            user_id=self.user_id,
            method=method,
            path=path,
            query="",
            payload=payload,
            credential_uuid=self.uuid,
            credential_public_key=self.pem,
            kind="Key",
            client_data=client_data,
            signature=self.key.sign(client_data),
        )


def digest() -> str:
    """A random digest to sign, in hexadecimal."""
    return os.urandom(32).hex()
