"""What travels in headers: tokens of each place, challenges, nonces, API signatures; and forgeries with a MAC key."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from countersign.access import jwt, nonce
from countersign.access.api_signature import Granted, SignedRequest, verify_api_signature
from countersign.consent.action_token import (
    Matched,
    match_request,
    parse_action_claims,
    parse_challenge_claims,
    verify_action,
)
from countersign.consent.challenge import parse_challenge
from countersign.consent.digest import payload_hash
from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.encoding.strictjson import parse_payload
from countersign.encoding.target import parse_signed_path
from tests.consent.ceremony import INSTALLATION, NOW, ORG, PUBLIC, USER, Ceremony
from tests.fuzz import readers
from tests.fuzz.key_subjects import CLIENT_DATA, sign
from tests.fuzz.mutations import Base64, Bytes, Codec, RawEcdsaSignature, Text
from tests.fuzz.readers import ORDERS, read64
from tests.fuzz.subjects import Case, Subject, compact, public_key
from tests.fuzz.trees import Json, Jwt
from tests.support.authenticator import CHALLENGE

ISSUER = "auth.example.org"
SIGNER = jwt.Ed25519Signer("token-key", bytes(range(32)))
CHALLENGE_MAC = jwt.MacKey("challenge-key", b"c" * 32)
ACTION_MAC = jwt.MacKey("action-key", b"a" * 32)
_TOKEN_KEYS = {SIGNER.kid: SIGNER.public_key}
_PURPOSES = ("login", "registration", "recovery", "credential", "credentialCode", "oidcCredential")


class Latin1:
    """A text codec for what stands in a header: characters are bytes there."""

    def __init__(self, codec: Codec[str]) -> None:
        self._codec = codec

    def mutate(self, rng: Random, value: bytes, other: bytes) -> bytes:
        text = self._codec.mutate(
            rng, value.decode("utf-8", "surrogateescape"), other.decode("utf-8", "surrogateescape")
        )
        return text.encode("utf-8", "surrogatepass") if _lone_surrogate(text) else text.encode()


def _lone_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def header_text(message: bytes) -> str:
    """A header's value as the server decodes it."""
    return message.decode("latin-1")


def _claims(jti: str, metadata: dict[str, Any], **others: Any) -> dict[str, Any]:
    named = {"userId": USER, "orgId": ORG} | metadata
    times = {"iat": NOW, "exp": NOW + 900} | others
    return {"iss": ISSUER, "aud": jwt.AUDIENCE, "sub": ORG, "jti": jti, **times, "https://custom/app_metadata": named}


def tokens() -> list[tuple[str, jwt.Place, dict[str, bytes]]]:
    """One token of each kind, with its place and the keys of that place."""
    bearer = jwt.Place("JWT", "EdDSA", ISSUER, frozenset({"Token", "ServiceAccount", "Pat"}))
    made: list[tuple[Any, str, Any, jwt.Place, dict[str, bytes]]] = []
    for number, kind in enumerate(("Token", "ServiceAccount", "Pat")):
        claims = _claims(f"to-4c8nd-3r6ta-{number}f1h3j5l7n9p1r3t", {"tokenKind": kind})
        made.append((claims, "JWT", SIGNER, bearer, _TOKEN_KEYS))
    application = jwt.Place("JWT", "EdDSA", ISSUER, frozenset({"Application"}))
    claims = _claims("to-4c8nd-3r6ta-9f1h3j5l7n9p1r3t", {"tokenKind": "Application", "appId": "ap-1"})
    made.append((claims, "JWT", SIGNER, application, _TOKEN_KEYS))
    for purpose in _PURPOSES:
        place = jwt.Place("JWT", "EdDSA", ISSUER, frozenset({"Temp"}), purpose)
        claims = _claims("uj-1", {"tokenKind": "Temp", "purpose": purpose, "challenge": CHALLENGE})
        made.append((claims, "JWT", SIGNER, place, _TOKEN_KEYS))
    challenge = jwt.Place("challenge+jwt", "HS256", ISSUER, frozenset({"Temp"}), "action")
    for number in range(2):
        made.append(
            (challenge_claims(number), "challenge+jwt", CHALLENGE_MAC, challenge, {CHALLENGE_MAC.kid: b"c" * 32})
        )
    for number in range(2):
        ceremony = Ceremony(challenge_id=f"ch-8a2lc-2e6gf-{number}m8o0q2s4u6w8y0a")
        made.append((ceremony.claims(), "action+jwt", ACTION_MAC, ACTION_PLACE, {ACTION_MAC.kid: b"a" * 32}))
    return [(jwt.encode(claims, typ, key), place, keys) for claims, typ, key, place, keys in made]


