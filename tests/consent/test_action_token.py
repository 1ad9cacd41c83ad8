import base64
import hashlib
import json
from typing import Any

import msgspec
import pytest

from countersign.consent.action_token import (
    QUERY_NOT_SIGNED,
    ActionClaims,
    ChallengeClaims,
    ChallengeEpochs,
    ChallengeMetadata,
    Matched,
    action_id,
    match_request,
    parse_action_claims,
    parse_challenge_claims,
    verify_action,
)
from countersign.consent.digest import payload_hash
from countersign.consent.evidence import Proven
from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.encoding.identifiers import is_identifier
from countersign.encoding.strictjson import BadJson, parse_payload
from countersign.encoding.target import BadPath, parse_target
from tests.consent.ceremony import INSTALLATION, NOW, ORG, PUBLIC, USER, Ceremony
from tests.support.vectors import auth_vectors, named

_GOOD = Ceremony()
_OTHER_CHALLENGE = "ch-8a2lc-1d5fe-8k6m8o0q2s4u6w8y"


def _challenge_claims() -> ChallengeClaims:
    metadata = ChallengeMetadata(
        user_id=USER,
        org_id=ORG,
        token_kind="Temp",
        purpose="action",
        challenge=_GOOD.challenge.text,
        token_id="to-2j6ra-5p8vc-8h3j5l7n9p1r3t5v",
        caller_kind="Pat",
        app_id="ap-3f7pc-6q1xd-8j5l7n9p1r3t5v7x",
        method="POST",
        path="/keys",
        query=None,
        epochs=ChallengeEpochs(user=1, token=2, org=3),
    )
    jti = "uj-4c8nd-3r6ta-8f1h3j5l7n9p1r3t"
    return ChallengeClaims(iss="i", aud="a", sub=ORG, jti=jti, iat=NOW, exp=NOW + 900, metadata=metadata)


def _payload_of(token: str) -> bytes:
    return base64url.decode(token.split(".")[1])


def test_claims_are_read_back_and_spell_their_members_as_on_the_wire() -> None:
    challenge, action = _challenge_claims(), _GOOD.claims()
    assert parse_challenge_claims(msgspec.json.encode(challenge)) == challenge
    assert parse_action_claims(msgspec.json.encode(action)) == action
    metadata = json.loads(msgspec.json.encode(action))["https://custom/app_metadata"]
    assert set(metadata) == {
        *("userId", "orgId", "tokenKind", "challengeId", "action", "credentialUuid", "tokenId", "callerKind"),
        *("method", "path", "query", "epochs", "evidence"),
    }
    assert metadata["query"] is None
    assert set(metadata["evidence"]) == {"kind", "clientData", "signature"}
    assert set(metadata["epochs"]) == {"user", "token", "org", "credential"}


def test_the_claims_of_one_token_are_not_those_of_the_other() -> None:
    assert isinstance(parse_action_claims(msgspec.json.encode(_challenge_claims())), Refused)
    assert isinstance(parse_challenge_claims(msgspec.json.encode(_GOOD.claims())), Refused)


def test_tokens_that_carry_no_binding_and_no_evidence_are_refused() -> None:
    jwt = auth_vectors()["jwt"]
    assert isinstance(parse_challenge_claims(_payload_of(jwt["challenge_identifier_action"]["token"])), Refused)
    assert isinstance(parse_action_claims(_payload_of(jwt["user_action_token"]["token"])), Refused)


@pytest.mark.parametrize("name", ["tokenId", "callerKind", "method", "path", "query", "epochs", "evidence", "action"])
def test_no_member_of_the_binding_may_be_missing(name: str) -> None:
    claims = json.loads(msgspec.json.encode(_GOOD.claims()))
    del claims["https://custom/app_metadata"][name]
    assert isinstance(parse_action_claims(json.dumps(claims).encode()), Refused)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b"null"])
def test_a_payload_that_is_no_claims_is_refused(payload: bytes) -> None:
    assert isinstance(parse_action_claims(payload), Refused)
    assert isinstance(parse_challenge_claims(payload), Refused)


def test_the_action_id_is_derived_from_the_challenge_id() -> None:
    id_ = "ch-8a2lc-2e6gf-8m8o0q2s4u6w8y0a"
    digest = hashlib.sha256(b"countersign.action.id.v1" + id_.encode()).digest()
    # Base32 with the extended hex alphabet (RFC 4648 section 7) has the digits 0-9a-v.
    expected = base64.b32hexencode(digest[:10]).decode().lower()
    assert action_id(id_) == f"uj-8a2lc-2e6gf-{expected}"
    assert is_identifier(action_id(id_), "uj")
    assert action_id(id_) != action_id("ch-8a2lc-2e6gf-8m8o0q2s4u6w8y0b")


@pytest.mark.parametrize(
    "text", ["", "ch-8a2lc", "uj-8a2lc-2e6gf-8m8o0q2s4u6w8y0a", "ch-8a2lc-2e6gf-8m8o0q2s4u6w8y0a\n"]
)
def test_only_the_id_of_a_challenge_gives_an_action_id(text: str) -> None:
    with pytest.raises(ValueError, match="challenge"):
        action_id(text)


def test_a_token_that_follows_from_its_evidence_is_proven() -> None:
    assert verify_action(_GOOD.claims(), PUBLIC) == Proven(_GOOD.challenge, None)
    assert verify_action(_GOOD.claims(iat=NOW + 900, exp=NOW + 1800), PUBLIC) == Proven(_GOOD.challenge, None)


