"""Credentials: what callers can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from countersign.access import temporary_tokens
from countersign.access.keyring import KeyRing
from countersign.access.limits import RateLimits
from countersign.access.relying_parties import list_parties, shown_party
from countersign.access.temporary_tokens import TemporaryMetadata, TemporaryToken
from countersign.access.types import AllowedCredential, RelyingParty
from countersign.api import UNSET, ApiError, Call, Caller, Effect, operation, validation
from countersign.audit.entry import Enrolled, System
from countersign.audit.log import append
from countersign.credentials.fido2_registration import AttestationPolicy
from countersign.credentials.outcome import Refused
from countersign.encoding.dates import to_iso
from countersign.identity import credential_codes, credentials, mail
from countersign.identity import credential_store as store
from countersign.identity.credential_codes import CodeOwner
from countersign.identity.credential_types import (
    AuthenticatorSelection,
    ChallengedUser,
    CreateCredential,
    CreateCredentialChallenge,
    CreateCredentialChallengeWithCode,
    CreateCredentialCode,
    CredentialChallenge,
    CredentialCode,
    CredentialReference,
    DisabledKind,
    EndorseCredential,
    Message,
    Nothing,
    PubKeyCredParam,
)
from countersign.identity.credentials import CredentialKind, NewCredential, Taken
from countersign.identity.types import Credential, CredentialList
from countersign.keystores import outgoing
from countersign.keystores.outgoing import RosterKeeper
from countersign.storage import Transaction

#: COSE algorithms of passkeys, the preferred one first: ES256, RS256, EdDSA.
ALGORITHMS = (-7, -257, -8)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What enrolment is given at start-up. ``challenge_seconds``: life of a challenge.

    ``policy``: which authenticators are let in, ``None`` for all, of which then no certificate is asked.
    """

    ring: KeyRing
    installation_id: str
    challenge_seconds: int
    policy: AttestationPolicy | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who shall get a credential, as the database stands."""

    user_id: str
    username: str
    user_epoch: int
    org_epoch: int
    token_epoch: int | None
    party: RelyingParty | None
    enrolled: list[AllowedCredential]


@operation("GET", "/auth/credentials")
async def list_credentials(call: Call) -> CredentialList:
    """List the caller's own credentials.

    A personal access token sees the keys that are bound to it.
    """
    caller = call.caller
    items = await call.read(lambda: credentials.list_own(caller.org_id, caller.user_id, _bound_to(caller)))
    return CredentialList(items=items)


@operation("POST", "/auth/credentials/init")
async def create_credential_challenge(call: Call, body: CreateCredentialChallenge) -> CredentialChallenge:
    """Begin to add a credential: the new one signs the challenge of the answer.

    Programs (service accounts, personal access tokens) add keys of kind `Key` to themselves only.
    """
    kind = _enabled(body.kind)
    _check_kind(call.caller, kind)
    caller = call.caller
    asked = await call.read(lambda: _ask(caller, kind))
    metadata = TemporaryMetadata(
        user_id=caller.user_id,
        org_id=caller.org_id,
        token_kind="Temp",
        purpose="credential",
        challenge=temporary_tokens.new_challenge(call.world),
        user_epoch=asked.user_epoch,
        org_epoch=asked.org_epoch,
        credential_kind=kind,
        token_id=caller.token_id,
        caller_kind=caller.token_kind,
        token_epoch=asked.token_epoch,
    )
    return _challenge(call, kind, metadata, asked)


@operation("POST", "/auth/credentials", signed=True)
async def create_credential(call: Call, body: CreateCredential) -> Credential:
    """Add a credential that signed the challenge of `POST /auth/credentials/init`.

    The user action is signed with a credential that the caller has already.
    """
    caller = call.caller
    kind = _enabled_body(body)
    _check_kind(caller, kind)
    token = await _token(call, body, "credential")
    metadata = token.metadata
    same_token = (metadata.token_id, metadata.caller_kind) == (caller.token_id, caller.token_kind)
    both_sessions = (metadata.caller_kind, caller.token_kind) == ("Token", "Token")
    if (metadata.org_id, metadata.user_id) != (caller.org_id, caller.user_id) or not (same_token or both_sessions):
        raise ApiError("CHALLENGE_INVALID", reason="made for another caller")
    new = await _prove(call, body, token)

    def work() -> Transaction[Effect[Credential]]:
        done = yield from credentials.enrol(token, _bound_to(caller), new, call.world)
        if isinstance(done, Refused):
            raise ApiError("CHALLENGE_INVALID", reason=done.reason)
        if isinstance(done, Taken):
            raise credentials.taken_error(done)
        return done

    return await call.commit(work, hold_caller=True)


@operation("PUT", "/auth/credentials/activate", signed=True, callers=("Token",))
async def activate_credential(call: Call, body: CredentialReference) -> Message:
    """Activate one of the caller's own credentials; nothing happens when it is active."""
    return await _set_state(call, body.credential_uuid, "Active")


