"""Init and action: a request to a challenge, a signed challenge to a one-time token.

Nothing is written, except the signature counter of a passkey that has one.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from countersign.access import jwt, store
from countersign.access.consents import Consents, SignedBy
from countersign.access.counters import Counters
from countersign.access.keyring import KeyRing
from countersign.access.recent import Recent
from countersign.access.relying_parties import list_parties, shown_party
from countersign.access.stored_credentials import SigningKey, SigningKind, signing_key
from countersign.access.types import (
    AllowCredentials,
    AllowedCredential,
    AllowedProtectedKey,
    Factor,
    Fido2Factor,
    KeyFactor,
    PasswordFactor,
    PasswordProtectedKeyFactor,
    RelyingParty,
    SignedChallenge,
    SupportedKind,
    TotpFactor,
    UserActionChallenge,
)
from countersign.api import UNSET, ApiError, Caller, Epochs, evidence_error, validation
from countersign.consent.action_token import (
    ActionClaims,
    ActionEpochs,
    ActionMetadata,
    ChallengeClaims,
    ChallengeEpochs,
    ChallengeMetadata,
    SecondFactor,
    action_id,
    parse_challenge_claims,
)
from countersign.consent.challenge import ActionChallenge, issue, parse_challenge
from countersign.consent.digest import action_digest
from countersign.consent.evidence import Evidence, verify_evidence
from countersign.credentials import relying_party
from countersign.credentials.fido2_assertion import Answer, Fido2CredentialAssertion, refuse_user_handle
from countersign.credentials.key_assertion import lookup_key
from countersign.credentials.outcome import Refused
from countersign.encoding.target import Target, canonical_path, canonical_query
from countersign.storage import Database, Row, Transaction
from countersign.world import World

#: An action token travels in a header; longer ones are refused when they are made.
MAX_ACTION_TOKEN = 7 << 10
#: Characters of a canonical path: what is one letter as it was typed may be twelve, and travels in both tokens.
MAX_PATH = 2048
_MOST_ATTEMPTS = 5
_MOST_CHALLENGES = 20_000
#: Challenges that wait to be signed; each holds its claims, a kilobyte or two.
_MOST_MADE = 4_000
#: Columns of ``store.LIST_SIGNING_CREDENTIALS``: three epochs and a credential.
_COLUMNS = 13


class SigningCredential(msgspec.Struct, frozen=True):
    """A credential that the caller may sign with now."""

    uuid: str
    kind: SigningKind
    credential_id: str
    key: str
    pem: str
    encrypted_private_key: str | None
    epoch: int
    rp_id: str
    passkey: str | None
    sign_count: int

    @classmethod
    def of(cls, row: Row) -> SigningCredential:
        """From a row of ``store.LIST_SIGNING_CREDENTIALS`` behind the epochs."""
        return cls(*row)


class SignsWith(msgspec.Struct, frozen=True):
    """What a caller may sign with, and the caller's epochs as they stand in the database.

    ``party``: the relying party of the application where one is named, else the default. ``parties``: all of the
    organisation's, with their origins.
    """

    credentials: list[SigningCredential]
    epochs: Epochs
    party: RelyingParty | None = None
    parties: tuple[relying_party.RelyingParty, ...] = ()


class _Made(msgspec.Struct, frozen=True):
    """A challenge identifier that this process made under the MAC key ``kid``."""

    kid: str
    claims: ChallengeClaims
    challenge: ActionChallenge


class _Proof(msgspec.Struct, frozen=True):
    """A factor whose signature over the challenge holds; ``answer`` is that of a passkey."""

    credential: SigningCredential
    evidence: Evidence
    key: SigningKey
    answer: Answer | None


def signs_with(caller: Caller, *, party: bool = False, parties: bool = False) -> Transaction[SignsWith]:
    """Read it; relying parties only where they are wanted."""
    bound = caller.token_id if caller.token_kind == "Pat" else ""
    arguments = (caller.token_id, caller.org_id, caller.user_id, bound)
    shown: RelyingParty | None = None
    if party and caller.app_id is None:
        rows = yield store.LIST_SIGNING_CREDENTIALS_AND_PARTY, arguments
        if rows and rows[0][-2] is not None:
            shown = RelyingParty(id=rows[0][-2], name=rows[0][-1])
    else:
        rows = yield store.LIST_SIGNING_CREDENTIALS, arguments
    if party and shown is None:
        shown = yield from shown_party(caller.org_id, caller.app_id)
    return SignsWith(
        [SigningCredential.of(row[3:_COLUMNS]) for row in rows],
        Epochs(*rows[0][:3]) if rows else caller.epochs,
        shown,
        (yield from list_parties(caller.org_id)) if parties else (),
    )


class Ceremony:
    """The two calls before a signed request."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        consents: Consents,
        counters: Counters,
        installation_id: str,
        world: World,
        *,
        challenge_seconds: int,
        action_seconds: int,
    ) -> None:
        self._database = database
        self._ring = ring
        self._consents = consents
        self._counters = counters
        self._installation_id = installation_id
        self._world = world
        self._challenge_seconds = challenge_seconds
        self._action_seconds = action_seconds
        self._place = jwt.Place("challenge+jwt", "HS256", ring.issuer, frozenset({"Temp"}), "action")
        # Failed attempts by challenge id, in this process only: the challenge itself is stored nowhere.
        self._attempts: OrderedDict[str, int] = OrderedDict()
        self._made: Recent[_Made] = Recent(_MOST_MADE)

    async def challenge(self, caller: Caller, method: str, target: Target, payload_hash: bytes) -> UserActionChallenge:
        """A challenge that commits to this request of this caller."""
        now = self._world.now() // 1000
        path = canonical_path(target.segments)
        if len(path) > MAX_PATH:
            raise validation("userActionHttpPath", f"is longer than {MAX_PATH} characters when it is percent-encoded")
        digest = action_digest(
            self._installation_id, caller.org_id, caller.user_id, method, path, canonical_query(target), payload_hash
        )
        found = await self._database.read(lambda: signs_with(caller, party=True))
        expires = now + self._challenge_seconds
        challenge = ActionChallenge(self._world.new_id("ch"), self._world.new_id("no"), expires, digest)
        text = issue(challenge)
        claims = ChallengeClaims(
            iss=self._ring.issuer,
            aud=jwt.AUDIENCE,
            sub=caller.org_id,
            jti=self._world.new_id("uj"),
            username=caller.username,
            iat=now,
            exp=expires,
            metadata=ChallengeMetadata(
                user_id=caller.user_id,
                org_id=caller.org_id,
                token_kind="Temp",
                purpose="action",
                challenge=text,
                token_id=caller.token_id,
                caller_kind=caller.token_kind,
                app_id=caller.app_id,
                method=method,
                path=path,
                query=target.query if target.has_query else None,
                epochs=ChallengeEpochs(user=found.epochs.user, token=found.epochs.token, org=found.epochs.organisation),
            ),
        )
        signer = self._ring.challenge_signer
        identifier = jwt.encode(claims, "challenge+jwt", signer)
        self._made.keep(identifier, _Made(signer.kid, claims, challenge))
        kinds = dict.fromkeys(credential.kind for credential in found.credentials)
        return UserActionChallenge(
            challenge=text,
            challenge_identifier=identifier,
            rp=UNSET if found.party is None else found.party,
            supported_credential_kinds=[SupportedKind(kind=kind) for kind in kinds],
            allow_credentials=_allowed(found.credentials),
        )

    async def action(self, caller: Caller, signed: SignedChallenge) -> str:
        """The action token. Raises 400 ``CHALLENGE_INVALID``, 401 ``NO_CREDENTIAL`` or ``ASSERTION_INVALID``."""
        claims, challenge = await self._challenge_claims(caller, signed.challenge_identifier)
        factors = [factor for factor in (signed.first_factor, signed.second_factor) if factor is not UNSET]
        passkeys = any(isinstance(factor, Fido2Factor) for factor in factors)
        found = await self._database.read(lambda: signs_with(caller, parties=passkeys))
        _check_epochs(claims.metadata, found.epochs)
        proofs = [self._prove(caller, found, factor, challenge) for factor in factors]
        first, second = proofs[0], proofs[1] if len(proofs) > 1 else None
        if second is not None and second.credential.uuid == first.credential.uuid:
            raise ApiError("ASSERTION_INVALID", "The second factor must be another credential.")
        for proof in proofs:
            await self._step_counter(caller, proof, challenge)
        now = self._world.now() // 1000
        metadata = claims.metadata
        action = ActionClaims(
            iss=self._ring.issuer,
            aud=jwt.AUDIENCE,
            sub=caller.org_id,
            jti=action_id(challenge.id),
            username=caller.username,
            iat=now,
            exp=now + self._action_seconds,
            metadata=ActionMetadata(
                user_id=caller.user_id,
                org_id=caller.org_id,
                token_kind="UserAction",
                challenge_id=challenge.id,
                action=challenge.action,
                credential_uuid=first.credential.uuid,
                token_id=caller.token_id,
                caller_kind=caller.token_kind,
                app_id=caller.app_id,
                method=metadata.method,
                path=metadata.path,
                query=metadata.query,
                epochs=ActionEpochs(
                    user=found.epochs.user,
                    token=found.epochs.token,
                    org=found.epochs.organisation,
                    credential=first.credential.epoch,
                ),
                evidence=first.evidence,
                second_factor=None if second is None else _second_factor(second),
            ),
        )
        payload = msgspec.json.encode(action)
        if len(payload) * 4 // 3 + 150 > MAX_ACTION_TOKEN:
            raise ApiError("ASSERTION_INVALID", "The evidence is too large for an action token; use a smaller key.")
        token = jwt.encode(payload, "action+jwt", self._ring.action_signer)
        self._consents.remember(token, action, SignedBy(first.key, None if second is None else second.key))
        return token

    async def _challenge_claims(self, caller: Caller, identifier: str) -> tuple[ChallengeClaims, ActionChallenge]:
        claims, challenge = await self._read_identifier(identifier)
        metadata = claims.metadata
        same_token = metadata.token_id == caller.token_id and metadata.caller_kind == caller.token_kind
        both_sessions = metadata.caller_kind == "Token" and caller.token_kind == "Token"
        if (metadata.org_id, metadata.user_id) != (caller.org_id, caller.user_id) or not (same_token or both_sessions):
            raise ApiError("CHALLENGE_INVALID", reason="made for another caller")
        if metadata.app_id != caller.app_id:
            raise ApiError("CHALLENGE_INVALID", reason="made through another application")
        if self._attempts.get(challenge.id, 0) >= _MOST_ATTEMPTS:
            raise ApiError("CHALLENGE_INVALID", reason="too many failed attempts")
        return claims, challenge

    async def _read_identifier(self, identifier: str) -> tuple[ChallengeClaims, ActionChallenge]:
        place = self._place
        now = self._world.now() // 1000
        made = self._made.get(identifier)
        if made is not None and made.kid in self._ring.challenge_keys:
            untimely = jwt.refuse_times(made.claims.iat, made.claims.exp, now)
            if untimely is not None:
                raise ApiError("CHALLENGE_INVALID", reason=untimely)
            return made.claims, made.challenge
        verified = jwt.verify(identifier, place, self._ring.challenge_keys, now)
        if isinstance(verified, jwt.Refused) and verified.reason == "unknown kid":
            await self._ring.look_again()
            verified = jwt.verify(identifier, place, self._ring.challenge_keys, now)
        if isinstance(verified, jwt.Refused):
            raise ApiError("CHALLENGE_INVALID", reason=verified.reason)
        claims = parse_challenge_claims(verified.payload)
        if isinstance(claims, Refused):
            raise ApiError("CHALLENGE_INVALID", reason=claims.reason)
        challenge = parse_challenge(claims.metadata.challenge)
        if isinstance(challenge, Refused):
            raise ApiError("CHALLENGE_INVALID", reason=challenge.reason)
        return claims, challenge

    def _prove(self, caller: Caller, found: SignsWith, factor: Factor, challenge: ActionChallenge) -> _Proof:
        if isinstance(factor, PasswordFactor | TotpFactor):
            raise ApiError("CREDENTIAL_KIND_DISABLED")
        kind = _kind_of(factor)
        assertion = factor.credential_assertion
        wanted = lookup_key(assertion.cred_id)
        credential = next((item for item in found.credentials if item.key == wanted and item.kind == kind), None)
        if credential is None:
            raise ApiError("NO_CREDENTIAL", reason="credential unknown, inactive or of another kind")
        key = signing_key(kind, credential.pem, credential.rp_id, credential.passkey, found.parties)
        if isinstance(key, Refused):
            raise ApiError("NO_CREDENTIAL", reason=key.reason)
        data, refusal = None, None
        if isinstance(assertion, Fido2CredentialAssertion):
            data = assertion.authenticator_data
            refusal = refuse_user_handle(assertion.user_handle, caller.user_id, required=False)
        evidence = Evidence(
            kind=kind,
            client_data=assertion.client_data,
            signature=assertion.signature,
            authenticator_data=data,
            algorithm=assertion.algorithm,
        )
        proven = refusal or verify_evidence(evidence, key.public_key, challenge.action, key.fido2)
        if not isinstance(proven, Refused) and proven.challenge != challenge:
            proven = Refused("another challenge was signed")
        if isinstance(proven, Refused):
            self._count_failure(challenge.id)
            raise evidence_error("ASSERTION_INVALID", proven)
        return _Proof(credential, evidence, key, proven.answer)

    async def _step_counter(self, caller: Caller, proof: _Proof, challenge: ActionChallenge) -> None:
        answer = proof.answer
        # An authenticator that does not count, as those of synchronised passkeys, costs no write.
        if answer is None or answer.authenticator_data.sign_count == proof.credential.sign_count == 0:
            return
        refusal = await self._counters.step(caller, proof.credential.uuid, answer)
        if refusal is not None:
            self._count_failure(challenge.id)
            raise evidence_error("ASSERTION_INVALID", refusal)

    def _count_failure(self, challenge_id: str) -> None:
        self._attempts[challenge_id] = self._attempts.pop(challenge_id, 0) + 1
        if len(self._attempts) > _MOST_CHALLENGES:
            self._attempts.popitem(last=False)


