"""A8: a token is accepted at its own place, under our keys, with our claims, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from nacl.signing import SigningKey

from countersign.access import jwt
from countersign.access.keyring import KeyRing, token_hash
from countersign.consent.action_token import action_id
from countersign.encoding import base64url
from tests.support.caller import Caller, compact
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants

PATH = "/keys/key-00000-00000-0000000000000000"
BODY = {"name": "a"}
METADATA = "https://custom/app_metadata"
ATTACKER = SigningKey(bytes(range(32)))


@dataclass(frozen=True, slots=True)
class Parts:
    """A token taken apart; ``key`` signs what it is put together of again."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: jwt.Ed25519Signer | jwt.MacKey

    def text(self, header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None) -> str:
        signed = self.signing_input(header, claims)
        return f"{signed}.{base64url.encode(self.key.sign(signed.encode()))}"

    def signing_input(self, header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None) -> str:
        head = base64url.encode(compact(header if header is not None else self.header).encode())
        return f"{head}.{base64url.encode(compact(claims if claims is not None else self.claims).encode())}"


def parts(token: str, key: jwt.Ed25519Signer | jwt.MacKey) -> Parts:
    header, claims, _ = token.split(".")
    return Parts(json.loads(base64url.decode(header)), json.loads(base64url.decode(claims)), key)


class Place:
    """A place of the API that takes a token: a good one, what a bad one gets, and how to present one."""

    def __init__(self, name: str, tenants: Tenants, identity: Identity) -> None:
        self.name = name
        self.tenants = tenants
        self.identity = identity
        self.ring: KeyRing = tenants.ring
        self.caller = Caller(identity.connection)
        self.challenge = self.caller.challenge("PUT", PATH, BODY)
        if name == "Authorization":
            token, key = self.caller.token, self.ring.token_signer
        elif name == "challengeIdentifier":
            token, key = self.challenge["challengeIdentifier"], self.ring.challenge_signer
        else:
            token, key = self.caller.action_token("PUT", PATH, BODY), self.ring.action_signer
        self.token = token
        self.good = parts(token, key)

    @property
    def refusal(self) -> tuple[int, str]:
        return {
            "Authorization": (401, "UNAUTHENTICATED"),
            "challengeIdentifier": (400, "CHALLENGE_INVALID"),
            "X-DFNS-USERACTION": (403, "USER_ACTION_INVALID"),
        }[self.name]

    def present(self, token: str) -> httpx.Response:
        """Send the token where it belongs; its stored hash is made to fit, so that only its text decides."""
        if self.name == "Authorization":
            sql = "UPDATE tokens SET hash = ? WHERE token_id = ?"
            self.tenants.execute(sql, token_hash(token), self.identity.token_id)
            try:
                return self.caller.send("GET", "/auth/credentials", headers={"Authorization": f"Bearer {token}"})
            finally:
                self.tenants.execute(sql, token_hash(self.caller.token), self.identity.token_id)
        if self.name == "challengeIdentifier":
            return self.caller.answer({**self.challenge, "challengeIdentifier": token})
        return self.caller.send("PUT", PATH, BODY, action=token)

    def accepts(self, token: str) -> bool:
        answer = self.present(token)
        if answer.status_code in (200, 404) or answer.json()["error"]["code"] == "USER_ACTION_REUSED":
            return True
        assert (answer.status_code, answer.json()["error"]["code"]) == self.refusal
        return False


PLACES = ("Authorization", "challengeIdentifier", "X-DFNS-USERACTION")


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, shared_sandbox: Sandbox, shared_tenants: Tenants) -> Place:
    identity = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    return Place(request.param, shared_tenants, identity)


Forge = Callable[[Place], str]


def _by(place: Place, signed: str, signature: bytes) -> str:
    return f"{signed}.{base64url.encode(signature)}"


def _header(**changes: Any) -> Forge:
    return lambda place: place.good.text(header={**place.good.header, **changes})


def _claims(**changes: Any) -> Forge:
    return lambda place: place.good.text(claims={**place.good.claims, **changes})


def _later(**seconds: int) -> Forge:
    def forge(place: Place) -> str:
        now = place.tenants.world.now() // 1000
        return place.good.text(claims={**place.good.claims, **{name: now + by for name, by in seconds.items()}})

    return forge


def _metadata(**changes: Any) -> Forge:
    return lambda place: place.good.text(
        claims={**place.good.claims, METADATA: {**place.good.claims[METADATA], **changes}}
    )


def _without(part: str, member: str) -> Forge:
    def forge(place: Place) -> str:
        whole = place.good.header if part == "header" else place.good.claims
        rest = {name: value for name, value in whole.items() if name != member}
        return place.good.text(header=rest) if part == "header" else place.good.text(claims=rest)

    return forge


