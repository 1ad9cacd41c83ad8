"""A customer of any server that speaks this API: plain HTTP with a token, and a credential that signs what matters.

Only what the commands of this program need; the official SDKs are the clients for everything else. A challenge of a
server of ours commits to a request; it is signed only when that is the request that the command makes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from countersign.consent.challenge import ActionChallenge, parse_signed_challenge
from countersign.consent.digest import action_digest, payload_hash
from countersign.encoding import base64url

T = TypeVar("T")

_SECONDS: Final = 60
_MAX_ANSWER: Final = 4 << 20
#: Statuses of a server, or of what stands before it, that has no time now.
_PASSING: Final = frozenset({429, 502, 503, 504})

SigningKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey


class Refused(Exception):
    """The server refused, or is no such server; the text is for whoever runs the command.

    ``code``: the stable one of the server's error, empty where it sent none. ``passing``: the same may go through a
    moment later, because the server did not answer, is being started, or has too much to do.
    """

    def __init__(self, text: str, code: str = "", *, passing: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Customer:
    """``base_url`` with or without a path before the API's; ``certificates`` a PEM file beside the system's own.

    ``installation_id``: of the server, where it does not say it itself. Raises ``Refused`` for a token that no header
    can hold, and an address that is no URL.
    """

    base_url: str
    token: str
    credential_id: str
    key: SigningKey
    certificates: Path | None = None
    installation_id: str | None = None

    def __post_init__(self) -> None:
        # What sends the header would name the token in its own complaint.
        if not (self.token.isascii() and self.token.isprintable()):
            raise Refused("what should be the token is not one line of plain characters")
        try:
            _ = urlsplit(self.base_url).port
        except ValueError as error:
            raise Refused(f"{self.base_url!r} is no address of a server: {error}") from None

    def get(self, path: str) -> Any:
        """The decoded answer to a reading request."""
        return self._send("GET", path, None, None)

    def signed(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """The decoded answer to a request that the credential signs: challenge, signature, request."""
        text = "" if body is None else json.dumps(body, separators=(",", ":"))
        wish = {"userActionPayload": text, "userActionHttpMethod": method, "userActionHttpPath": path}
        challenge = self._send("POST", "/auth/action/init", json.dumps(wish), None)
        self._require_commitment(challenge, method, path, body or {})
        client_data = json.dumps({"type": "key.get", "challenge": challenge["challenge"]}).encode()
        assertion = {
            "credId": self.credential_id,
            "clientData": base64url.encode(client_data),
            "signature": base64url.encode(_signature(self.key, client_data)),
        }
        answer = {
            "challengeIdentifier": challenge["challengeIdentifier"],
            "firstFactor": {"kind": "Key", "credentialAssertion": assertion},
        }
        action = self._send("POST", "/auth/action", json.dumps(answer), None)["userAction"]
        return self._send(method, path, text or None, action)

    def _require_commitment(self, answer: Any, method: str, path: str, body: dict[str, Any]) -> None:
        """Raises ``Refused`` for a challenge that commits to another request: what it gave would be consent to that.

        One of another vendor's server commits to nothing, and its signature proves nothing to ours. Whose consent it is
        and to which installation, the server may say: where it lies, nobody takes the signature for anything.
        """
        if not isinstance(answer, dict) or not isinstance(answer.get("challenge"), str):
            raise Refused("the server's answer is not understood: there is no challenge in it")
        challenge = parse_signed_challenge(answer["challenge"])
        if not isinstance(challenge, ActionChallenge):
            return
        said = _said(answer.get("challengeIdentifier"))
        who = said.get("https://custom/app_metadata")
        org_id, user_id = (str(who.get(name)) if isinstance(who, dict) else "" for name in ("orgId", "userId"))
        hashed = payload_hash(body)
        for installation_id in self._installations(said):
            if action_digest(installation_id, org_id, user_id, method, path, "", hashed) == challenge.action:
                return
        raise Refused(
            "nothing was signed: the server asks for a signature over another request than this one, or does not say"
            " which installation it is, which --installation can"
        )

    def _installations(self, said: dict[str, Any]) -> Iterator[str]:
        if self.installation_id is not None:
            yield self.installation_id
            return
        yield str(said.get("iss"))
        with contextlib.suppress(Refused):
            settings = self._send("GET", "/console/settings.json", None, None)
            if isinstance(settings, dict):
                yield str(settings.get("installationId"))

    def _send(self, method: str, path: str, body: str | None, action: str | None) -> Any:
        base = urlsplit(self.base_url)
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if action is not None:
            headers["X-DFNS-USERACTION"] = action
        try:
            connection = self._connection(base.scheme, base.hostname or "", base.port)
            try:
                content = None if body is None else body.encode()
                connection.request(method, base.path.rstrip("/") + path, content, headers)
                answer = connection.getresponse()
                status, data = answer.status, answer.read(_MAX_ANSWER)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"{self.base_url} does not answer: {error}", passing=True) from None
        try:
            decoded: Any = json.loads(data)
        except ValueError:
            said = f"{method} {path}: status {status}, and the answer is no JSON"
            raise Refused(said, passing=status in _PASSING) from None
        if status != 200:
            reason = _reason(status, decoded)
            raise Refused(f"{method} {path}: {reason}", _code(decoded), passing=status in _PASSING)
        return decoded

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "https":
            context = ssl.create_default_context()
            if self.certificates is not None:
                context.load_verify_locations(self.certificates)
            return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)
        # A token in plain text belongs on this machine only.
        if scheme != "http" or host not in ("127.0.0.1", "::1", "localhost"):
            raise Refused(f"{self.base_url!r} is neither https nor of this machine")
        return http.client.HTTPConnection(host, port, timeout=_SECONDS)


def _said(identifier: object) -> dict[str, Any]:
    """The claims of a challenge identifier, as the server says them; none where it has another form."""
    try:
        claims = json.loads(base64url.decode(str(identifier).split(".")[1]))
    except (ValueError, IndexError):
        return {}
    return claims if isinstance(claims, dict) else {}


def signing_key(pem: bytes) -> SigningKey:
    """The private key of a credential. Raises ``Refused`` for anything else."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise Refused(f"the credential's private key does not open: {error}") from None
    if not isinstance(key, SigningKey):
        raise Refused("the credential's private key is neither Ed25519, of an elliptic curve, nor RSA")
    return key


def read_answer(answer: Any, kind: type[T]) -> T:
    """A decoded answer as what it should be. Raises ``Refused`` for anything else."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise Refused(f"the server's answer is not understood: {error}") from None


def _signature(key: SigningKey, message: bytes) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, EllipticCurvePrivateKey):
        return key.sign(message, ECDSA(SHA256()))
    return key.sign(message, PKCS1v15(), SHA256())


def _code(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("code") or "") if isinstance(error, dict) else ""


def _reason(status: int, body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return f"status {status}"
    details = error.get("details")
    hint = details.get("hint") if isinstance(details, dict) else None
    return " ".join(str(part) for part in (error.get("code"), error.get("message"), hint) if part)