@operation("PUT", "/auth/credentials/deactivate", signed=True, callers=("Token",))
async def deactivate_credential(call: Call, body: CredentialReference) -> Message:
    """Deactivate one of the caller's own credentials, and cancel what was signed with it and not used yet.

    The last active one that can sign stays: 400 `LAST_CREDENTIAL`.
    """
    return await _set_state(call, body.credential_uuid, "Inactive")


@operation("DELETE", "/auth/credentials/{credentialUuid}", signed=True, callers=("Token",))
async def delete_credential(call: Call) -> Nothing:
    """Archive one of the caller's own credentials for good.

    Its id and its key are never accepted again: what was signed with them stays provable.
    """
    await _set_state(call, call.params["credentialUuid"], "Archived")
    return Nothing()


@operation(
    "POST",
    "/auth/credentials/{credentialUuid}/endorse",
    permission="Auth:Users:Activate",
    signed=True,
    user_kinds=("CustomerEmployee",),
)
async def endorse_credential(call: Call, body: EndorseCredential) -> Message:
    """Vouch for a credential that was enrolled with a code: from then on the signer takes its consent.

    Compare the fingerprint with the credential's holder, by another way than this server. Nothing happens when the
    credential counts already.
    """
    uuid = call.params["credentialUuid"]
    await call.commit(lambda: credentials.endorse(call.org_id, uuid, body.public_key))
    return Message()


@operation("POST", "/auth/credentials/code", signed=True, callers=("Token",))
async def create_credential_code(call: Call, body: CreateCredentialCode) -> CredentialCode:
    """Make a one-time code for adding a credential from another device, within a minute at most.

    A user has one live code: a new one ends the one before.
    """
    expires_at = credential_codes.read_expiration(body.expiration, call.world.now())
    if isinstance(expires_at, Refused):
        raise validation("expiration", expires_at.reason)
    ring, caller = call.service(KeyRing), call.caller
    code = credential_codes.new_code(call.world)
    action_id = call.action_id
    await call.commit(lambda: credential_codes.put(ring, code, caller.org_id, caller.user_id, action_id, expires_at))
    return CredentialCode(code=code, expiration=to_iso(expires_at))


@operation("POST", "/auth/credentials/code/init", public=True)
async def create_credential_challenge_with_code(
    call: Call, body: CreateCredentialChallengeWithCode
) -> CredentialChallenge:
    """Trade a code for a challenge that the new credential signs.

    The code is used up. Every code that cannot be used is answered alike, and tries are limited.
    """
    enrolment, now = call.service(Enrolment), call.world.now()
    call.service(RateLimits).code(call.request.client_address)
    kind = _enabled(body.credential_kind)
    if kind == "RecoveryKey":
        raise validation("credentialKind", "a code enrols Fido2, Key or PasswordProtectedKey")
    owner = await call.write(lambda: credential_codes.take(enrolment.ring, body.code, now))
    if owner is None:
        raise ApiError("INVALID_CODE")
    taken = owner
    asked = await call.read(lambda: _ask_with_code(taken, kind))
    metadata = TemporaryMetadata(
        user_id=owner.user_id,
        org_id=owner.org_id,
        token_kind="Temp",
        purpose="credentialCode",
        challenge=temporary_tokens.new_challenge(call.world),
        user_epoch=owner.user_epoch,
        org_epoch=owner.org_epoch,
        credential_kind=kind,
        action_id=owner.action_id,
    )
    return _challenge(call, kind, metadata, asked)


@operation("POST", "/auth/credentials/code/verify", public=True)
async def create_credential_with_code(call: Call, body: CreateCredential) -> Credential:
    """Add the credential that signed the challenge of `POST /auth/credentials/code/init`."""
    enrolment = call.service(Enrolment)
    _enabled_body(body)
    token = await _token(call, body, "credentialCode")
    new = await _prove(call, body, token)

    def work() -> Transaction[Credential]:
        done = yield from credentials.enrol(token, "", new, call.world)
        if isinstance(done, Refused):
            raise ApiError("CHALLENGE_INVALID", reason=done.reason)
        if isinstance(done, Taken):
            # Whoever calls is nobody yet: what is enrolled here already is not told.
            raise ApiError("ATTESTATION_INVALID", reason=f"{done.what} is enrolled already")
        metadata, key = token.metadata, done.value.public_key
        refusal = yield from credential_codes.refuse_signer(metadata.org_id, metadata.action_id or "")
        if refusal is not None:
            raise ApiError("CHALLENGE_INVALID", reason=refusal.reason)
        yield from append(_enrolled_with_code(call, token, enrolment.installation_id, done), None)
        yield from mail.tell_of_credential(enrolment.ring, metadata.org_id, metadata.user_id, key, call.world)
        for item in done.enrolled:
            # Nobody countersigned the key: the signer's roster has it as pending, until someone endorses it.
            yield from outgoing.enrol(token.metadata.org_id, item.credential_uuid, None, call.world)
        return done.value

    made = await call.write(work)
    await call.service(RosterKeeper).deliver()
    return made