def _kind_of(factor: Fido2Factor | KeyFactor | PasswordProtectedKeyFactor) -> SigningKind:
    if isinstance(factor, Fido2Factor):
        return "Fido2"
    return "Key" if isinstance(factor, KeyFactor) else "PasswordProtectedKey"


def _second_factor(proof: _Proof) -> SecondFactor:
    return SecondFactor(proof.credential.uuid, proof.credential.epoch, proof.evidence)


def _check_epochs(metadata: ChallengeMetadata, now: Epochs) -> None:
    then = metadata.epochs
    if (then.user, then.org) != (now.user, now.organisation):
        raise ApiError("CHALLENGE_INVALID", reason="cancelled by a change of state")
    # A person may sign in another session than the one that asked.
    if metadata.caller_kind != "Token" and then.token != now.token:
        raise ApiError("CHALLENGE_INVALID", reason="cancelled by a change of the token")


def _allowed(credentials: list[SigningCredential]) -> AllowCredentials:
    return AllowCredentials(
        key=[AllowedCredential(id=item.credential_id) for item in credentials if item.kind == "Key"],
        password_protected_key=[
            AllowedProtectedKey(id=item.credential_id, encrypted_private_key=item.encrypted_private_key or "")
            for item in credentials
            if item.kind == "PasswordProtectedKey"
        ],
        webauthn=[AllowedCredential(id=item.credential_id) for item in credentials if item.kind == "Fido2"],
    )
