"""Login and logout: what callers can do."""

from __future__ import annotations

from functools import partial

import structlog

from countersign.access import temporary_tokens
from countersign.access.keyring import KeyRing
from countersign.access.relying_parties import list_parties
from countersign.access.temporary_tokens import TemporaryMetadata, TemporaryToken
from countersign.access.types import (
    PasswordFactor,
    RelyingParty,
    SignedChallenge,
    SupportedKind,
    TotpFactor,
    UserActionChallenge,
)
from countersign.api import UNSET, ApiError, Call, Effect, evidence_error, operation, validation
from countersign.credentials.outcome import Refused
from countersign.identity import delegated_sessions, logins, mailed_codes, providers, sessions
from countersign.identity.credential_operations import Enrolment
from countersign.identity.credential_types import Message
from countersign.identity.entrance import (
    Entrance,
    check_code,
    count_code_try,
    default_party,
    mail_code,
    named_organisation,
    named_user,
)
from countersign.identity.login_types import CreateLoginChallenge, DelegatedLogin, Logout, SsoRequired
from countersign.identity.logins import ANYBODY, NOBODY, Named, Offered, Proven, SignedFactor, Subject
from countersign.identity.registration_types import Authentication, UserLookup
from countersign.storage import Transaction

log = structlog.get_logger("countersign.security")

_WHY_NOT = {"unknown": "USER_NOT_FOUND", "deactivated": "USER_DEACTIVATED", "no credential": "NO_CREDENTIAL"}


@operation("POST", "/auth/login/code", public=True)
async def send_login_code(call: Call, body: UserLookup) -> Message:
    """Have a login code sent to an employee with a password-protected key.

    The answer is the same for every username. At most five an hour are sent to one user.
    """
    return await mail_code(call, body, partial(mailed_codes.send, "login"))


@operation("POST", "/auth/login/init", public=True)
async def create_login_challenge(call: Call, body: CreateLoginChallenge) -> UserActionChallenge:
    """Begin a login: sign the challenge with one of `allowCredentials`.

    Without a username any discoverable passkey of the organisation may answer. An encrypted private key is handed out
    only against a login code, which is used up. Where the server conceals who exists, every name is given a challenge.
    """
    entrance = call.service(Entrance)
    org_id = await named_organisation(call, body.org_id)
    party = await call.read(lambda: default_party(org_id))
    if body.username is UNSET:
        if body.login_code is not UNSET:
            raise validation("loginCode", "a code needs the username that it was sent to")
        return _challenge(call, org_id, party, Subject(ANYBODY), ())
    key = named_user(call, org_id, body.username)
    named = await call.read(lambda: logins.find(org_id, key))
    reason = logins.why_not(named, with_code=body.login_code is not UNSET)
    if reason is not None and not entrance.conceals_names:
        raise ApiError(_WHY_NOT[reason])
    if body.login_code is not UNSET:
        await _use_code(call, org_id, key, named, body.login_code)
    with_code = body.login_code is not UNSET
    # Made for everybody, so that it takes the same time.
    decoy = Offered("Fido2", logins.decoy_id(call.service(KeyRing), org_id, key), None)
    if named is None or reason is not None:
        return _challenge(call, org_id, party, Subject(NOBODY), (decoy,))
    subject = Subject(named.user_id, named.user_epoch, named.org_epoch, with_code)
    return _challenge(call, org_id, party, subject, named.usable(with_code=with_code))


async def _use_code(call: Call, org_id: str, key: str, named: Named | None, typed: str) -> None:
    count_code_try(call)
    good = logins.code_is_good(call.service(KeyRing), named, typed, call.world.now())
    stored = None if named is None else named.code.hash
    check_code(call, stored, f"login {org_id} {key}", good=good)
    assert named is not None
    assert stored is not None
    user_id, hashed = named.user_id, stored
    if not await call.write(lambda: mailed_codes.take(org_id, user_id, "login", hashed)):
        raise ApiError("INVALID_CODE", reason="used meanwhile")


def _challenge(
    call: Call, org_id: str, party: RelyingParty | None, subject: Subject, offered: tuple[Offered, ...]
) -> UserActionChallenge:
    ring, world = call.service(KeyRing), call.world
    token_id = world.new_id("uj")
    metadata = TemporaryMetadata(
        user_id="",
        org_id=org_id,
        token_kind="Temp",
        purpose="login",
        challenge=temporary_tokens.new_challenge(world),
        user_epoch=0,
        org_epoch=0,
        subject=subject.seal(ring, token_id),
    )
    seconds = call.service(Enrolment).challenge_seconds
    kinds = dict.fromkeys(each.kind for each in offered) or {"Fido2": None}
    return UserActionChallenge(
        challenge=metadata.challenge,
        challenge_identifier=temporary_tokens.issue(ring, metadata, "", seconds, world, token_id=token_id),
        rp=UNSET if party is None else party,
        supported_credential_kinds=[SupportedKind(kind=kind) for kind in kinds],
        allow_credentials=logins.allowed(offered),
    )


