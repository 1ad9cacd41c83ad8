"""Requests on the wire: how they are mutated, and the flows of which each gives valid ones."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countersign.access.api_signature import SignedRequest, signing_payload
from countersign.encoding import base64url
from tests.fuzz import readers
from tests.fuzz.key_subjects import enrolment_codec, key_assertion_meaning, key_enrolment_meaning
from tests.fuzz.mutations import Base64, Bytes, Codec, Text
from tests.fuzz.passkey_subjects import passkey_codec, passkey_factor_meaning, registration_codec, registration_reading
from tests.fuzz.subjects import compact
from tests.fuzz.token_subjects import Latin1, nonce_digest
from tests.fuzz.trees import Json, Jwt
from tests.support.caller import Caller
from tests.support.enrolment import NewKey, NewPasskey, new_body
from tests.support.inprocess import InProcess, _Transport

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Wire:
    """One request as it arrives."""

    method: str
    target: bytes
    headers: Headers
    body: bytes = b""

    def values(self, name: str) -> list[bytes]:
        """Of all headers of this name, that are not blank."""
        found = [value.strip() for each, value in self.headers if each.decode("latin-1").lower() == name]
        return [value for value in found if value]

    def last(self, name: str) -> bytes:
        """The last header of this name, empty if there is none."""
        return ([b""] + [value.strip() for each, value in self.headers if each.decode("latin-1").lower() == name])[-1]

    def segments(self) -> list[bytes]:
        """The decoded segments of a path that has no query."""
        path, _, query = self.target.partition(b"?")
        if query or not path.startswith(b"/"):
            raise ValueError("another target")
        return [unquote_to_bytes(segment) for segment in path[1:].split(b"/")]


def send(server: InProcess, wire: Wire) -> tuple[int, Any]:
    """Status and body of the answer."""
    answer = _Transport(server).handle_request(_Arrived(wire))
    return answer.status_code, json.loads(answer.content or b"null")


class _Arrived:
    """What the transport reads of a request. No client library would send these."""

    def __init__(self, wire: Wire) -> None:
        length = [(b"content-length", str(len(wire.body)).encode())] if wire.body else []
        self.method = wire.method
        self.url = SimpleNamespace(raw_path=wire.target)
        self.headers = SimpleNamespace(raw=[*wire.headers, *length])
        self.read = lambda: wire.body


#: What attackers add: other spellings of authority, and what proxies are known to obey.
_ADDED = (
    *((b"x-http-method-override", b"PUT"), (b"x-original-url", b"/keys"), (b"x-forwarded-host", b"attacker.example")),
    *((b"transfer-encoding", b"identity"), (b"content-encoding", b"gzip"), (b"content-type", b"text/plain")),
    *((b"authorization", b"Bearer a.b.c"), (b"x-dfns-appid", b"ap-1"), (b"x-dfns-useraction", b"a.b.c")),
    *((b"X-Dfns-UserAction", b""), (b"cookie", b"token=a"), (b"content-type", b"application/json; charset=utf-16")),
)


@dataclass(frozen=True)
class WireCodec:
    """Changes one part of a request. ``methods``: what the method may become."""

    headers: Mapping[str, Codec[bytes]]
    body: Codec[bytes] | None = None
    methods: tuple[str, ...] = ()

    def mutate(self, rng: Random, wire: Wire, other: Wire) -> Wire:
        chance = rng.random()
        if self.body is not None and chance < 0.55:
            return replace(wire, body=self.body.mutate(rng, wire.body, other.body))
        if self.methods and chance < 0.65:
            if rng.random() < 0.3:
                return replace(wire, method=rng.choice(self.methods))
            return replace(wire, target=Latin1(Text()).mutate(rng, wire.target, other.target))
        at = rng.randrange(len(wire.headers)) if wire.headers else 0
        headers = list(wire.headers)
        if chance < 0.75 or not headers:
            match rng.randrange(4):
                case 0:
                    headers.insert(rng.randint(0, len(headers)), rng.choice(_ADDED))
                case 1 if headers:
                    headers.append(headers[at])
                case 2 if headers:
                    del headers[at]
                case _ if headers:
                    headers[at] = (headers[at][0].upper(), headers[at][1])
            return replace(wire, headers=tuple(headers))
        name, value = headers[at]
        others = other.values(name.decode("latin-1").lower())
        codec = self.headers.get(name.decode("latin-1").lower(), Latin1(Text()))
        changed = codec.mutate(rng, value, others[0] if others else value)
        # No parser of HTTP lets these into a header.
        headers[at] = (name, bytes(byte for byte in changed if byte not in b"\r\n\x00"))
        return replace(wire, headers=tuple(headers))


class Bearer:
    """``Bearer`` and a token."""

    def mutate(self, rng: Random, value: bytes, other: bytes) -> bytes:
        if rng.random() < 0.15:
            scheme = rng.choice(
                (b"bearer ", b"BEARER ", b"Bearer  ", b"Bearer", b"Basic ", b"Bearer\t", b"", b"Token ")
            )
            return scheme + value.partition(b" ")[2]
        return b"Bearer " + TOKEN.mutate(rng, value.partition(b" ")[2], other.partition(b" ")[2])


TOKEN = Latin1(Jwt())


class Flow:
    """Valid requests of one kind by one caller. ``wire`` is the one at hand."""

    name: str
    codec: WireCodec
    wire: Wire
    #: How many refusals a request outlives.
    patience = 100

    def __init__(self, server: InProcess, caller: Caller) -> None:
        self.server = server
        self.caller = caller
        self.renew()

    def renew(self) -> None:
        """Make a fresh request; the one at hand is used up, or too often refused."""
        raise NotImplementedError

    def allowed(self, wire: Wire) -> bool:
        """Whether an accepted request means the same as the one at hand. ``ValueError`` counts as no."""
        return self._bearer(wire) and wire.method == self.wire.method and wire.segments() == self.wire.segments()

    def headers(self, **more: str) -> Headers:
        """The caller's, and more."""
        named = {"authorization": f"Bearer {self.caller.token}", "content-type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in more.items()}
        return tuple((name.encode(), value.encode()) for name, value in named.items())

    def _bearer(self, wire: Wire) -> bool:
        found = wire.values("authorization")
        if len(found) != 1:
            return False
        scheme, _, token = found[0].partition(b" ")
        return scheme.lower() == b"bearer" and token == self.caller.token.encode()


class Read(Flow):
    """A bearer token and nothing else."""

    name = "request: bearer token"
    codec = WireCodec({"authorization": Bearer()})

    def renew(self) -> None:
        self.wire = Wire("GET", b"/keys", self.headers())


class Fresh(Flow):
    """A nonce that is sent though none is demanded: it is held to its rules."""

    name = "request: nonce header"
    codec = WireCodec(
        {"authorization": Bearer(), "x-dfns-nonce": Latin1(Base64(Json({"uuid": Text(), "date": Text()})))}
    )

    def renew(self) -> None:
        self.wire = Wire("GET", b"/keys", self.headers(x_dfns_nonce=new_nonce()))

    def allowed(self, wire: Wire) -> bool:
        found = wire.values("x-dfns-nonce")
        now = int(datetime.now(UTC).timestamp())
        return super().allowed(wire) and (not found or nonce_digest(found[0], now, strict=False) is not None)


def new_nonce() -> str:
    """Of now."""
    date = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return base64url.encode(compact({"uuid": str(uuid.uuid4()), "date": date}))


class Begin(Flow):
    """The first call of a ceremony: whatever it asks for, only the signature over the answer allows it."""

    name = "request: challenge for an action"
    codec = WireCodec(
        {"authorization": Bearer()}, Json(dict.fromkeys(("userActionPayload", "userActionHttpPath"), Text()))
    )

    def renew(self) -> None:
        body = {
            "userActionPayload": '{"name":"é","amount":1.50,"list":[1,{"a":null}]}',
            "userActionHttpMethod": "PUT",
            "userActionHttpPath": "/keys/key-1",
            "userActionServerKind": "Api",
        }
        self.wire = Wire("POST", b"/auth/action/init", self.headers(), compact(body))


class Spend(Flow):
    """A signed request with its action token."""

    name = "request: action token"
    # A GET of the same key needs no consent.
    codec = WireCodec(
        {"authorization": Bearer(), "x-dfns-useraction": TOKEN},
        Json({"name": Text()}),
        ("POST", "DELETE", "PATCH", "put", "PUT ", "PUTS", ""),
    )

    def __init__(self, server: InProcess, caller: Caller) -> None:
        self._key = caller.create_key()
        self._number = 0
        super().__init__(server, caller)

    def renew(self) -> None:
        self._number += 1
        path, body = f"/keys/{self._key}", {"name": f"name é {self._number}"}
        token = self.caller.action_token("PUT", path, body)
        self.wire = Wire("PUT", path.encode(), self.headers(x_dfns_useraction=token), compact(body))

    def allowed(self, wire: Wire) -> bool:
        same_action = wire.values("x-dfns-useraction") == self.wire.values("x-dfns-useraction")
        same_body = readers.value_of(readers.read_json(wire.body)) == readers.value_of(
            readers.read_json(self.wire.body)
        )
        return super().allowed(wire) and same_action and same_body


class Answer(Flow):
    """A challenge that is answered with two factors, a key and a passkey."""

    name = "request: challenge with two factors"
    codec = WireCodec({"authorization": Bearer()}, Json({**passkey_codec("fido_p256"), "challengeIdentifier": Jwt()}))
    # A challenge is void after five failed attempts.
    patience = 4

    def __init__(self, server: InProcess, caller: Caller, key: NewKey, passkey: NewPasskey) -> None:
        self._key, self._passkey = key, passkey
        super().__init__(server, caller)

    def renew(self) -> None:
        challenge = self.caller.challenge("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519"})
        body = {
            "challengeIdentifier": challenge["challengeIdentifier"],
            "firstFactor": self._key.factor(challenge["challenge"]),
            "secondFactor": self._passkey.factor(challenge["challenge"]),
        }
        self.wire = Wire("POST", b"/auth/action", self.headers(), compact(body))

    def allowed(self, wire: Wire) -> bool:
        (identifier, factors), (own_identifier, own_factors) = self._meaning(wire), self._meaning(self.wire)
        # Either factor is enough by itself, and which is the first makes no difference.
        return super().allowed(wire) and identifier == own_identifier and factors <= own_factors

    def _meaning(self, wire: Wire) -> tuple[str, frozenset[Any]]:
        needed = {"challengeIdentifier", "firstFactor"}
        body = readers.read_object(wire.body, needed=needed, optional={"secondFactor"})
        key_meaning = key_assertion_meaning("ed25519")
        passkey_meaning = passkey_factor_meaning("p256", self._passkey.user_id)
        factors = [body[name] for name in ("firstFactor", "secondFactor") if name in body]
        read = [passkey_meaning(factor) if factor["kind"] == "Fido2" else key_meaning(factor) for factor in factors]
        return body["challengeIdentifier"], frozenset(read)


