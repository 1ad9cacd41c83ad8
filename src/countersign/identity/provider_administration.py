"""What an operator does with identity providers by a local command: no request of the API does it. Each is audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from countersign.access.keyring import KeyRing
from countersign.credentials.outcome import Refused
from countersign.encoding.dates import to_iso
from countersign.federation.redirects import redirect_refusal
from countersign.identity import (
    administration,
    credential_store,
    providers,
    registration,
    registration_store,
    session_store,
)
from countersign.identity import provider_store as store
from countersign.identity.local_commands import Impossible, tell
from countersign.outgoing import Rules, check_url
from countersign.storage import Transaction
from countersign.world import World

Kind = Literal["Sso", "Social"]


@dataclass(frozen=True, slots=True)
class Listed:
    """An active provider; ``has_secret``: whether this server has a secret there. Times in milliseconds."""

    org_id: str
    provider_id: str
    kind: Kind
    issuer: str
    client_id: str
    has_secret: bool
    created_at: int
    redirect_uris: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON is printed of it."""
        return {
            "id": self.provider_id,
            "orgId": self.org_id,
            "kind": self.kind,
            "issuer": self.issuer,
            "clientId": self.client_id,
            "hasSecret": self.has_secret,
            "redirectUris": list(self.redirect_uris),
            "dateCreated": to_iso(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class NewProvider:
    """A provider to be trusted: ``Sso`` for employees, with redirect URIs; ``Social`` for end users, without.

    ``org_id``: ``None`` for the only organisation.
    """

    org_id: str | None
    kind: Kind
    issuer: str
    client_id: str
    secret: str | None = field(repr=False)
    redirect_uris: Sequence[str]


def add(new: NewProvider, rules: Rules, ring: KeyRing, world: World) -> Transaction[str]:
    """Trust a provider; its id. Raises ``Impossible``."""
    refused = check_url(new.issuer, rules)
    if refused is not None:
        raise Impossible(f"issuer: {refused.reason}")
    if "?" in new.issuer:
        raise Impossible("issuer: an issuer has no query (OpenID Connect Discovery 1.0 section 3)")
    if new.kind == "Sso" and not new.redirect_uris:
        raise Impossible("single sign-on needs a redirect URI: where people come back to")
    if new.kind == "Social" and (new.redirect_uris or new.secret is not None):
        raise Impossible(
            "end users' apps go to the provider by themselves: no redirect URI and no secret is needed here"
        )
    org_id = yield from administration.organisation(new.org_id)
    provider_id = world.new_id("ip")
    sealed = None if new.secret is None else ring.payload_seal.seal(new.secret.encode(), provider_id)
    row = (org_id, provider_id, new.kind, new.issuer, new.client_id, sealed, world.now())
    if not (yield store.INSERT_PROVIDER, row):
        raise Impossible("the organisation trusts this client of this issuer already")
    for uri in new.redirect_uris:
        yield from _insert_redirect(org_id, provider_id, uri)
    details = {"kind": new.kind, "issuer": new.issuer, "clientId": new.client_id}
    redirects = {} if not new.redirect_uris else {"redirectUris": " ".join(new.redirect_uris)}
    yield from tell(org_id, "IdentityProviderAdded", (provider_id,), {**details, **redirects}, world)
    return provider_id


def list_all() -> Transaction[list[Listed]]:
    """Every provider of every organisation."""
    found: list[Listed] = []
    for org_id, provider_id, kind, issuer, client_id, secret, created_at in (yield store.LIST_PROVIDERS, ()):
        redirects = yield store.LIST_REDIRECTS, (org_id, provider_id)
        uris = tuple(row[0] for row in redirects)
        found.append(Listed(org_id, provider_id, kind, issuer, client_id, secret is not None, created_at, uris))
    return found


def find(provider_id: str) -> Transaction[Listed]:
    """One of them. Raises ``Impossible``."""
    for each in (yield from list_all()):
        if each.provider_id == provider_id:
            return each
    raise Impossible(f"there is no identity provider {provider_id!r}")


def remove(provider_id: str, world: World) -> Transaction[None]:
    """Trust it no longer: nobody comes in by it, and what its people opened and began by it ends.

    Sessions that they opened with credentials of their own stay. Raises ``Impossible``.
    """
    provider = yield from find(provider_id)
    yield store.ARCHIVE_PROVIDER, (provider.org_id, provider_id)
    yield from providers.end_what_it_opened(provider.org_id, provider.issuer, provider.kind)
    details = {"issuer": provider.issuer, "clientId": provider.client_id}
    yield from tell(provider.org_id, "IdentityProviderRemoved", (provider_id,), details, world)


def set_secret(provider_id: str, secret: str, ring: KeyRing, world: World) -> Transaction[None]:
    """Replace the client's secret at the provider. Raises ``Impossible``."""
    provider = yield from _sso(provider_id)
    sealed = ring.payload_seal.seal(secret.encode(), provider_id)
    yield store.SET_SECRET, (sealed, provider.org_id, provider_id)
    yield from tell(provider.org_id, "IdentityProviderChanged", (provider_id,), {"changed": "client secret"}, world)


def allow_redirect(provider_id: str, uri: str, world: World) -> Transaction[None]:
    """Let the provider send people back to one more URI. Raises ``Impossible``."""
    provider = yield from _sso(provider_id)
    if (yield from _insert_redirect(provider.org_id, provider_id, uri)):
        yield from tell(provider.org_id, "IdentityProviderChanged", (provider_id,), {"redirectUriAdded": uri}, world)


def forbid_redirect(provider_id: str, uri: str, world: World) -> Transaction[None]:
    """Let it send nobody there any more. Raises ``Impossible``."""
    provider = yield from _sso(provider_id)
    if not (yield store.DELETE_REDIRECT, (provider.org_id, provider_id, uri)):
        raise Impossible("the provider has no such redirect URI")
    yield from tell(provider.org_id, "IdentityProviderChanged", (provider_id,), {"redirectUriRemoved": uri}, world)


def link(person: str, provider_id: str, subject: str, world: World) -> Transaction[str]:
    """Let a subject of the provider be this person (id or username); the user's id. Raises ``Impossible``.

    For providers that verify no mail address.
    """
    provider = yield from _sso(provider_id)
    identity = yield from administration.find_person(person)
    if identity.org_id != provider.org_id:
        raise Impossible("the person is of another organisation")
    found = yield from registration.read(identity.org_id, identity.id)
    if found is None or found.kind != "CustomerEmployee" or found.state == "Archived":
        raise Impossible("single sign-on is for employees who are not archived")
    if not (yield from providers.link(provider.org_id, provider.issuer, subject, found.user_id, world)):
        raise Impossible("the person has an identity already, or the subject is somebody else's: unlink first")
    details = {"issuer": provider.issuer, "subject": subject, "by": "local command"}
    user_id, entities = found.user_id, (found.user_id, provider_id)
    yield from tell(
        provider.org_id, "IdentityLinked", entities, details, world, user_id=user_id, username=found.username
    )
    return user_id


def unlink(person: str, world: World) -> Transaction[str]:
    """Forget who a person is at a provider; an employee is then found by mail address once more. Raises ``Impossible``.

    Sessions that the identity opened end, and a registration that it began and did not complete is void.
    """
    identity = yield from administration.find_person(person)
    org_id, user_id = identity.org_id, identity.id
    rows = yield store.UNLINK, (org_id, user_id)
    if not rows:
        raise Impossible("the person has no identity at a provider")
    # Whoever exchanges a session meanwhile is waited for.
    yield credential_store.LOCK_USER, (org_id, user_id)
    yield registration_store.END, (org_id, user_id)
    for name in providers.SESSIONS.values():
        yield session_store.END_SESSIONS_OF_NAME, (org_id, user_id, name)
    details = {"issuer": rows[0][0], "subject": rows[0][1]}
    yield from tell(org_id, "IdentityUnlinked", (user_id,), details, world, user_id=user_id, username=identity.name)
    return user_id


def _sso(provider_id: str) -> Transaction[Listed]:
    provider = yield from find(provider_id)
    if provider.kind != "Sso":
        raise Impossible("this is for providers of single sign-on")
    return provider


def _insert_redirect(org_id: str, provider_id: str, uri: str) -> Transaction[bool]:
    refused = redirect_refusal(uri)
    if isinstance(refused, Refused):
        raise Impossible(f"redirect URI {uri!r}: {refused.reason}")
    return bool((yield store.INSERT_REDIRECT, (org_id, provider_id, uri)))