ACTION_PLACE = jwt.Place("action+jwt", "HS256", ISSUER, frozenset({"UserAction"}))


def challenge_claims(number: int) -> dict[str, Any]:
    """Claims of a challenge identifier."""
    metadata = {
        "tokenKind": "Temp",
        "purpose": "action",
        "challenge": Ceremony(challenge_id=f"ch-8a2lc-2e6gf-{number}m8o0q2s4u6w8y0a").challenge.text,
        "tokenId": "uj-4c8nd-3r6ta-8f1h3j5l7n9p1r3t",
        "callerKind": "Token",
        "method": "POST",
        "path": "/keys",
        "query": None,
        "epochs": {"user": 0, "token": 0, "org": 0},
    }
    return _claims("uj-8c8nd-3r6ta-8f1h3j5l7n9p1r3t", metadata)


def _tokens() -> Subject:
    """A token has one spelling and one place; only those of one place may stand for each other."""
    made = tokens()
    of_place: dict[jwt.Place, dict[bytes, str]] = {}
    for text, place, _ in made:
        claims = readers.read_json(read64(text.split(".")[1]))
        of_place.setdefault(place, {})[text.encode()] = claims["jti"]
    cases = []
    for text, place, keys in made:

        def accept(mutated: bytes, place: jwt.Place = place, keys: Any = keys) -> Hashable | None:
            verified = jwt.verify(header_text(mutated), place, keys, NOW + 1)
            return None if isinstance(verified, jwt.Refused) else verified.claims.jti

        cases.append(Case(text.encode(), accept, of_place[place].get))
    return Subject("tokens of each place", Latin1(Jwt(SIGNER.public_key)), cases, 9.0)


def _stolen_mac() -> Subject:
    """Claims of an action token under the real MAC key: they perform nothing but what the credential signed.

    Not even with that: a second time (the id that is spent follows from the signed challenge) or much later.
    """
    performed = [Ceremony(), Ceremony(method="PUT", path="/keys/key-1?a=b", payload='{"name":"x"}', double=True)]
    others = [
        Ceremony(payload='{"scheme":"EdDSA","curve":"ed25519"}'),
        Ceremony(path="/keys/key-2"),
        Ceremony(path="/keys?force=true"),
        Ceremony(method="DELETE", path="/keys/key-1"),
    ]
    cases = []
    for own in performed:
        claims = own.claims()
        message = msgspec.json.encode(claims)

        def accept(mutated: bytes, own: Ceremony = own) -> Hashable | None:
            try:
                token = jwt.encode(mutated, "action+jwt", ACTION_MAC)
            except ValueError:
                return None
            verified = jwt.verify(token, ACTION_PLACE, {ACTION_MAC.kid: ACTION_MAC.secret}, NOW + 1)
            if isinstance(verified, jwt.Refused):
                return None
            read = parse_action_claims(verified.payload)
            if isinstance(read, Refused) or isinstance(verify_action(read, PUBLIC), Refused):
                return None
            done = [number for number, each in enumerate((own, *others)) if _matches(read, each)]
            late = read.exp > NOW + 900 + 900
            return (tuple(done), read.jti, late, read.metadata.user_id, read.metadata.org_id) if done else None

        taken = (0,), claims.jti, False, USER, ORG
        cases.append(Case(message, accept, lambda _mutated, taken=taken: taken))
    claims = ("jti", "sub", "userId", "orgId", "challengeId", "action", "credentialUuid", "method", "path", "query")
    evidence = {"clientData": Base64(CLIENT_DATA), "signature": Base64(Bytes())}
    return Subject(
        "action token under the stolen MAC key", Json({**dict.fromkeys(claims, Text()), **evidence}), cases, 3.0
    )


def _matches(claims: Any, ceremony: Ceremony) -> bool:
    target = parse_signed_path(ceremony.path)
    hashed = payload_hash(parse_payload(ceremony.payload))
    return isinstance(match_request(claims, INSTALLATION, ceremony.method, target, hashed), Matched)


def _challenges() -> Subject:
    """A challenge string by itself proves nothing; it must be read in one way only."""

    def accept(mutated: bytes) -> Hashable | None:
        read = parse_challenge(header_text(mutated))
        return None if isinstance(read, Refused) else (read.id, read.nonce, read.exp, read.action)

    def allowed(mutated: bytes) -> Hashable | None:
        read = readers.read_object(read64(mutated.decode()), needed={"id", "nonce", "exp", "action"})
        for name, prefix in (("id", "ch"), ("nonce", "no")):
            if not re.fullmatch(prefix + r"-[a-z0-9]{5}-[a-z0-9]{5}-[a-z0-9]{14,16}", read[name]):
                return None
        return read["id"], read["nonce"], read["exp"], read["action"]

    messages = [Ceremony(challenge_id=f"ch-8a2lc-2e6gf-{number}m8o0q2s4u6w8y0a").challenge.text for number in range(2)]
    cases = [Case(message.encode(), accept, allowed) for message in messages]
    return Subject("challenge string", Latin1(Base64(Json({"id": Text(), "nonce": Text()}))), cases, 1.5)