class Enrol(Flow):
    """A new credential by a code: whoever completes this is nobody yet."""

    name = "request: enrolment of a key"
    kind = "Key"
    codec = WireCodec({}, Json({**enrolment_codec("ed25519"), "challengeIdentifier": Jwt()}))

    def renew(self) -> None:
        expires = int(datetime.now(UTC).timestamp()) + 50
        made = self.caller.signed("POST", "/auth/credentials/code", {"expiration": expires})
        code = made.json()["code"]
        body = {"code": code, "credentialKind": self.kind}
        self.challenge = self.caller.send("POST", "/auth/credentials/code/init", body).json()
        info = self.new().info(self.challenge["challenge"])
        wanted = new_body(self.challenge, info)
        headers = ((b"content-type", b"application/json"),)
        self.wire = Wire("POST", b"/auth/credentials/code/verify", headers, compact(wanted))

    def new(self) -> Any:
        return NewKey()

    def allowed(self, wire: Wire) -> bool:
        mine, own = self._body(wire), self._body(self.wire)
        same = mine["challengeIdentifier"] == own["challengeIdentifier"] and mine["credentialKind"] == self.kind
        return same and self._same(mine["credentialInfo"], own["credentialInfo"])

    def _body(self, wire: Wire) -> dict[str, Any]:
        # The name is whatever its owner calls it.
        needed = {"challengeIdentifier", "credentialName", "credentialKind", "credentialInfo"}
        return readers.read_object(wire.body, needed=needed)

    def _same(self, mine: Any, own: Any) -> bool:
        return key_enrolment_meaning("ed25519", mine)[0] == key_enrolment_meaning("ed25519", own)[0]


