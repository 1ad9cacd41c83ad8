"""ID tokens with exactly one thing wrong, each."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from joserfc import jwk

from countersign.encoding import base64url
from tests.support.identity_provider import sign


@dataclass(frozen=True)
class Forger:
    """Makes tokens of a provider with these keys, for a client, about a subject; ``now`` in seconds."""

    keys: dict[str, jwk.Key]
    issuer: str
    client_id: str
    subject: str
    now: int

    def claims(self, **members: Any) -> dict[str, Any]:
        """The claims, with members changed, or left out where they are ``None``."""
        usual = {"iss": self.issuer, "aud": self.client_id, "sub": self.subject, "iat": self.now, "exp": self.now + 590}
        return {name: value for name, value in {**usual, **members}.items() if value is not None}

    def token(self, header: dict[str, Any] | None = None, key: jwk.Key | None = None, **claims: Any) -> str:
        """A token, signed with the RSA key unless told otherwise; header members that are ``None`` are left out."""
        signer = key or self.keys["RS256"]
        members = {"alg": "RS256", "kid": signer.kid, "typ": "JWT", **(header or {})}
        return sign(
            {name: value for name, value in members.items() if value is not None}, self.claims(**claims), signer
        )

    @cached_property
    def stranger(self) -> jwk.Key:
        """An RSA key that is not the provider's."""
        return jwk.generate_key("RSA", 2048, {"kid": self.keys["RS256"].kid})

    def mac(self) -> str:
        """A token under a MAC whose secret is the provider's public key, as everybody has it."""
        key = self.keys["RS256"]
        signed = sign({"alg": "none"}, self.claims(), key).rstrip(".").partition(".")[2]
        header = base64url.encode(json.dumps({"alg": "HS256", "kid": key.kid}).encode())
        secret = key.as_pem(private=False)
        return f"{header}.{signed}.{base64url.encode(hmac.digest(secret, f'{header}.{signed}'.encode(), 'sha256'))}"

    def bytes_of(self, payload: bytes) -> str:
        """A token whose payload is this text."""
        key = self.keys["RS256"]
        return sign({"alg": "RS256", "kid": key.kid}, payload, key)


def _flipped(token: str) -> str:
    head, _, signature = token.rpartition(".")
    changed = bytearray(base64url.decode(signature))
    changed[0] ^= 1
    return f"{head}.{base64url.encode(bytes(changed))}"


def _headed(header: str, forger: Forger) -> str:
    """A token with another header."""
    return ".".join([base64url.encode(header.encode()), *forger.token().split(".")[1:]])


def _swapped(forger: Forger) -> str:
    """The signature of one token under the claims of another."""
    mine, other = forger.token(), forger.token(sub="somebody else")
    return f"{mine.rpartition('.')[0]}.{other.rpartition('.')[2]}"