def _challenge_claims() -> Subject:
    """The claims of a challenge identifier, as if under the MAC: strictly what this server writes."""

    def accept(mutated: bytes) -> Hashable | None:
        read = parse_challenge_claims(mutated)
        return None if isinstance(read, Refused) else (read.metadata.method, read.metadata.path, read.metadata.query)

    def allowed(mutated: bytes) -> Hashable | None:
        # Members that the last of two decides: no client writes these claims.
        read = json.loads(mutated.decode())["https://custom/app_metadata"]
        return read["method"], read["path"], read["query"]

    cases = [Case(compact(challenge_claims(number)), accept, allowed) for number in range(2)]
    return Subject("claims of a challenge identifier", Json(), cases, 1.0)


def _nonces(strict: bool) -> Subject:
    """A nonce by itself proves nothing; two texts with one id must be one nonce, within the window."""
    date = datetime.fromtimestamp(NOW, UTC)
    seconds, millis = date.strftime("%Y-%m-%dT%H:%M:%SZ"), date.strftime("%Y-%m-%dT%H:%M:%S.123Z")
    identifier = "3d2d1fcf-2b1d-4c57-a3ce-7e1a6b0a8f11"
    forms = [compact({"uuid": identifier, "date": millis})]
    if not strict:
        forms += [
            compact({"uuid": identifier, "datetime": seconds}),
            compact({"nonce": identifier, "datetime": seconds}),
        ]
    messages = [base64url.encode(form).encode() for form in forms]
    codec: Codec[bytes] = Latin1(Base64(Json({"uuid": Text(), "nonce": Text(), "date": Text(), "datetime": Text()})))

    def accept(mutated: bytes) -> Hashable | None:
        read = nonce.parse(header_text(mutated), NOW * 1000, strict=strict)
        return None if isinstance(read, nonce.Refused) else read.digest

    cases = [Case(message, accept, lambda mutated: nonce_digest(mutated, NOW, strict=strict)) for message in messages]
    if not strict:
        cases += [Case(form, accept, lambda mutated: nonce_digest(mutated, NOW, strict=False)) for form in forms]
        codec = _EitherForm(codec, Json({"uuid": Text(), "date": Text()}))
    return Subject(f"nonce header{' (strict)' if strict else ''}", codec, cases, 1.5)


class _EitherForm:
    """Raw JSON or base64 of it."""

    def __init__(self, encoded: Codec[bytes], raw: Codec[bytes]) -> None:
        self._encoded = encoded
        self._raw = raw

    def mutate(self, rng: Random, value: bytes, other: bytes) -> bytes:
        return (self._raw if value.startswith(b"{") else self._encoded).mutate(rng, value, other)


def nonce_digest(header: bytes, now: int, *, strict: bool) -> str | None:
    """SHA-256 of the id in a nonce header that is valid at this time (in seconds)."""
    text = header.decode("latin-1")
    raw = text.startswith("{")
    read = readers.read_json(text if raw else read64(text))
    ids, dates = ({"uuid", "nonce"} & read.keys()), ({"date", "datetime"} & read.keys())
    if (
        len(text) > 512
        or len(ids) != 1
        or len(dates) != 1
        or (strict and (raw, ids, dates) != (False, {"uuid"}, {"date"}))
    ):
        return None
    identifier, date = read[ids.pop()], read[dates.pop()]
    least = 13 if strict else 12
    if not least <= len(identifier) <= 128 or not re.fullmatch(r"[!-~]+", identifier):
        return None
    moment = datetime.fromisoformat(date)
    window = timedelta(seconds=-300), timedelta(seconds=60)
    inside = window[0] <= moment - datetime.fromtimestamp(now, UTC) <= window[1]
    return hashlib.sha256(identifier.encode()).hexdigest() if inside else None


_SIGNED_HEADERS = (
    *("accept", "authorization", "content-length", "content-type", "host", "user-agent"),
    *("x-dfns-appid", "x-dfns-appsecret", "x-dfns-nonce", "x-dfns-useraction"),
)
_HOP_HEADERS = ("accept-encoding", "connection")


