"""Identity providers that organisations trust, and sign-ins that are under way at them.

A sign-in is kept on the server: its state (256 random bits) names it, is good once, and is bound to the organisation,
the provider and the redirect URI with which it began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from countersign.access.keyring import KeyRing
from countersign.federation import Claimed, Client, Identity, SignIn, state_digest
from countersign.identity import provider_store as store
from countersign.storage import Row, Transaction
from countersign.world import World

#: Which pair of operations a sign-in belongs to.
Flow = Literal["sso", "oidc"]

#: How the sessions are called that an identity of a provider opens, by the kind of the provider.
SESSIONS: Mapping[str, str] = {"Sso": "single sign-on", "Social": "social login"}
#: ID tokens are remembered for that long after they count no longer: clocks of servers differ.
_KEPT_SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class Provider:
    """An active provider of an organisation; ``sealed``: the client's secret there, if it has one."""

    org_id: str
    provider_id: str
    issuer: str
    client_id: str
    sealed: bytes | None = field(repr=False)

    def client(self, ring: KeyRing) -> Client:
        """What this server is at the provider."""
        secret = None if self.sealed is None else ring.payload_seal.open(self.sealed, self.provider_id).decode()
        return Client(self.issuer, self.client_id, secret)


def _provider(row: Row) -> Provider:
    org_id, provider_id, issuer, client_id, sealed = row
    return Provider(org_id, provider_id, issuer, client_id, None if sealed is None else bytes(sealed))


def for_sign_in(org_id: str, redirect_uri: str, client_id: str | None) -> Transaction[Provider | None]:
    """The provider at which the organisation's people sign in, with this client where one is named.

    ``None`` where there is none, or the redirect URI is not on its list.
    """
    if client_id is None:
        rows = yield store.FIND_SSO, (redirect_uri, org_id)
    else:
        rows = yield store.FIND_SSO_CLIENT, (redirect_uri, org_id, client_id)
    return _provider(rows[0]) if rows else None


def sso_client(org_id: str) -> Transaction[str | None]:
    """The client with which the organisation's people sign in, ``None`` where they do not."""
    rows = yield store.FIRST_SSO_CLIENT, (org_id,)
    return rows[0][0] if rows else None


def for_end_users(claimed: Claimed, org_id: str | None) -> Transaction[tuple[Provider, ...]]:
    """The providers that an ID token of an end user may be of; several where the organisation has to be named."""
    found: list[Provider] = []
    for audience in claimed.audiences:
        if org_id is None:
            rows = yield store.FIND_SOCIAL, (claimed.issuer, audience)
        else:
            rows = yield store.FIND_SOCIAL_OF, (claimed.issuer, audience, org_id)
        found += map(_provider, rows)
    return tuple(found)


def apps(provider: Provider) -> Transaction[frozenset[str]]:
    """The clients of end users' apps that the organisation trusts at this issuer."""
    rows = yield store.LIST_SOCIAL_CLIENTS, (provider.org_id, provider.issuer)
    return frozenset(row[0] for row in rows)


class _Secrets(msgspec.Struct, frozen=True):
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that was begun here and is now completed."""

    provider: Provider
    redirect_uri: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


def begin(
    ring: KeyRing, provider: Provider, flow: Flow, redirect_uri: str, sign_in: SignIn, expires_at: int
) -> Transaction[None]:
    """Remember a sign-in until ``expires_at`` (milliseconds)."""
    digest = state_digest(sign_in.state)
    secrets = msgspec.json.encode(_Secrets(sign_in.nonce, sign_in.verifier))
    sealed = ring.payload_seal.seal(secrets, digest)
    row = (digest, provider.org_id, provider.provider_id, flow, redirect_uri, sealed, expires_at)
    yield store.INSERT_SIGN_IN, row


def take(ring: KeyRing, flow: Flow, state: str, now: int) -> Transaction[Begun | None]:
    """The sign-in with this state, which is used up.

    ``None`` for one unknown, taken, too old or of another flow, and where its redirect URI is on no list any more.
    """
    digest = state_digest(state)
    rows = yield store.TAKE_SIGN_IN, (digest, flow)
    if not rows:
        return None
    org_id, provider_id, redirect_uri, sealed, expires_at = rows[0]
    found = yield store.READ_PROVIDER, (redirect_uri, org_id, provider_id)
    if expires_at <= now or not found:
        return None
    secrets = msgspec.json.decode(ring.payload_seal.open(bytes(sealed), digest), type=_Secrets)
    return Begun(_provider(found[0]), redirect_uri, secrets.nonce, secrets.verifier)


def use(provider: Provider, identity: Identity) -> Transaction[bool]:
    """Use an ID token up, in the transaction of its effect; false where it was used, or the provider is gone."""
    if not (yield store.IS_ACTIVE, (provider.org_id, provider.provider_id)):
        return False
    kept_until = (identity.ends_at + _KEPT_SECONDS) * 1000
    return bool((yield store.USE_ID_TOKEN, (identity.digest, kept_until)))


def linked(org_id: str, identity: Identity) -> Transaction[str | None]:
    """The id of the person who this is, ``None`` for nobody known."""
    rows = yield store.FIND_LINK, (org_id, identity.issuer, identity.subject)
    return rows[0][0] if rows else None


def link(org_id: str, issuer: str, subject: str, user_id: str, world: World) -> Transaction[bool]:
    """Let this identity be this person from now on; false where either has another link."""
    return bool((yield store.LINK, (org_id, issuer, subject, user_id, world.now())))


def end_what_it_opened(org_id: str, issuer: str, kind: str) -> Transaction[None]:
    """End sessions that identities of this issuer opened at a provider of this kind, and void what they began."""
    yield store.HOLD_USERS_OF_ISSUER, (org_id, org_id, issuer)
    yield store.END_SESSIONS_OF_ISSUER, (org_id, SESSIONS[kind], org_id, issuer)
    yield store.END_REGISTRATIONS_OF_ISSUER, (org_id, org_id, issuer)


def forget(now: int) -> Transaction[None]:
    """Drop sign-ins that nobody completed, and what is remembered of ID tokens that ended."""
    yield store.FORGET_SIGN_INS, (now,)
    yield store.FORGET_ID_TOKENS, (now,)