def _enrolled_with_code(call: Call, token: TemporaryToken, installation_id: str, done: Effect[Credential]) -> System:
    """Nobody countersigned this key; the entry names the user action that made the code."""
    metadata = token.metadata
    return System(
        installation_id=installation_id,
        org_id=metadata.org_id,
        id=call.world.new_id("uj"),
        date_performed=to_iso(call.world.now()),
        entity_ids=done.entities,
        enrolled=tuple(
            Enrolled(credential_uuid=e.credential_uuid, user_id=e.user_id, kind=e.kind, fingerprint=e.fingerprint)
            for e in done.enrolled
        ),
        request_id=call.request.request_id,
        event="CredentialEnrolledWithCode",
        user_id=metadata.user_id,
        username=token.username,
        details={"actionId": metadata.action_id or "", "clientAddress": call.request.client_address},
    )


def _bound_to(caller: Caller) -> str:
    """The access token that the caller's credentials are bound to, ``""`` for none."""
    return caller.token_id if caller.token_kind == "Pat" else ""


def _enabled(kind: CredentialKind | DisabledKind) -> CredentialKind:
    if kind == "Password" or kind == "Totp" or kind == "SessionKey":
        raise ApiError("CREDENTIAL_KIND_DISABLED")
    return kind


def _enabled_body(body: CreateCredential) -> CredentialKind:
    kind = credentials.kind_of(body)
    if kind is None:
        raise ApiError("CREDENTIAL_KIND_DISABLED")
    return kind


def _check_kind(caller: Caller, kind: CredentialKind) -> None:
    """A program adds keys to itself: a credential of its user's would let it log in as the whole user."""
    if caller.token_kind != "Token" and kind != "Key":
        raise ApiError("CALLER_KIND_REFUSED", "Only a person's session adds credentials of this kind.")


def _ask(caller: Caller, kind: CredentialKind) -> Transaction[_Asked]:
    epochs = yield from temporary_tokens.read_epochs(caller.org_id, caller.user_id, caller.token_id)
    if epochs is None:
        raise ApiError("UNAUTHENTICATED", reason="the user is gone")
    party = yield from shown_party(caller.org_id, caller.app_id)
    enrolled = yield from _fido2_ids(caller.org_id, caller.user_id, kind)
    return _Asked(caller.user_id, caller.username, epochs.user, epochs.organisation, epochs.token, party, enrolled)


def _ask_with_code(owner: CodeOwner, kind: CredentialKind) -> Transaction[_Asked]:
    party = yield from shown_party(owner.org_id, None)
    enrolled = yield from _fido2_ids(owner.org_id, owner.user_id, kind)
    return _Asked(owner.user_id, owner.username, owner.user_epoch, owner.org_epoch, None, party, enrolled)


def _fido2_ids(org_id: str, user_id: str, kind: CredentialKind) -> Transaction[list[AllowedCredential]]:
    """Passkeys that an authenticator must not make a second of."""
    rows = (yield store.LIST_FIDO2_IDS, (org_id, user_id)) if kind == "Fido2" else ()
    return [AllowedCredential(id=row[0]) for row in rows]


def _challenge(call: Call, kind: CredentialKind, metadata: TemporaryMetadata, asked: _Asked) -> CredentialChallenge:
    enrolment = call.service(Enrolment)
    identifier = temporary_tokens.issue(
        enrolment.ring, metadata, asked.username, enrolment.challenge_seconds, call.world
    )
    return CredentialChallenge(
        kind=kind,
        user=ChallengedUser(id=asked.user_id, name=asked.username, display_name=asked.username),
        challenge_identifier=identifier,
        challenge=metadata.challenge,
        rp=UNSET if asked.party is None else asked.party,
        authenticator_selection=AuthenticatorSelection() if kind == "Fido2" else UNSET,
        attestation="none" if enrolment.policy is None or kind != "Fido2" else "direct",
        pub_key_cred_params=[PubKeyCredParam(alg=algorithm) for algorithm in ALGORITHMS],
        exclude_credentials=asked.enrolled if kind == "Fido2" else UNSET,
        temporary_authentication_token=identifier,
    )


async def _token(
    call: Call, body: CreateCredential, purpose: Literal["credential", "credentialCode"]
) -> TemporaryToken:
    token = await temporary_tokens.read(call.service(KeyRing), body.challenge_identifier, purpose, call.world)
    if isinstance(token, Refused):
        raise ApiError("CHALLENGE_INVALID", reason=token.reason)
    if token.metadata.credential_kind != credentials.kind_of(body):
        raise ApiError("CHALLENGE_INVALID", reason="made for a credential of another kind")
    return token


async def _prove(call: Call, body: CreateCredential, token: TemporaryToken) -> NewCredential:
    submission = credentials.submission_of(body)
    assert submission is not None
    parties = await call.read(lambda: list_parties(token.metadata.org_id)) if submission.kind == "Fido2" else ()
    proved = credentials.prove(submission, token.metadata.challenge, parties, call.service(Enrolment).policy)
    if isinstance(proved, Refused):
        raise credentials.refusal_error(proved)
    return proved


async def _set_state(call: Call, uuid: str, state: Literal["Active", "Inactive", "Archived"]) -> Message:
    owner = call.caller.user_id
    await call.commit(lambda: credentials.set_state(call.org_id, owner, uuid, state), hold_caller=True)
    return Message()
