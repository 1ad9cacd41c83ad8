"""Station 4: the user action token and the request to a consent, which is spent with the effect."""

from __future__ import annotations

import hashlib

import msgspec

from countersign.access import jwt, store
from countersign.access.keyring import KeyRing
from countersign.access.recent import Recent
from countersign.access.relying_parties import list_parties
from countersign.access.stored_credentials import SigningKey, signing_key
from countersign.api import ApiError, Caller, Request
from countersign.consent.action_token import (
    QUERY_NOT_SIGNED,
    ActionClaims,
    ActionEpochs,
    SecondFactor,
    match_request,
    parse_action_claims,
    verify_action,
    verify_second_factor,
)
from countersign.consent.evidence import Evidence
from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.encoding.target import canonical_path
from countersign.keystores import ConsentEvidence
from countersign.storage import Database, Transaction
from countersign.world import World

#: Actions that were signed and not spent yet; each holds its evidence, a few kilobytes.
_MOST_VERIFIED = 4_000


class SignedBy(msgspec.Struct, frozen=True):
    """The keys under which an action's signatures were found to hold; ``second`` where there is a second factor."""

    first: SigningKey
    second: SigningKey | None = None


class _Signed(msgspec.Struct, frozen=True):
    """An action token that this process made under the MAC key ``kid``, from evidence that it had just verified."""

    kid: str
    claims: ActionClaims
    signed_by: SignedBy


class Consent(msgspec.Struct, frozen=True):
    """A verified agreement of the caller to exactly this request, not yet spent.

    ``epochs`` are those the action was signed under; ``signed_at`` in seconds since the epoch.
    """

    action_id: str
    token: str
    digest: str
    payload_sha256: str
    signed_query: str
    actual_query: str
    query_signed: bool
    credential_uuid: str
    signed_by: SignedBy
    evidence: Evidence
    second_factor: SecondFactor | None
    epochs: ActionEpochs
    signed_at: int
    expires_at: int

    def order_evidence(self, installation_id: str, request: Request, caller: Caller) -> ConsentEvidence:
        """The same as an order to the signer carries it."""
        evidence = self.evidence
        data = evidence.authenticator_data
        return ConsentEvidence(
            installation_id=installation_id,
            org_id=caller.org_id,
            user_id=caller.user_id,
            method=request.method,
            path=canonical_path(request.target.segments),
            query=self.signed_query,
            payload=request.canonical_body,
            credential_uuid=self.credential_uuid,
            credential_public_key=self.signed_by.first.public_key.pem,
            kind=evidence.kind,
            client_data=base64url.decode_tolerant(evidence.client_data),
            signature=base64url.decode_tolerant(evidence.signature),
            authenticator_data=None if data is None else base64url.decode_tolerant(data),
            algorithm=evidence.algorithm,
            relying_party_id=self.signed_by.first.rp_id,
        )


class Stale(Exception):
    """The caller or the credential changed since the request was admitted; ``code`` is what to answer."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class PermissionsChanged(Exception):
    """The caller's rights were read under an older revision: read them again, decide again."""


class Consents:
    """Reads and verifies action tokens.

    What this very process has verified, and the token that it made of it, is not verified again when the action is
    spent; any other is, so a stolen MAC key alone forges nothing.
    """

    def __init__(
        self, database: Database, ring: KeyRing, installation_id: str, world: World, *, allow_unsigned_query: bool
    ) -> None:
        self._database = database
        self._ring = ring
        self._installation_id = installation_id
        self._world = world
        self._allow_unsigned_query = allow_unsigned_query
        self._place = jwt.Place("action+jwt", "HS256", ring.issuer, frozenset({"UserAction"}))
        self._signed: Recent[_Signed] = Recent(_MOST_VERIFIED)

    def remember(self, token: str, claims: ActionClaims, signed_by: SignedBy) -> None:
        """Note an action token that this process made, now, from evidence it has just verified."""
        self._signed.keep(token, _Signed(self._ring.action_signer.kid, claims, signed_by))

    async def read(self, request: Request, caller: Caller) -> Consent:
        """The consent that the request carries. Raises 403 ``USER_ACTION_INVALID`` or ``QUERY_NOT_SIGNED``."""
        token = request.headers.get("x-dfns-useraction")
        if token is None:
            raise _invalid("missing")
        known = self._signed.take(token)
        claims = await self._claims(token, known)
        metadata = claims.metadata
        if (metadata.org_id, metadata.user_id) != (caller.org_id, caller.user_id):
            raise _invalid("signed by another user")
        if metadata.app_id != caller.app_id:
            raise _invalid("signed through another application")
        same_token = (metadata.token_id, metadata.caller_kind) == (caller.token_id, caller.token_kind)
        # A person may sign in one session and act in another; a token that acts alone may not.
        if not same_token and (metadata.caller_kind, caller.token_kind) != ("Token", "Token"):
            raise _invalid("signed with another token")
        hashed = hashlib.sha256(request.canonical_body).digest()
        matched = match_request(
            claims,
            self._installation_id,
            request.method,
            request.target,
            hashed,
            allow_unsigned_query=self._allow_unsigned_query,
        )
        if isinstance(matched, Refused):
            if matched is QUERY_NOT_SIGNED:
                raise ApiError("QUERY_NOT_SIGNED")
            raise _invalid(matched.reason)
        signed_by = await self._verify(claims) if known is None else known.signed_by
        return Consent(
            action_id=claims.jti,
            token=token,
            digest=metadata.action,
            payload_sha256=hashed.hex(),
            signed_query="" if metadata.query is None else f"?{metadata.query}",
            actual_query=f"?{request.target.query}" if request.target.has_query else "",
            query_signed=matched.query_signed,
            credential_uuid=metadata.credential_uuid,
            signed_by=signed_by,
            evidence=metadata.evidence,
            second_factor=metadata.second_factor,
            epochs=metadata.epochs,
            signed_at=claims.iat,
            expires_at=claims.exp,
        )

    async def _claims(self, token: str, known: _Signed | None) -> ActionClaims:
        place = self._place
        now = self._world.now() // 1000
        if known is not None and known.kid in self._ring.action_keys:
            untimely = jwt.refuse_times(known.claims.iat, known.claims.exp, now)
            if untimely is not None:
                raise _invalid(untimely)
            return known.claims
        verified = jwt.verify(token, place, self._ring.action_keys, now)
        if isinstance(verified, jwt.Refused) and verified.reason == "unknown kid":
            await self._ring.look_again()
            verified = jwt.verify(token, place, self._ring.action_keys, now)
        if isinstance(verified, jwt.Refused):
            raise _invalid(verified.reason)
        claims = parse_action_claims(verified.payload)
        if isinstance(claims, Refused):
            raise _invalid(claims.reason)
        return claims

    async def _verify(self, claims: ActionClaims) -> SignedBy:
        metadata, second = claims.metadata, claims.metadata.second_factor
        first_key = await self._key(metadata.org_id, metadata.credential_uuid, metadata.evidence)
        proven = verify_action(claims, first_key.public_key, first_key.fido2)
        if isinstance(proven, Refused):
            raise _invalid(proven.reason)
        if second is None:
            return SignedBy(first_key)
        second_key = await self._key(metadata.org_id, second.credential_uuid, second.evidence)
        also_proven = verify_second_factor(claims, second, second_key.public_key, second_key.fido2)
        if isinstance(also_proven, Refused):
            raise _invalid(f"second factor: {also_proven.reason}")
        return SignedBy(first_key, second_key)

    async def _key(self, org_id: str, credential_uuid: str, evidence: Evidence) -> SigningKey:
        """The stored key of a credential that must be of the kind that the evidence claims."""
        found = await self._database.read(lambda: read_signing_key(org_id, credential_uuid, evidence.kind))
        if isinstance(found, Refused):
            raise _invalid(found.reason)
        return found