class EnrolPasskey(Enrol):
    """The same with a passkey without attestation, which may say of itself what it likes but for the ceremony."""

    name = "request: enrolment of a passkey"
    kind = "Fido2"
    codec = WireCodec({}, Json({**registration_codec(), "challengeIdentifier": Jwt()}))

    def new(self) -> Any:
        return NewPasskey("")

    def _same(self, mine: Any, own: Any) -> bool:
        client, data, *_ = registration_reading(mine, self.challenge["challenge"])
        own_client, own_data, *_ = registration_reading(own, self.challenge["challenge"])
        page = client["origin"] == own_client["origin"] and client.get("crossOrigin", False) is False
        return page and "topOrigin" not in client and data.rp_id_hash == own_data.rp_id_hash


class Application(Flow):
    """A request that a server-signed application signs; the caller's token is bound to the application."""

    name = "request: API signature"
    codec = WireCodec(
        {
            "authorization": Bearer(),
            "x-dfns-appsecret": TOKEN,
            "x-dfns-nonce": Latin1(Base64(Json())),
            "x-dfns-apisignature": Latin1(Base64(Bytes())),
        },
        None,
        ("POST", "DELETE", "HEAD", "get", "PUT"),
    )

    def __init__(self, server: InProcess, caller: Caller, app_id: str, secret: str, key: Ed25519PrivateKey) -> None:
        self._app_id, self._secret, self._key = app_id, secret, key
        super().__init__(server, caller)

    def renew(self) -> None:
        headers = {
            "host": "api.example.org",
            "accept": "application/json",
            "user-agent": "of a test",
            "authorization": f"Bearer {self.caller.token}",
            "x-dfns-appid": self._app_id,
            "x-dfns-appsecret": self._secret,
            "x-dfns-nonce": new_nonce(),
        }
        payload = compact(signing_payload(SignedRequest("GET", "/keys?limit=1", headers, b""), "http"))
        head = base64url.encode(compact({"alg": "EdDSA", "typ": "JWT"}))
        signature = self._key.sign(f"{head}.{base64url.encode(payload)}".encode())
        headers["x-dfns-apisignature"] = base64url.encode(signature)
        lines = tuple((name.encode(), value.encode()) for name, value in headers.items())
        self.wire = Wire("GET", b"/keys?limit=1", lines)

    def allowed(self, wire: Wire) -> bool:
        signed = ("host", "authorization", "content-type", "x-dfns-useraction", "content-length")
        named = (*signed, "x-dfns-appid", "x-dfns-appsecret", "x-dfns-nonce", "x-dfns-apisignature")
        same = all(wire.values(name) == self.wire.values(name) for name in named)
        # Of these the last one counts, and is signed.
        same = same and all(wire.last(name) == self.wire.last(name) for name in ("accept", "user-agent"))
        return same and (wire.method, wire.target) == (self.wire.method, self.wire.target)


def text_of(wire: Wire) -> str:
    """For a failure's message."""
    lines = [
        f"{wire.method} {wire.target!r}",
        *(f"{name!r}: {value!r}" for name, value in wire.headers),
        repr(wire.body),
    ]
    return "\n".join(lines)