BAD_TOKENS: dict[str, Callable[[Forger], str]] = {
    "of another issuer": lambda f: f.token(iss="https://evil.example"),
    "issuer with a slash more": lambda f: f.token(iss=f"{f.issuer}/"),
    "no issuer": lambda f: f.token(iss=None),
    "issuer in a list": lambda f: f.token(iss=[f.issuer]),
    "an issuer with a NUL": lambda f: f.token(iss=f"{f.issuer}\0"),
    "for another client": lambda f: f.token(aud="another"),
    "for nobody": lambda f: f.token(aud=None),
    "empty list of clients": lambda f: f.token(aud=[]),
    "clients that are no text": lambda f: f.token(aud=[1, f.client_id]),
    "a client with a NUL": lambda f: f.token(aud=[f.client_id, "\0"], azp=f.client_id),
    "for several, made for another": lambda f: f.token(aud=[f.client_id, "another"], azp="another"),
    "for several, made for nobody": lambda f: f.token(aud=[f.client_id, "another"]),
    "made for another": lambda f: f.token(azp="another"),
    "expired": lambda f: f.token(exp=f.now),
    "without an end": lambda f: f.token(exp=None),
    "an end that is text": lambda f: f.token(exp=str(f.now + 590)),
    "an end that is true": lambda f: f.token(exp=True),
    "too old": lambda f: f.token(iat=f.now - 700),
    "of the future": lambda f: f.token(iat=f.now + 500),
    "without a beginning": lambda f: f.token(iat=None),
    "not valid yet": lambda f: f.token(nbf=f.now + 500),
    "nobody": lambda f: f.token(sub=None),
    "a number": lambda f: f.token(sub=7),
    "an empty subject": lambda f: f.token(sub=""),
    "a subject with a NUL": lambda f: f.token(sub=f"{f.subject}\0"),
    "a subject without end": lambda f: f.token(sub="x" * 256),
    "a token of a logout": lambda f: f.token(events={"http://schemas.openid.net/event/backchannel-logout": {}}),
    "a token of a logout by its type": lambda f: f.token({"typ": "logout+jwt"}),
    "a token of access": lambda f: f.token({"typ": "at+jwt"}),
    "a type that is no text": lambda f: f.token({"typ": 7}),
    "unsigned": lambda f: sign({"alg": "none"}, f.claims(), f.keys["RS256"]),
    "unsigned in capitals": lambda f: _headed('{"alg":"NONE"}', f).rpartition(".")[0] + ".",
    "without a signature": lambda f: f.token().rpartition(".")[0] + ".",
    "a MAC under the public key": Forger.mac,
    "an algorithm that is not allowed": lambda f: f.token({"alg": "RS512"}),
    "PSS instead of PKCS 1": lambda f: f.token({"alg": "PS256"}),
    "an algorithm that the key is not for": lambda f: f.token(
        {"alg": "ES256", "kid": f.keys["RS256"].kid}, f.keys["ES256"]
    ),
    "an algorithm that is no text": lambda f: _headed('{"alg":1}', f),
    "no algorithm": lambda f: _headed("{}", f),
    "two algorithms": lambda f: _headed('{"alg":"none","alg":"RS256"}', f),
    "a key of a stranger": lambda f: f.token(key=f.stranger),
    "a key that the token brings along": lambda f: f.token({"jwk": (key := f.stranger).as_dict(private=False)}, key),
    "a key that the token points to": lambda f: f.token({"jku": "https://evil.example/keys"}, f.stranger),
    "a certificate that the token brings along": lambda f: f.token({"x5c": ["MIIB"]}, f.stranger),
    "an unknown name": lambda f: f.token({"kid": "unknown"}),
    "a name that is a path": lambda f: f.token({"kid": "../../../../dev/null"}),
    "a name that is a query": lambda f: f.token({"kid": f"{f.keys['RS256'].kid}' OR '1'='1"}),
    "a name that is no text": lambda f: f.token({"kid": ["a"]}),
    "a name of another key": lambda f: f.token({"kid": f.keys["EdDSA"].kid}),
    "a header that must be understood": lambda f: f.token({"crit": ["exp"], "exp": f.now + 590}),
    "a payload that is not encoded": lambda f: f.token({"crit": ["b64"], "b64": False}),
    "another signature": lambda f: _flipped(f.token()),
    "the signature of another": _swapped,
    "two subjects": lambda f: f.bytes_of(json.dumps(f.claims()).encode()[:-1] + b', "sub": "somebody else"}'),
    "a list": lambda f: f.bytes_of(b"[]"),
    "nothing": lambda f: f.bytes_of(b""),
    "four segments": lambda f: f.token() + ".a",
    "two segments": lambda f: f.token().rpartition(".")[0],
    "padding": lambda f: f.token() + "=",
    "spaces": lambda f: f" {f.token()}",
    "other letters": lambda f: f.token() + "\u00e9",
    "without end": lambda f: f.token(more="x" * 20_000),
}