def read_signing_key(org_id: str, credential_uuid: str, kind: str) -> Transaction[SigningKey | Refused]:
    """The key of a credential of this kind."""
    rows = yield store.READ_CREDENTIAL, (org_id, credential_uuid)
    if not rows or rows[0][0] != kind:
        return Refused("unknown credential, or of another kind")
    _, pem, rp_id, passkey = rows[0]
    parties = (yield from list_parties(org_id)) if kind == "Fido2" else ()
    return signing_key(kind, pem, rp_id, passkey, parties)


def hold(caller: Caller) -> Transaction[None]:
    """Keep the caller's state as it is until the transaction ends; to be followed by :func:`recheck`."""
    yield store.HOLD_CALLER, (caller.org_id, caller.user_id)


def recheck(caller: Caller, consent: Consent, now: int) -> Transaction[None]:
    """Read caller and credential again, inside the transaction of the effect.

    Raises :class:`Stale` and :class:`PermissionsChanged`.
    """
    rows = yield store.RECHECK, (consent.credential_uuid, caller.org_id, caller.token_id)
    if not rows:
        raise Stale("USER_ACTION_INVALID", "caller or credential is gone")
    (
        token_state,
        token_epoch,
        expires_at,
        user_state,
        user_epoch,
        org_active,
        org_epoch,
        revision,
        credential_state,
        credential_epoch,
        credential_user,
        credential_token,
        held_until,
    ) = rows[0]
    if token_state != "Active" or user_state != "Active" or not org_active or expires_at <= now:
        raise Stale("UNAUTHENTICATED", "deactivated, revoked or expired meanwhile")
    if credential_state != "Active" or credential_user != caller.user_id:
        raise Stale("USER_ACTION_INVALID", "the credential that signed is not active")
    if credential_token and credential_token != caller.token_id:
        raise Stale("USER_ACTION_INVALID", "the credential is bound to another token")
    if consent.expires_at * 1000 <= now:
        raise Stale("USER_ACTION_INVALID", "expired meanwhile")
    signed = consent.epochs
    if (user_epoch, org_epoch, credential_epoch) != (signed.user, signed.org, signed.credential):
        raise Stale("USER_ACTION_INVALID", "cancelled by a change of state since it was signed")
    if caller.token_kind != "Token" and token_epoch != signed.token:
        raise Stale("USER_ACTION_INVALID", "cancelled by a change of the token since it was signed")
    if held_until > now:
        raise Stale("RECOVERY_HOLD", f"recovered, and held until {held_until}")
    if consent.second_factor is not None:
        yield from _recheck_second(caller, consent.second_factor)
    if revision != caller.permission_revision:
        raise PermissionsChanged


def _recheck_second(caller: Caller, second: SecondFactor) -> Transaction[None]:
    rows = yield store.RECHECK_CREDENTIAL, (caller.org_id, second.credential_uuid)
    state, epoch, user_id, token_id = rows[0] if rows else ("", -1, "", "")
    if (state, epoch, user_id) != ("Active", second.epoch, caller.user_id) or token_id not in ("", caller.token_id):
        raise Stale("USER_ACTION_INVALID", "the credential of the second factor changed since it signed")


def _invalid(reason: str) -> ApiError:
    return ApiError("USER_ACTION_INVALID", reason=reason)