@pytest.mark.parametrize(
    "claims",
    [
        _GOOD.claims(jti=action_id(_OTHER_CHALLENGE)),
        _GOOD.claims(jti=action_id(_OTHER_CHALLENGE), metadata=_GOOD.metadata(challenge_id=_OTHER_CHALLENGE)),
        _GOOD.claims(metadata=_GOOD.metadata(challenge_id=_OTHER_CHALLENGE)),
        _GOOD.claims(metadata=_GOOD.metadata(action=Ceremony(path="/wallets").challenge.action)),
        _GOOD.claims(metadata=_GOOD.metadata(evidence=Ceremony(path="/wallets").evidence)),
        _GOOD.claims(iat=NOW + 901, exp=NOW + 1000),
        _GOOD.claims(exp=NOW + 1801),
    ],
)
def test_a_token_that_does_not_follow_from_its_evidence_is_refused_even_under_our_mac(claims: ActionClaims) -> None:
    assert isinstance(verify_action(claims, PUBLIC), Refused)


def _match(ceremony: Ceremony, method: str, target: bytes, body: bytes, **flags: Any) -> Matched | Refused:
    hashed = payload_hash(parse_payload(body))
    return match_request(ceremony.claims(), INSTALLATION, method, parse_target(target), hashed, **flags)


def _result(case: dict[str, Any], allow_unsigned_query: bool) -> str:
    try:
        ceremony = Ceremony(path=case["userActionHttpPath"], payload=case.get("userActionPayload", ""))
        body = base64.b64decode(case.get("request_body_b64", ""))
        outcome = _match(
            ceremony, "POST", case["request_target"].encode(), body, allow_unsigned_query=allow_unsigned_query
        )
    except (BadPath, BadJson):
        return "reject"
    return "match" if isinstance(outcome, Matched) else "mismatch"


@pytest.mark.parametrize("profile", ["default", "sandbox"])
@pytest.mark.parametrize("case", **named(auth_vectors()["path_comparison"]))
def test_published_paths_match_or_not_as_stated(case: dict[str, Any], profile: str) -> None:
    assert _result(case, profile == "sandbox") == case[profile].partition(":")[0]


@pytest.mark.parametrize("case", **named(auth_vectors()["body_comparison"]))
def test_published_bodies_match_or_not_as_stated(case: dict[str, Any]) -> None:
    case = {"userActionHttpPath": "/auth/pats", "request_target": "/auth/pats", **case}
    assert _result(case, False) == case["result"].partition(":")[0]


_BODY = b'{"curve": "secp256k1", "scheme": "ECDSA"}'


def test_the_request_that_was_consented_to_matches() -> None:
    assert _match(_GOOD, "POST", b"/keys", _BODY) == Matched(query_signed=True)
    signed_query = Ceremony(path="/keys?force=true")
    assert _match(signed_query, "POST", b"/keys?force=true", _BODY) == Matched(query_signed=True)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("DELETE", b"/keys", _BODY),
        ("post", b"/keys", _BODY),
        ("POST", b"/Keys", _BODY),
        ("POST", b"/keys/x", _BODY),
        ("POST", b"/", _BODY),
        ("POST", b"/keys", b""),
        ("POST", b"/keys", _BODY.replace(b"secp256k1", b"ed25519")),
    ],
)
def test_any_other_request_is_a_mismatch(method: str, target: bytes, body: bytes) -> None:
    for allow in (False, True):
        outcome = _match(_GOOD, method, target, body, allow_unsigned_query=allow)
        assert isinstance(outcome, Refused)
        assert outcome is not QUERY_NOT_SIGNED


def test_a_query_that_was_not_signed_passes_only_where_allowed_and_is_recorded() -> None:
    assert _match(_GOOD, "POST", b"/keys?force=true", _BODY) is QUERY_NOT_SIGNED
    allowed = _match(_GOOD, "POST", b"/keys?force=true", _BODY, allow_unsigned_query=True)
    assert allowed == Matched(query_signed=False)
    assert _match(_GOOD, "POST", b"/keys?", _BODY) == Matched(query_signed=True)


@pytest.mark.parametrize(
    "target", [b"/keys", b"/keys?", b"/keys?force=false", b"/keys?force=true&x=1", b"/keys?FORCE=true"]
)
def test_a_signed_query_must_be_sent_as_it_was_signed(target: bytes) -> None:
    ceremony = Ceremony(path="/keys?force=true")
    for allow in (False, True):
        outcome = _match(ceremony, "POST", target, _BODY, allow_unsigned_query=allow)
        assert outcome == Refused("another query was signed")


def test_what_was_signed_for_another_installation_is_a_mismatch() -> None:
    clone = Ceremony(installation="in-8a2lc-0a1c2-zzzzzzzzzzzzzzzz")
    assert isinstance(_match(clone, "POST", b"/keys", _BODY), Refused)


def test_claims_whose_readable_members_differ_from_the_digest_are_a_mismatch() -> None:
    for changes in ({"method": "PUT"}, {"path": "/wallets"}, {"query": "a=1"}, {"user_id": "us-x"}, {"org_id": "or-x"}):
        claims = _GOOD.claims(metadata=_GOOD.metadata(**changes))
        target = parse_target((claims.metadata.path + ("?a=1" if claims.metadata.query else "")).encode())
        hashed = payload_hash(parse_payload(_BODY))
        outcome = match_request(claims, INSTALLATION, claims.metadata.method, target, hashed)
        assert outcome == Refused("another payload, user, organisation or installation was signed")