def _none(signature: bytes) -> Forge:
    def forge(place: Place) -> str:
        return _by(place, place.good.signing_input(header={**place.good.header, "alg": "none"}), signature)

    return forge


def _symmetric_with_public_key(place: Place) -> str:
    """The classic: the public key everybody knows, taken for a MAC secret."""
    signer = place.ring.token_signer
    header = {**place.good.header, "alg": "HS256", "kid": signer.kid}
    signed = place.good.signing_input(header=header)
    return _by(place, signed, jwt.MacKey(signer.kid, signer.public_key).sign(signed.encode()))


def _symmetric_with_pem(place: Place) -> str:
    """The same with the key in the form in which it is published."""
    text = compact(jwt.jwks(place.ring.token_keys)).encode()
    header = {**place.good.header, "alg": "HS256", "kid": place.ring.token_signer.kid}
    signed = place.good.signing_input(header=header)
    return _by(place, signed, jwt.MacKey("x", text).sign(signed.encode()))


def _own_key(**header: Any) -> Forge:
    """Signed by the attacker, who says in the header where the key is."""

    def forge(place: Place) -> str:
        signed = place.good.signing_input(header={**place.good.header, "alg": "EdDSA", **header})
        return _by(place, signed, ATTACKER.sign(signed.encode()).signature)

    return forge


_JWK = {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(bytes(ATTACKER.verify_key)), "kid": "mine"}


def _under_another_purpose(purpose: str) -> Forge:
    """Our own key, of another place."""

    def forge(place: Place) -> str:
        ring = place.ring
        key: jwt.Ed25519Signer | jwt.MacKey
        if purpose == "token":
            key = ring.token_signer
        elif purpose == "checkpoint":
            active = ring.keys.active("checkpoint")
            key = jwt.Ed25519Signer(active.kid, active.secret)
        else:
            key = {"challenge": ring.challenge_signer, "action": ring.action_signer}[purpose]
        if key.kid == place.good.key.kid:
            # At its own place the same key under another algorithm's name.
            return place.good.text(header={**place.good.header, "alg": "HS512"})
        header = {**place.good.header, "alg": key.algorithm, "kid": key.kid}
        return Parts(place.good.header, place.good.claims, key).text(header=header)

    return forge


def _flip(place: Place) -> str:
    signed, _, signature = place.token.rpartition(".")
    raw = bytearray(base64url.decode(signature))
    raw[-1] ^= 1
    return _by(place, signed, bytes(raw))


def _second_header_member(place: Place) -> str:
    text = compact(place.good.header).encode()
    doubled = text[:-1] + b',"alg":"' + place.good.header["alg"].encode() + b'"}'
    signed = f"{base64url.encode(doubled)}.{place.token.split('.')[1]}"
    return _by(place, signed, place.good.key.sign(signed.encode()))