@operation("POST", "/auth/login", public=True)
async def login(call: Call, body: SignedChallenge) -> Authentication | SsoRequired:
    """Log in with the signed challenge of `POST /auth/login/init`, once.

    Who must sign in by the organisation's identity provider (`isSSORequired`) is answered its client.
    """
    entrance, ring = call.service(Entrance), call.service(KeyRing)
    token = await temporary_tokens.read(ring, body.challenge_identifier, "login", call.world)
    subject = token if isinstance(token, Refused) else Subject.open(ring, token)
    if isinstance(token, Refused) or isinstance(subject, Refused):
        refused = token if isinstance(token, Refused) else subject
        raise ApiError("CHALLENGE_INVALID", reason=str(refused))
    if entrance.wrong_answers.exhausted(token.id):
        raise ApiError("CHALLENGE_INVALID", reason="too many failed attempts")
    factors: list[SignedFactor] = []
    for factor in (body.first_factor, body.second_factor):
        if isinstance(factor, PasswordFactor | TotpFactor):
            raise ApiError("CREDENTIAL_KIND_DISABLED")
        if factor is not UNSET:
            factors.append(factor)
    proofs = await _prove(call, token, subject, factors)
    owner = proofs[0].holder
    if not owner.may_log_in:
        raise ApiError("ASSERTION_INVALID" if entrance.conceals_names else "USER_DEACTIVATED", reason=owner.state)
    for proof in proofs:
        await _step_counter(call, token, proof)
    if owner.is_sso_required:
        return await _sso_required(call, owner.org_id)
    lifetime = entrance.session_seconds
    session = await call.write(lambda: logins.enter(ring, token, subject, proofs, lifetime, call.world))
    if isinstance(session, Refused):
        raise ApiError("CHALLENGE_INVALID", reason=session.reason)
    log.info("login", organisation=owner.org_id, user=owner.user_id, credential=owner.credential_uuid)
    return Authentication(token=session)


async def _sso_required(call: Call, org_id: str) -> SsoRequired:
    client_id = await call.read(lambda: providers.sso_client(org_id))
    if client_id is None:
        raise ApiError("SSO_REQUIRED", reason="the organisation has no provider")
    return SsoRequired(sso_client_id=client_id)


async def _prove(call: Call, token: TemporaryToken, subject: Subject, factors: list[SignedFactor]) -> list[Proven]:
    org_id, entrance = token.metadata.org_id, call.service(Entrance)
    parties = await call.read(lambda: list_parties(org_id))
    party = await call.read(lambda: default_party(org_id))
    proofs: list[Proven] = []
    for factor in factors:
        credential_id = factor.credential_assertion.cred_id
        found = await call.read(partial(logins.find_holder, org_id, credential_id))
        first = proofs[0].holder if proofs else None
        holder = found if logins.is_for(subject, found, factor, first=first) else None
        if holder is None and not entrance.conceals_names:
            raise ApiError("NO_CREDENTIAL", reason="credential unknown, inactive or not of this challenge")
        handle = subject.user_id == ANYBODY and first is None
        proven = logins.prove(factor, holder, token.metadata.challenge, parties, party, handle_required=handle)
        if isinstance(proven, Refused):
            entrance.wrong_answers.note(token.id)
            log.info("login failed", organisation=org_id, reason=proven.reason)
            raise evidence_error("ASSERTION_INVALID", proven)
        proofs.append(proven)
    return proofs


async def _step_counter(call: Call, token: TemporaryToken, proof: Proven) -> None:
    answer, holder, entrance = proof.answer, proof.holder, call.service(Entrance)
    # An authenticator that does not count, as those of synchronised passkeys, costs no write.
    if answer is None or answer.authenticator_data.sign_count == holder.sign_count == 0:
        return
    refusal = await entrance.counters.step(holder, holder.credential_uuid, answer)
    if refusal is not None:
        entrance.wrong_answers.note(token.id)
        raise evidence_error("ASSERTION_INVALID", refusal)


@operation("POST", "/auth/login/delegated", permission="Auth:Delegated:Login", signed=True, callers=("ServiceAccount",))
async def delegated_login(call: Call, body: DelegatedLogin) -> Authentication:
    """Open a session for an end user, or for an employee whom a service account registered.

    The session reads; whatever asks for a user action still needs a credential of the user.
    """
    ring, lifetime, by = call.service(KeyRing), call.service(Entrance).session_seconds, call.caller.user_id

    def work() -> Transaction[Effect[str]]:
        opened = yield from delegated_sessions.open_for(ring, call.org_id, body.username, by, lifetime, call.world)
        return Effect(opened.token, (opened.user_id, opened.session_id))

    return Authentication(token=await call.commit(work))


@operation("PUT", "/auth/logout", callers=("Token",))
async def logout(call: Call, body: Logout) -> Message:
    """End this session, or every session of the user; personal access tokens stay."""
    caller, every = call.caller, body.all_sessions is True
    await call.write(lambda: sessions.end(caller.org_id, caller.user_id, caller.token_id, every=every))
    log.info("logout", organisation=caller.org_id, user=caller.user_id, every=every)
    return Message()


@operation("POST", "/auth/logout", callers=("Token",))
async def logout_by_post(call: Call, body: Logout) -> Message:
    """The same, as clients of 2024 call it."""
    return await logout(call, body)
