"""The two tokens of a user action: the challenge identifier and the one-time action token.

Nothing is stored between the three calls of a signed request; what must travel, travels in these claims
under the server's MAC. The MAC makes them ours, but it is the credential's signature inside that proves
consent: whoever spends an action checks it with ``verify_action``, so the MAC key alone forges nothing.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from countersign.consent.digest import action_digest
from countersign.consent.evidence import Evidence, Proven, verify_evidence
from countersign.credentials.fido2_assertion import Fido2Context
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.encoding.identifiers import is_identifier
from countersign.encoding.target import Target, canonical_path

CallerKind = Literal["Token", "Pat", "ServiceAccount"]

MAX_ACTION_LIFE = 900
"""Seconds that an action token may outlive the challenge it answers."""

_ID_DOMAIN = b"countersign.action.id.v1"
_BASE32 = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [first + second for first in _BASE32 for second in _BASE32]


class ChallengeEpochs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State counters at ``init``; a change of state raises one and so cancels the challenge."""

    user: int
    token: int
    org: int


class ActionEpochs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State counters when the action was signed."""

    user: int
    token: int
    org: int
    credential: int


class ChallengeMetadata(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """The request that a challenge was made for, and by whom.

    ``path`` is canonical; ``query`` is the raw text behind the ``?`` of the signed path, ``None`` if it
    had none. ``token_id`` is the ``jti`` of the caller's token.
    """

    user_id: str
    org_id: str
    token_kind: Literal["Temp"]
    purpose: Literal["action"]
    challenge: str
    token_id: str
    caller_kind: CallerKind
    app_id: str | None = None
    method: str
    path: str
    query: str | None
    epochs: ChallengeEpochs


class SecondFactor(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Another credential of the same user that signed the same challenge; ``epoch`` is that credential's."""

    credential_uuid: str
    epoch: int
    evidence: Evidence


class ActionMetadata(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """The request that was consented to, by whom, and the evidence; members as in ``ChallengeMetadata``."""

    user_id: str
    org_id: str
    token_kind: Literal["UserAction"]
    challenge_id: str
    action: str
    credential_uuid: str
    token_id: str
    caller_kind: CallerKind
    app_id: str | None = None
    method: str
    path: str
    query: str | None
    epochs: ActionEpochs
    evidence: Evidence
    second_factor: SecondFactor | None = None


class _Claims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    iss: str
    aud: str
    sub: str
    jti: str
    username: str = msgspec.field(name="https://custom/username", default="")
    iat: int
    exp: int


class ChallengeClaims(_Claims, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All claims of a challenge identifier of purpose action; times in seconds since the epoch."""

    metadata: ChallengeMetadata = msgspec.field(name="https://custom/app_metadata")


class ActionClaims(_Claims, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All claims of an action token; times in seconds since the epoch."""

    metadata: ActionMetadata = msgspec.field(name="https://custom/app_metadata")


_CHALLENGE_CLAIMS = msgspec.json.Decoder(ChallengeClaims)
_ACTION_CLAIMS = msgspec.json.Decoder(ActionClaims)


def parse_challenge_claims(payload: bytes) -> ChallengeClaims | Refused:
    """The claims of a challenge identifier whose MAC, issuer and times were checked."""
    try:
        return _CHALLENGE_CLAIMS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refused("not the claims of a challenge for an action")


def parse_action_claims(payload: bytes) -> ActionClaims | Refused:
    """The claims of an action token whose MAC, issuer and times were checked."""
    try:
        return _ACTION_CLAIMS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refused("not the claims of an action token")


def action_id(challenge_id: str) -> str:
    """The ``jti`` of every action token that answers this challenge.

    ``uj-``, the two groups of the challenge id that hold its time, and the first 80 bits of SHA-256 over
    ``countersign.action.id.v1`` and the challenge id in base32 (``0-9a-v``). Because it is derived, a
    challenge that was answered twice gives two tokens of which only one can be spent. Raises
    ``ValueError`` if ``challenge_id`` is none.
    """
    if not is_identifier(challenge_id, "ch"):
        raise ValueError("not the id of a challenge")
    head = hashlib.sha256(_ID_DOMAIN + challenge_id.encode("ascii")).digest()[:10]
    value = int.from_bytes(head, "big")
    tail = "".join([_PAIRS[(value >> shift) & 1023] for shift in range(70, -1, -10)])
    return f"uj-{challenge_id[3:14]}-{tail}"


def verify_action(claims: ActionClaims, public_key: PublicKey, fido2: Fido2Context | None = None) -> Proven | Refused:
    """Check that an action token is what its evidence says, under the credential's stored public key.

    ``fido2`` is what else is stored of a Fido2 credential.

    The digest, the id and the times of the token must follow from the signed challenge, so that not even
    the server's MAC key turns one signature into a second action or a later one. Never raises for bad
    input.
    """
    outcome = verify_evidence(claims.metadata.evidence, public_key, claims.metadata.action, fido2)
    if isinstance(outcome, Refused):
        return outcome
    challenge = outcome.challenge
    if claims.metadata.challenge_id != challenge.id or claims.jti != action_id(challenge.id):
        return Refused("the token is that of another challenge")
    if claims.iat > challenge.exp or claims.exp > challenge.exp + MAX_ACTION_LIFE:
        return Refused("the challenge was answered after it expired")
    return outcome


def verify_second_factor(
    claims: ActionClaims, second: SecondFactor, public_key: PublicKey, fido2: Fido2Context | None = None
) -> Proven | Refused:
    """Check that the second factor of an action token consents to the same challenge with another credential."""
    if second.credential_uuid == claims.metadata.credential_uuid:
        return Refused("the second factor is the first one again")
    outcome = verify_evidence(second.evidence, public_key, claims.metadata.action, fido2)
    if not isinstance(outcome, Refused) and outcome.challenge.id != claims.metadata.challenge_id:
        return Refused("the second factor signed another challenge")
    return outcome


class Matched(msgspec.Struct, frozen=True):
    """The request is the one consented to; ``query_signed`` is false if it has a query the signature does not cover."""

    query_signed: bool


QUERY_NOT_SIGNED = Refused("the request has a query and the signed path has none")
"""The one mismatch that callers are told apart from the others."""


def match_request(
    claims: ActionClaims,
    installation_id: str,
    method: str,
    target: Target,
    payload_hash: bytes,
    *,
    allow_unsigned_query: bool = False,
) -> Matched | Refused:
    """Whether a request is the one that was consented to: method, path, query and payload.

    ``payload_hash`` is that of the body's canonical JSON. A query that the signed path does not have is
    ``QUERY_NOT_SIGNED``, unless ``allow_unsigned_query`` (the sandbox) lets it pass. Who may use the token
    is not decided here.
    """
    signed = claims.metadata
    if method != signed.method:
        return Refused("another method was signed")
    path = canonical_path(target.segments)
    if path != signed.path:
        return Refused("another path was signed")
    if signed.query is not None and signed.query != target.query:
        return Refused("another query was signed")
    covered = signed.query is not None or not target.query
    if not covered and not allow_unsigned_query:
        return QUERY_NOT_SIGNED
    query = "" if signed.query is None else "?" + signed.query
    digest = action_digest(installation_id, signed.org_id, signed.user_id, method, path, query, payload_hash)
    if digest != signed.action:
        return Refused("another payload, user, organisation or installation was signed")
    return Matched(covered)