def _api_signatures() -> Subject:
    cases = []
    for name in ("app_rsa2048", "p256", "ed25519"):
        key = public_key(name)
        algorithm = {"rsa": "RS256", "p256": "ES256", "ed25519": "EdDSA"}[key.kind]
        headers = {
            "host": "api.example.org",
            "authorization": "Bearer a.b.c",
            "content-type": "application/json",
            "content-length": "12",
            "user-agent": "client/1",
            "accept": "*/*",
            "accept-encoding": "gzip",
            "x-dfns-appid": "ap-1",
            "x-dfns-appsecret": f"secret of {name}",
            "x-dfns-nonce": "bm9uY2U",
        }
        request = {"method": "POST", "target": f"/keys?of={name}", "headers": headers, "body": '{"a":"é"}'}
        payload = api_payload(request, {"accept-encoding": ""} if name == "p256" else {})
        head = base64url.encode(compact({"alg": algorithm, "typ": "JWT"}))
        signature = sign(name, f"{head}.{base64url.encode(payload)}".encode())
        if algorithm == "ES256":
            r, s = readers.decode_dss_signature(signature)
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        headers["x-dfns-apisignature"] = base64url.encode(signature)

        def accept(mutated: bytes, key: Any = key) -> Hashable | None:
            request = _wire(mutated)
            if request is None:
                return None
            granted = verify_api_signature(request, key, frozenset({"api.example.org"}))
            return "granted" if isinstance(granted, Granted) else None

        message = compact(request)
        expected = _signed_of(message, key.kind)

        def allowed(mutated: bytes, expected: Any = expected, kind: str = key.kind, any_: bool = name == "p256") -> Any:
            signed, hops = _signed_of(mutated, kind)
            # Signed as absent, this header may be anything: a proxy adds it.
            ignored = {"accept-encoding"} if any_ else set()
            same = all(hops[hop] == expected[1][hop] or hop in ignored for hop in _HOP_HEADERS)
            return "granted" if signed == expected[0] and same else None

        cases.append(Case(message, accept, allowed))
    signature = _ApiSignature()
    codec = Json(
        {"x-dfns-apisignature": signature, **dict.fromkeys(("authorization", "target", "method", "body"), Text())}
    )
    return Subject("API signature", codec, cases, 3.0)


class _ApiSignature:
    """The header: base64url of a signature, of which some are two numbers of P-256."""

    def mutate(self, rng: Random, value: str, other: str) -> str:
        order = ORDERS["p256"]
        return Base64(RawEcdsaSignature(order) if len(value) == 86 else Bytes()).mutate(rng, value, other)


def api_payload(request: dict[str, Any], changed: dict[str, str]) -> bytes:
    """The text that a client signs, its hop headers as ``changed`` says."""
    headers = request["headers"] | changed
    names = sorted((*_SIGNED_HEADERS, *_HOP_HEADERS))
    members = {f"h-{name}": headers.get(name, "") for name in names} | {
        "r-authority": headers["host"],
        "r-body": base64url.encode(request["body"].encode()),
        "r-method": request["method"].lower(),
        "r-path": request["target"],
        "r-scheme": "https",
    }
    return compact(members)


def _wire(mutated: bytes) -> SignedRequest | None:
    """A request that could arrive: texts, and headers without blanks around their values."""
    try:
        read = readers.read_json(mutated)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict) or read.keys() != {"method", "target", "headers", "body"}:
        return None
    headers = read["headers"]
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        return None
    texts = read["method"], read["target"], read["body"]
    if not all(isinstance(text, str) for text in texts):
        return None
    try:
        body = texts[2].encode()
        json.dumps(read, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None
    named = {name.lower(): value.strip() for name, value in headers.items() if value.strip()}
    return SignedRequest(texts[0], texts[1], named, body)


def _signed_of(message: bytes, kind: str) -> tuple[Hashable, dict[str, str]]:
    """What is signed of a request, but for the hop headers; and these."""
    request = _wire(message)
    if request is None:
        raise ValueError("no request")
    headers = request.headers
    raw = read64(headers["x-dfns-apisignature"])
    signature: Hashable = raw
    if kind == "p256":
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        signature = len(raw), r, min(s, ORDERS["p256"] - s)
    values = tuple(headers.get(name, "") for name in _SIGNED_HEADERS)
    signed = request.method.lower(), request.target, request.body, values, signature
    return signed, {name: headers.get(name, "") for name in _HOP_HEADERS}


def subjects() -> list[Subject]:
    """All of them."""
    return [
        _tokens(),
        _stolen_mac(),
        _challenges(),
        _challenge_claims(),
        _nonces(False),
        _nonces(True),
        _api_signatures(),
    ]
