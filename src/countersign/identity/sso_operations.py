"""Single sign-on of employees by the organisation's identity provider: what callers can do."""

from __future__ import annotations

import structlog

from countersign.access import temporary_tokens
from countersign.access.keyring import KeyRing
from countersign.api import UNSET, ApiError, Call, UnsetType, operation, validation
from countersign.credentials.outcome import Refused
from countersign.federation import (
    Expected,
    IdentityProviders,
    Unavailable,
    authorisation_url,
    new_sign_in,
)
from countersign.identity import credentials, federated_logins, new_credentials, providers, registration
from countersign.identity.credential_types import CreateCredential, CredentialChallenge
from countersign.identity.entrance import Entrance, named_organisation
from countersign.identity.federated_logins import Entered
from countersign.identity.federation_types import BeginOidc, BeginSso, BegunOidc, BegunSso, CompleteSignIn, OidcLogin
from countersign.identity.provider_visits import no_provider, verified_visit
from countersign.identity.providers import Flow
from countersign.identity.registration_types import Authentication, RegistrationChallenge
from countersign.identity.types import Credential
from countersign.keystores.outgoing import RosterKeeper
from countersign.storage import Transaction

log = structlog.get_logger("countersign.security")


@operation("POST", "/auth/login/sso/init", public=True)
async def sso_login_init(call: Call, body: BeginSso) -> BegunSso:
    """Begin a sign-in at the organisation's identity provider: send the browser to the URL of the answer.

    `redirectUri` is one of those on the provider's list, to the letter. The sign-in is good once, for ten minutes.
    """
    url = await _begin(call, "sso", body.org_id, body.redirect_uri, client_id=body.client_id, nonce=None)
    return BegunSso(sso_redirect_url=url)


@operation("POST", "/auth/login/sso", public=True)
async def sso_login(call: Call, body: CompleteSignIn) -> Authentication:
    """Complete a sign-in, for an employee who was invited, with what the provider sent the browser back with.

    At the first time the employee is found by the mail address, which the provider must have verified, from then on by
    the provider's own id alone. The session reads; a user action takes a credential of the user.
    """
    return Authentication(token=(await _complete(call, "sso", body, None)).token)


@operation("POST", "/auth/login/oidc/init", public=True)
async def oidc_login_init(call: Call, body: BeginOidc) -> BegunOidc:
    """Begin the same at the organisation's provider, whichever its client is: the oldest with this `redirectUri`."""
    nonce = None if body.nonce is UNSET else body.nonce
    url = await _begin(call, "oidc", body.org_id, body.redirect_uri, client_id=None, nonce=nonce)
    return BegunOidc(redirect_url=url)


@operation("POST", "/auth/login/oidc", public=True)
async def oidc_login(call: Call, body: CompleteSignIn) -> OidcLogin:
    """Complete it. Who has not registered yet is given a challenge too, for `POST /auth/login/oidc/credentials`."""
    token_id = call.world.new_id("uj")
    entered = await _complete(call, "oidc", body, token_id)
    if not entered.person.may_register:
        return OidcLogin(token=entered.token)
    challenge = await new_credentials.challenge(call, RegistrationChallenge, "oidcCredential", entered.person, token_id)
    return OidcLogin(token=entered.token, credential_challenge=_of_one_credential(challenge))


@operation("POST", "/auth/login/oidc/credentials", public=True)
async def oidc_login_credentials(call: Call, body: CreateCredential) -> Credential:
    """Register with a first credential, which signed the challenge of `POST /auth/login/oidc`.

    It may be of kind `Fido2`, `Key` or `PasswordProtectedKey`. Who is registered adds credentials as anybody else does
    (401 `USER_EXISTS`).
    """
    submission = credentials.submission_of(body)
    if submission is None:
        raise ApiError("CREDENTIAL_KIND_DISABLED")
    if submission.kind == "RecoveryKey":
        raise validation("credentialKind", "the first credential is Fido2, Key or PasswordProtectedKey")
    token = await temporary_tokens.read(call.service(KeyRing), body.challenge_identifier, "oidcCredential", call.world)
    if isinstance(token, Refused):
        raise ApiError("CHALLENGE_INVALID", reason=token.reason)
    known, new = token, await new_credentials.prove_all(call, [submission], token)
    ring, around = call.service(KeyRing), new_credentials.circumstances(call)

    def work() -> Transaction[Credential]:
        completed = yield from registration.complete(ring, known, new, around, call.world)
        person = completed.person
        return (yield from credentials.list_own(person.org_id, person.user_id, ""))[0]

    made = await call.write(work)
    await call.service(RosterKeeper).deliver()
    return made


def _of_one_credential(challenge: RegistrationChallenge) -> CredentialChallenge:
    """It looks like that of a passkey, which has every member that those of other kinds have."""
    return CredentialChallenge(
        kind="Fido2",
        user=challenge.user,
        challenge_identifier=challenge.temporary_authentication_token,
        challenge=challenge.challenge,
        rp=challenge.rp,
        authenticator_selection=challenge.authenticator_selection,
        attestation=challenge.attestation,
        pub_key_cred_params=challenge.pub_key_cred_params,
        exclude_credentials=challenge.exclude_credentials,
        temporary_authentication_token=challenge.temporary_authentication_token,
    )


async def _begin(
    call: Call, flow: Flow, org: str | UnsetType, redirect_uri: str, *, client_id: str | None, nonce: str | None
) -> str:
    org_id = await named_organisation(call, org)
    provider = await call.read(lambda: providers.for_sign_in(org_id, redirect_uri, client_id))
    if provider is None:
        raise ApiError("SSO_NOT_OFFERED")
    metadata = await call.service(IdentityProviders).metadata(provider.issuer)
    if isinstance(metadata, Unavailable):
        raise no_provider(metadata.reason)
    ring, sign_in = call.service(KeyRing), new_sign_in(call.world, nonce)
    expires_at = call.world.now() + call.service(Entrance).sign_in_seconds * 1000
    await call.write(lambda: providers.begin(ring, provider, flow, redirect_uri, sign_in, expires_at))
    return authorisation_url(metadata, provider.client_id, redirect_uri, sign_in)


async def _complete(call: Call, flow: Flow, body: CompleteSignIn, challenge_id: str | None) -> Entered:
    ring, lifetime = call.service(KeyRing), call.service(Entrance).session_seconds
    # Taken before anybody is asked: of two who come with one state, the second comes too late.
    begun = await call.write(lambda: providers.take(ring, flow, body.state, call.world.now()))
    if begun is None:
        raise ApiError("SIGN_IN_INVALID")
    provider = begun.provider
    redeemed = await call.service(IdentityProviders).redeem(
        provider.client(ring), body.code, begun.redirect_uri, begun.verifier
    )
    if isinstance(redeemed, Unavailable):
        raise no_provider(redeemed.reason)
    if isinstance(redeemed, Refused):
        log.info("a code was refused", organisation=provider.org_id, issuer=provider.issuer, why=redeemed.reason)
        raise ApiError("IDENTITY_REFUSED", reason=redeemed.reason)
    expected = Expected(provider.issuer, provider.client_id, begun.nonce)
    visit = await verified_visit(call, provider, redeemed, expected)
    entered = await call.write(
        lambda: federated_logins.log_in_employee(visit, ring, lifetime, challenge_id, call.world)
    )
    log.info("single sign-on", organisation=visit.org_id, user=entered.person.user_id, issuer=provider.issuer)
    return entered
