"""The first organisation, its administrator and what they need: made locally, never over HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from countersign import permissions
from countersign.access import catalogue, keyring, server_keys
from countersign.access.installation import read_installation, write_installation
from countersign.access.keyring import KeyRing
from countersign.audit.entry import Enrolled, System
from countersign.audit.log import append
from countersign.credentials.public_key import PublicKey
from countersign.encoding.dates import to_iso
from countersign.identity import store
from countersign.identity.key_credentials import insert_key
from countersign.identity.sessions import open_session
from countersign.identity.usernames import username_key
from countersign.keystores import Founder
from countersign.keystores.store import insert_root, insert_store
from countersign.storage import Database, Transaction
from countersign.world import World


class AlreadyInitialised(Exception):
    """The database holds an organisation; ``init`` is done once."""


class BadName(ValueError):
    """A name that no user or organisation can have."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to create. ``wrapped_root``: the sealed root of the key store ``store_id``.

    ``break_glass_hours``: how long break-glass waits from now on, whatever settings say later.
    ``founder``: the administrator's credential as the root names it, with its ids.
    ``relying_party``: host name that passkeys will be bound to; ``origin``: the web origin of the console.
    """

    installation_id: str
    profile: str
    organisation: str
    administrator: str
    administrator_key: PublicKey
    relying_party: str
    origin: str
    store_id: str
    wrapped_root: bytes
    break_glass_hours: int
    founder: Founder | None = None
    authoriser_id: str | None = None


@dataclass(frozen=True, slots=True)
class Founded:
    """Ids of what was created; ``credential_id`` is what a client signs with."""

    org_id: str
    app_id: str
    user_id: str
    credential_uuid: str
    credential_id: str
    admin_permission_id: str


def founding_credential(key: PublicKey, org_id: str, world: World) -> Founder:
    """New ids for a credential of a new user, for the store's root to name and the database to hold."""
    return Founder(org_id, world.new_id("us"), world.new_id("cr"), "Key", key.pem)


def prepare_keys(server_secret: bytes, world: World) -> Transaction[server_keys.KeySet]:
    """The server's own keys, before the key store's root, which pins one of them. Refuses a second time."""
    if (yield store.COUNT_ORGANISATIONS, ())[0][0]:
        raise AlreadyInitialised
    existing = yield from server_keys.load(server_secret)
    if existing.keys:
        return existing
    return (yield from server_keys.create_all(server_secret, world))


def found(plan: Plan, world: World) -> Transaction[Founded]:
    """Everything in one transaction; ``AlreadyInitialised`` when an organisation exists, also one made at once."""
    key = username_key(plan.administrator)
    if key is None:
        raise BadName("the administrator's name must have 1 to 254 visible characters")
    if (yield store.COUNT_ORGANISATIONS, ())[0][0]:
        raise AlreadyInitialised
    facts = {
        "installation_id": plan.installation_id,
        "profile": plan.profile,
        "store_id": plan.store_id,
        "break_glass_hours": str(plan.break_glass_hours),
    }
    if plan.authoriser_id is not None:
        facts["authoriser_id"] = plan.authoriser_id
    if not (yield from write_installation(facts)):
        raise AlreadyInitialised
    now = world.now()
    app_id = world.new_id("ap")
    founder = plan.founder or founding_credential(plan.administrator_key, world.new_id("or"), world)
    org_id, user_id, uuid = founder.org_id, founder.user_id, founder.credential_uuid
    yield store.INSERT_ORGANISATION, (org_id, plan.organisation, now)
    yield store.INSERT_APPLICATION, (org_id, app_id, "Default", plan.relying_party, plan.origin, now)
    yield store.INSERT_APPLICATION_ID, (app_id, org_id)
    yield store.INSERT_RELYING_PARTY, (org_id, plan.relying_party, plan.organisation, 1, now)
    for owner in ("", app_id):
        yield store.INSERT_ORIGIN, (org_id, owner, plan.relying_party, plan.origin, now)
    yield store.INSERT_USER, (org_id, user_id, 0, plan.administrator, key, None, now)
    pem, fingerprint = plan.administrator_key.pem, plan.administrator_key.fingerprint
    credential_id = yield from insert_key(org_id, user_id, uuid, "First credential", pem, fingerprint, now, world)
    assert credential_id is not None
    admin_permission = yield from permissions.create_managed(org_id, world)
    for identity in (user_id, app_id):
        yield from permissions.grant(org_id, admin_permission, identity, world)
    yield from insert_store(plan.store_id, "sealed", "Sealed store", now, primary=True)
    yield from insert_root(plan.store_id, 1, "Sealed store", plan.wrapped_root, now)
    yield from append(
        System(
            installation_id=plan.installation_id,
            org_id=org_id,
            id=world.new_id("uj"),
            date_performed=to_iso(now),
            entity_ids=(org_id, app_id, user_id, uuid),
            enrolled=(Enrolled(credential_uuid=uuid, user_id=user_id, kind="Key", fingerprint=fingerprint),),
            event="Initialised",
            user_id=user_id,
            username=plan.administrator,
            details={"organisation": plan.organisation, "profile": plan.profile},
        ),
        None,
    )
    return Founded(org_id, app_id, user_id, uuid, credential_id, admin_permission)