def _loose_last_character(place: Place) -> str:
    """Another last character that a careless decoder reads as the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return place.token[:-1] + alphabet[alphabet.index(place.token[-1]) + 1]


FORGERIES: dict[str, Forge] = {
    "alg none, no signature": _none(b""),
    "alg none, old signature": _none(bytes(64)),
    "alg None": _header(alg="None"),
    "no alg": _without("header", "alg"),
    "alg as a list": _header(alg=["EdDSA"]),
    "HS256 under the public key": _symmetric_with_public_key,
    "HS256 under the published key set": _symmetric_with_pem,
    "own key, own kid": _own_key(kid="mine"),
    "own key, our kid": _own_key(),
    "own key in jwk": _own_key(jwk=_JWK),
    "own key at jku": _own_key(jku="http://127.0.0.1:9/jwks.json", kid="mine"),
    "own key at x5u": _own_key(x5u="http://127.0.0.1:9/cert.pem"),
    "own key in x5c": _own_key(x5c=["MIIB"]),
    "kid is a path": _header(kid="../../../../dev/null"),
    "kid is SQL": _header(kid="' OR 1=1 --"),
    "kid is empty": _header(kid=""),
    "kid is a number": _header(kid=0),
    "no kid": _without("header", "kid"),
    "our key but an unknown kid": _header(kid="sk-00000-00000-0000000000000000"),
    "jwk beside a good signature": _header(jwk=_JWK),
    "crit": _header(crit=["exp"]),
    "b64 false": _header(b64=False),
    "zip": _header(zip="DEF"),
    "typ of another place": lambda place: place.good.text(
        header={**place.good.header, "typ": "JWT" if place.name != "Authorization" else "action+jwt"}
    ),
    "typ in another case": lambda place: place.good.text(
        header={**place.good.header, "typ": place.good.header["typ"].swapcase()}
    ),
    "no typ": _without("header", "typ"),
    "header member twice": _second_header_member,
    "token key of another place": _under_another_purpose("token"),
    "challenge key": _under_another_purpose("challenge"),
    "action key": _under_another_purpose("action"),
    "checkpoint key": _under_another_purpose("checkpoint"),
    "other issuer": _claims(iss="in-00000-00000-0000000000000000"),
    "no issuer": _without("claims", "iss"),
    "other audience": _claims(aud="dfns:auth:app"),
    "audience as a list": _claims(aud=["dfns:auth:user"]),
    "no audience": _without("claims", "aud"),
    "subject is another organisation": _claims(sub="or-00000-00000-0000000000000000"),
    "organisation is another": _metadata(orgId="or-00000-00000-0000000000000000"),
    "expired": _later(exp=0),
    "long expired": _later(iat=-10_000, exp=-9_000),
    "no expiry": _without("claims", "exp"),
    "expiry is text": _claims(exp="9999999999"),
    "expiry is a fraction": _claims(exp=9999999999.5),
    "issued in the future": _later(iat=120),
    "no issue time": _without("claims", "iat"),
    "not before": _later(nbf=120),
    "another kind": _metadata(tokenKind="Application"),
    "kind in another case": lambda place: _metadata(tokenKind=place.good.claims[METADATA]["tokenKind"].lower())(place),
    "kind as a list": lambda place: _metadata(tokenKind=[place.good.claims[METADATA]["tokenKind"]])(place),
    "another purpose": _metadata(purpose="recovery"),
    "no metadata": _without("claims", METADATA),
    "metadata is text": _claims(**{METADATA: "x"}),
    "claims are a list": lambda place: _claims_text(place, b"[]"),
    "claims are not JSON": lambda place: _claims_text(place, b"{"),
    "claims are not UTF-8": lambda place: _claims_text(place, b'{"iss":"\xff"}'),
    "another id": _claims(jti="uj-00000-00000-0000000000000000"),
    "one bit of the signature": _flip,
    "no signature": lambda place: place.token.rpartition(".")[0] + ".",
    "signature cut": lambda place: place.token[:-4],
    "signature and more": lambda place: place.token + "AAAA",
    "two segments": lambda place: place.token.rpartition(".")[0],
    "four segments": lambda place: place.token + ".e30",
    "padding": lambda place: place.token + "=",
    "careless base64": _loose_last_character,
    "standard base64": lambda place: place.token.replace("-", "+").replace("_", "/") + "==",
    "one character": lambda place: ".",
    "three dots": lambda place: "...",
    "longer than any token": lambda place: place.token + "A" * 9000,
}


def _claims_text(place: Place, text: bytes) -> str:
    signed = f"{base64url.encode(compact(place.good.header).encode())}.{base64url.encode(text)}"
    return _by(place, signed, place.good.key.sign(signed.encode()))


def test_a8_the_untouched_token_is_good_at_its_place(place: Place) -> None:
    assert place.accepts(place.token)
    # Put together again with the true key: what follows is refused for the one thing that it changes.
    assert place.accepts(place.good.text())


@pytest.mark.parametrize("name", FORGERIES)
def test_a8_a_forged_token_is_refused(place: Place, name: str) -> None:
    if place.name == "challengeIdentifier" and name == "another id":
        return  # the id of a challenge token identifies nothing
    assert not place.accepts(FORGERIES[name](place))


def test_a8_a_token_of_one_kind_is_not_taken_as_another(shared_sandbox: Sandbox, shared_tenants: Tenants) -> None:
    identity = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    account = shared_tenants.service_account(shared_sandbox.values["orgId"], everything=True)
    places = {name: Place(name, shared_tenants, identity) for name in PLACES}
    tokens = {name: place.token for name, place in places.items()} | {
        "service account": account.connection["authToken"]
    }
    for name, place in places.items():
        for kind, token in tokens.items():
            if kind == name or (name == "Authorization" and kind == "service account"):
                continue
            assert not place.accepts(token), f"{kind} token at {name}"


@pytest.mark.parametrize(
    "value",
    [
        "Basic {token}",
        "Bearer",
        "Bearer  {token}",
        "Bearer {token} x",
        "{token}",
        "Token {token}",
        "Bearer {token},x",
        "Bearer\t{token}",
    ],
)
def test_a8_only_one_form_of_the_authorization_header(shared_sandbox: Sandbox, value: str) -> None:
    with Caller(shared_sandbox.service) as caller:
        header = {"Authorization": value.format(token=caller.token)}
        answer = caller.send("GET", "/auth/credentials", headers=header)
        assert answer.json()["error"]["code"] in ("UNAUTHENTICATED", "BAD_HEADER")


def test_a8_a_token_is_not_read_from_query_or_cookie(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        blank = {"Authorization": "", "Cookie": f"Authorization=Bearer {caller.token}; token={caller.token}"}
        assert caller.send("GET", "/auth/credentials", headers=blank).status_code == 401
        path = f"/auth/credentials?access_token={caller.token}"
        assert caller.send("GET", path, headers=blank).json()["error"]["code"] in ("UNAUTHENTICATED", "VALIDATION")


def test_a8_a_stolen_token_key_issues_no_tokens(shared_sandbox: Sandbox, shared_tenants: Tenants) -> None:
    """Access tokens rest on a stored hash: the signing key alone makes none."""
    identity = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    good = parts(identity.connection["authToken"], shared_tenants.ring.token_signer)
    with Caller(identity.connection) as caller:
        for claims in (
            {**good.claims, "exp": good.claims["exp"] + 1},
            {**good.claims, "jti": "to-00000-00000-0000000000000000"},
            {**good.claims, METADATA: {**good.claims[METADATA], "tokenKind": "ServiceAccount"}},
        ):
            header = {"Authorization": f"Bearer {good.text(claims=claims)}"}
            assert caller.send("GET", "/auth/credentials", headers=header).status_code == 401


def test_a3_a_stolen_mac_key_forges_no_consent(shared_sandbox: Sandbox, shared_tenants: Tenants) -> None:
    """Whoever holds the key of action tokens and a victim's bearer token still lacks the credential's signature."""
    org_id = shared_sandbox.values["orgId"]
    victim = shared_tenants.service_account(org_id, everything=True)
    attacker = shared_tenants.session(org_id, everything=True)
    shared_tenants.introduce(victim)
    ring = shared_tenants.ring
    with Caller(victim.connection) as caller, Caller(attacker.connection) as own:
        key = caller.create_key()
        path = f"/keys/{key}"
        token = caller.action_token("PUT", path, BODY)
        good = parts(token, ring.action_signer)
        metadata = good.claims[METADATA]
        of_other = parts(caller.action_token("PUT", path, {"name": "evil"}), ring.action_signer).claims[METADATA]
        of_delete = parts(own.action_token("DELETE", path), ring.action_signer).claims[METADATA]
        challenge = caller.challenge("PUT", path, BODY)
        other_id = json.loads(base64url.decode(challenge["challenge"]))["id"]

        def forged(jti: str | None = None, **changes: Any) -> str:
            claims = {**good.claims, METADATA: {**metadata, **changes}}
            return good.text(claims={**claims, "jti": jti or good.claims["jti"]})

        evidence = own.assertion(challenge["challenge"])["credentialAssertion"]
        foreign = {"kind": "Key", "clientData": evidence["clientData"], "signature": evidence["signature"]}
        attempts: dict[str, tuple[str, str, Any, str]] = {
            "another payload": ("PUT", path, {"name": "evil"}, forged(action=of_other["action"])),
            "another method": ("DELETE", path, None, forged(action=of_delete["action"], method="DELETE")),
            "a second action of one signature": ("PUT", path, BODY, forged(jti="uj-00000-00000-0000000000000000")),
            "the same under another challenge's id": (
                "PUT",
                path,
                BODY,
                forged(jti=action_id(other_id), challengeId=other_id),
            ),
            "signed by the attacker's key": (
                "PUT",
                path,
                BODY,
                forged(jti=action_id(other_id), challengeId=other_id, evidence=foreign),
            ),
            "the attacker's credential": (
                "PUT",
                path,
                BODY,
                forged(
                    jti=action_id(other_id),
                    challengeId=other_id,
                    evidence=foreign,
                    credentialUuid=attacker.credential_uuid,
                ),
            ),
            "a credential nobody has": ("PUT", path, BODY, forged(credentialUuid="cr-00000-00000-0000000000000000")),
            "much later": (
                "PUT",
                path,
                BODY,
                good.text(claims={**good.claims, "exp": good.claims["exp"] + 86_400}),
            ),
        }
        for name, (method, target, body, attempt) in attempts.items():
            answer = caller.send(method, target, body, action=attempt)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "USER_ACTION_INVALID"), name
        assert "name" not in caller.send("GET", path).json()
        # Nothing was spent by all this: the true token still does what was signed.
        assert caller.send("PUT", path, BODY, action=token).status_code == 200
