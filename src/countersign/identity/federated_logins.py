"""People who come in by an identity provider: end users by themselves, employees because they were invited.

Whoever signs in is the pair of issuer and subject, and nothing else: an employee is linked to it at the first time, by
a mail address that the provider has verified, and never by that again. A provider opens sessions; what is countersigned
is signed with the person's own credentials.
"""

from __future__ import annotations

from dataclasses import dataclass

from countersign.access.keyring import KeyRing
from countersign.api import ApiError, conflict
from countersign.audit.log import append
from countersign.federation import Identity
from countersign.identity import credential_store, mail, providers, registration, registration_store, sessions, users
from countersign.identity.new_credentials import Circumstances, entry
from countersign.identity.providers import Provider
from countersign.identity.registration import Person
from countersign.identity.usernames import username_key
from countersign.storage import Transaction
from countersign.world import World


@dataclass(frozen=True, slots=True)
class Visit:
    """Who comes, from where: an identity that was verified, of the organisation's provider; for the audit log."""

    provider: Provider
    identity: Identity
    around: Circumstances

    @property
    def org_id(self) -> str:
        """The organisation that trusts the provider."""
        return self.provider.org_id


@dataclass(frozen=True, slots=True)
class Entered:
    """Who has a session now; ``token`` is not stored."""

    person: Person
    token: str


def begin_registration(visit: Visit, challenge_id: str, world: World) -> Transaction[Person]:
    """Make this the challenge of an end user who registers; the user is created if the identity is new.

    401 ``USER_EXISTS`` for one who is registered, 400 ``USER_DEACTIVATED``.
    """
    yield from _use(visit)
    user_id = yield from providers.linked(visit.org_id, visit.identity)
    person = (yield from _create(visit, world)) if user_id is None else (yield from _held(visit.org_id, user_id))
    if person is None or person.is_registered or person.registration != "Social":
        raise ApiError("USER_EXISTS")
    if person.state != "Active":
        raise ApiError("USER_DEACTIVATED")
    yield registration_store.BEGIN, (visit.org_id, person.user_id, challenge_id)
    return person


def _create(visit: Visit, world: World) -> Transaction[Person]:
    org_id, identity = visit.org_id, visit.identity
    # A name that says nothing and that nobody else can have: the address may be another user's name, or change hands.
    new = users.NewUser(
        username=world.new_id("oidc"),
        kind="EndUser",
        registration="Social",
        is_sso_required=False,
        external_id=None,
        payload_hash="",
        display_name=identity.mail,
    )
    made = yield from users.create(org_id, new, world)
    user_id = made.value.user_id
    if not (yield from providers.link(org_id, identity.issuer, identity.subject, user_id, world)):
        raise conflict("The identity is being registered by another request")
    person = yield from registration.read(org_id, user_id)
    assert person is not None
    yield from _tell(visit, person, world)
    return person


def log_in_end_user(visit: Visit, ring: KeyRing, lifetime: int, world: World) -> Transaction[Entered]:
    """A session for an end user who has registered. 401 ``USER_NOT_FOUND``, 400 ``USER_DEACTIVATED``."""
    yield from _use(visit)
    person = yield from _known(visit)
    if person is None or person.kind != "EndUser" or not person.is_registered:
        raise ApiError("USER_NOT_FOUND", reason="no registered end user has this identity")
    return (yield from _enter(person, ring, lifetime, providers.SESSIONS["Social"], world))


def log_in_employee(
    visit: Visit, ring: KeyRing, lifetime: int, challenge_id: str | None, world: World
) -> Transaction[Entered]:
    """A session for an invited employee. 401 ``USER_NOT_FOUND``, 400 ``USER_DEACTIVATED``.

    ``challenge_id``: who has no credential yet may register the first with this challenge; those before it are void.
    """
    yield from _use(visit)
    person = yield from _known(visit)
    if person is None:
        person = yield from _link_invited(visit, ring, world)
    if person is None or person.kind != "CustomerEmployee":
        raise ApiError("USER_NOT_FOUND", reason="nobody was invited who has this identity")
    entered = yield from _enter(person, ring, lifetime, providers.SESSIONS["Sso"], world)
    if challenge_id is not None and person.may_register:
        yield registration_store.BEGIN, (visit.org_id, person.user_id, challenge_id)
    return entered


def _link_invited(visit: Visit, ring: KeyRing, world: World) -> Transaction[Person | None]:
    org_id, identity = visit.org_id, visit.identity
    key = None if identity.mail is None else username_key(identity.mail)
    found = None if key is None else (yield from registration.find(org_id, key))
    if found is None or found.kind != "CustomerEmployee" or not _same_mail(found.username, identity.mail or ""):
        return None
    person = yield from _held(org_id, found.user_id)
    if person is None or person.state != "Active":
        return person
    if not (yield from providers.link(org_id, identity.issuer, identity.subject, person.user_id, world)):
        # The address has changed hands at the provider, or somebody else was linked a moment ago.
        raise ApiError("USER_NOT_FOUND", reason="the person has another identity already")
    yield from _tell(visit, person, world)
    letter = mail.identity_linked(person.organisation, org_id, person.username, identity.issuer, world.now())
    yield from mail.put(ring, org_id, person.user_id, person.username.strip(), letter, None, world)
    return person


def _same_mail(username: str, mail: str) -> bool:
    """Whether they are one address. Letters of other scripts that are alike, or that casing makes equal, are not."""
    return username.strip().encode().lower() == mail.encode().lower()


def _use(visit: Visit) -> Transaction[None]:
    if not (yield from providers.use(visit.provider, visit.identity)):
        raise ApiError("IDENTITY_REFUSED", reason="the ID token was used before, or the provider is gone")


def _known(visit: Visit) -> Transaction[Person | None]:
    user_id = yield from providers.linked(visit.org_id, visit.identity)
    return None if user_id is None else (yield from _held(visit.org_id, user_id))


def _held(org_id: str, user_id: str) -> Transaction[Person | None]:
    """The person, whom nobody changes until the transaction ends; ``None`` for one who is archived."""
    yield credential_store.LOCK_USER, (org_id, user_id)
    person = yield from registration.read(org_id, user_id)
    return None if person is None or person.state == "Archived" else person


def _enter(person: Person, ring: KeyRing, lifetime: int, name: str, world: World) -> Transaction[Entered]:
    if person.state != "Active":
        raise ApiError("USER_DEACTIVATED")
    _, token = yield from sessions.open_session(
        ring, person.org_id, person.user_id, person.username, lifetime, world, name=name
    )
    return Entered(person, token)


def _tell(visit: Visit, person: Person, world: World) -> Transaction[None]:
    """Who somebody is at a provider decides who comes in, so that the log has it."""
    identity = visit.identity
    details = {"issuer": identity.issuer, "subject": identity.subject}
    others = (visit.provider.provider_id,)
    yield from append(entry("IdentityLinked", person, (), others, details, visit.around, world), None)