@dataclass(frozen=True, slots=True)
class SandboxAccount:
    """The sandbox's service account and its token, readable once."""

    user_id: str
    token: str
    credential_id: str


def sandbox_account(
    founder: Founder,
    name: str,
    public_key: PublicKey,
    installation_id: str,
    ring: KeyRing,
    lifetime: int,
    world: World,
) -> Transaction[SandboxAccount]:
    """A service account with every right, for the sandbox only; audited as what it is."""
    key = username_key(name)
    org_id, user_id, uuid = founder.org_id, founder.user_id, founder.credential_uuid
    token_id = world.new_id("to")
    now = world.now()
    yield store.INSERT_USER, (org_id, user_id, 1, name, key, None, now)
    pem, fingerprint = public_key.pem, public_key.fingerprint
    credential_id = yield from insert_key(org_id, user_id, uuid, name, pem, fingerprint, now, world)
    assert credential_id is not None
    token, digest = keyring.mint(
        ring,
        org_id=org_id,
        user_id=user_id,
        username=name,
        token_id=token_id,
        kind="ServiceAccount",
        lifetime=lifetime,
        now_ms=now,
    )
    yield from keyring.insert_service_account_token(
        org_id, token_id, user_id, name, digest, uuid, now, now + lifetime * 1000
    )
    everything = yield from permissions.find(org_id, catalogue.FULL_ADMIN)
    yield from permissions.grant(org_id, everything, user_id, world)
    yield from permissions.revise(org_id)
    yield from append(
        System(
            installation_id=installation_id,
            org_id=org_id,
            id=world.new_id("uj"),
            date_performed=to_iso(now),
            entity_ids=(user_id, uuid, token_id),
            enrolled=(Enrolled(credential_uuid=uuid, user_id=user_id, kind="Key", fingerprint=public_key.fingerprint),),
            event="Bootstrapped",
            user_id=user_id,
            username=name,
            details={"reason": "sandbox service account"},
        ),
        None,
    )
    return SandboxAccount(user_id, token, credential_id)


def first_session(
    org_id: str, user_id: str, username: str, installation_id: str, ring: KeyRing, lifetime: int, world: World
) -> Transaction[str]:
    """A session token minted by a local command, never over HTTP; audited as what it is."""
    token_id, token = yield from open_session(ring, org_id, user_id, username, lifetime, world, name="local session")
    entry = System(
        installation_id=installation_id,
        org_id=org_id,
        id=world.new_id("uj"),
        date_performed=to_iso(world.now()),
        entity_ids=(token_id,),
        event="Bootstrapped",
        user_id=user_id,
        username=username,
        details={"reason": "session token minted by a local command"},
    )
    yield from append(entry, None)
    return token


async def rotate_server_key(database: Database, purpose: server_keys.Purpose, secret: bytes, world: World) -> str:
    """Supersede the active key of a purpose; audited in every organisation. Gives the new key's id."""

    def work() -> Transaction[str]:
        made = yield from server_keys.rotate(purpose, secret, world)
        event = "CheckpointKeyHandedOver" if purpose == "checkpoint" else "KeyRotated"
        yield from _tell_everyone(event, {"purpose": purpose, "kid": made.kid}, world)
        return made.kid

    return await database.write(work)


async def retire_server_key(database: Database, kid: str, world: World) -> str | None:
    """End a superseded key; audited. Gives its purpose, ``None`` when it is not superseded."""

    def work() -> Transaction[str | None]:
        purpose = yield from server_keys.retire(kid, world)
        if purpose is not None:
            yield from _tell_everyone("KeyRetired", {"purpose": purpose, "kid": kid}, world)
        return purpose

    return await database.write(work)


def _tell_everyone(event: str, details: dict[str, str], world: World) -> Transaction[None]:
    installation = yield from read_installation()
    for org_id, _ in (yield store.LIST_ORGANISATIONS, ()):
        entry = System(
            installation_id=installation["installation_id"],
            org_id=org_id,
            id=world.new_id("uj"),
            date_performed=to_iso(world.now()),
            event=event,
            details=details,
        )
        yield from append(entry, None)
