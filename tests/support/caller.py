"""A caller that speaks plain HTTP: each step of a signed request by itself, so that a test can break exactly one.

with Caller(sandbox.service) as caller:
    token = caller.action_token("PUT", "/keys/key-…", {"name": "a"})
    caller.send("PUT", "/keys/key-…", {"name": "b"}, action=token)      # refused: another body
"""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from countersign.encoding import base64url
from tests.clients.connection import Connection, private_key
from tests.support.contract import ContractTransport


def compact(body: Any) -> str:
    """JSON text as most clients write it."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


class Caller:
    """One identity with one Ed25519 credential. Every answer is checked against the contract.

    ``transport`` replaces the network (a server inside the test's own process).
    """

    def __init__(self, connection: Connection, transport: httpx.BaseTransport | None = None) -> None:
        self.connection = connection
        self.token = connection["authToken"]
        self.credential_id = connection["credentialId"]
        key = load_pem_private_key(private_key(connection).encode(), None)
        assert isinstance(key, Ed25519PrivateKey)
        self.key = key
        self.http = httpx.Client(base_url=connection["baseUrl"], transport=ContractTransport(transport), timeout=30)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        action: str | None = None,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """One request with the caller's token; ``content`` sends those bytes instead of ``body``."""
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if action is not None:
            sent["X-DFNS-USERACTION"] = action
        sent.update(headers or {})
        data = content if content is not None else None if body is None else compact(body).encode()
        return self.http.request(method, path, headers=sent, content=data)

    def challenge(self, method: str, path: str, payload: Any = None, **members: Any) -> dict[str, Any]:
        """``POST /auth/action/init``; ``payload`` is a value, or JSON text as it stands."""
        text = payload if isinstance(payload, str) else "" if payload is None else compact(payload)
        body = {"userActionPayload": text, "userActionHttpMethod": method, "userActionHttpPath": path, **members}
        answer = self.send("POST", "/auth/action/init", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def assertion(self, challenge: str, *, credential_id: str | None = None) -> dict[str, Any]:
        """A Key assertion over the challenge string."""
        client_data = compact({"type": "key.get", "challenge": challenge}).encode()
        return {
            "kind": "Key",
            "credentialAssertion": {
                "credId": credential_id or self.credential_id,
                "clientData": base64url.encode(client_data),
                "signature": base64url.encode(self.key.sign(client_data)),
            },
        }

    def answer(self, challenge: dict[str, Any], **members: Any) -> httpx.Response:
        """``POST /auth/action`` with a good assertion; keyword arguments replace members of the body."""
        body = {
            "challengeIdentifier": challenge["challengeIdentifier"],
            "firstFactor": self.assertion(challenge["challenge"]),
            **members,
        }
        return self.send("POST", "/auth/action", body)

    def action_token(self, method: str, path: str, payload: Any = None) -> str:
        """Init and action: the one-time token for this request."""
        answered = self.answer(self.challenge(method, path, payload))
        assert answered.status_code == 200, answered.text
        token: str = answered.json()["userAction"]
        return token

    def signed(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The whole ceremony and the request."""
        return self.send(method, path, body, action=self.action_token(method, path, body))

    def create_key(self, scheme: str = "EdDSA", curve: str = "ed25519", **members: Any) -> str:
        """A new key's id."""
        made = self.signed("POST", "/keys", {"scheme": scheme, "curve": curve, **members})
        assert made.status_code == 200, made.text
        key_id: str = made.json()["id"]
        return key_id

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> Caller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
