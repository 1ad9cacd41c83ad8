"""Applications by themselves: who gets which rights, states and their marks, what an operator does with them."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest

from countersign.access import applications as access
from countersign.access.installation import write_installation
from countersign.access.keyring import KeyRing
from countersign.access.origins import is_origin, related_origins
from countersign.access.relying_parties import list_parties
from countersign.access.server_keys import create_all
from countersign.api import ApiError, Caller, Epochs
from countersign.credentials import public_key
from countersign.identity import application_administration as administration
from countersign.identity import applications
from countersign.identity.application_types import Application
from countersign.storage import Database
from tests.identity.house import House, organisation
from tests.support.new_keys import new_public_key

SECRET = bytes(32)


def administrator(house: House, operations: frozenset[str] | None = None, user_id: str = "us-1") -> Caller:
    return Caller(
        org_id=house.org_id,
        user_id=user_id,
        username="ada",
        user_kind="CustomerEmployee",
        is_service_account=False,
        token_id="uj-1",
        token_kind="Token",
        app_id=None,
        epochs=Epochs(0, 0, 0),
        permission_revision=0,
        operations=operations,
        expires_at=1 << 50,
    )


def new(**members: Any) -> applications.NewApplication:
    plain = applications.NewApplication(
        name="App",
        rp_id="",
        origin="",
        public_key=None,
        permission_id=None,
        external_id=None,
        lifetime=86_400,
        payload_hash="",
    )
    return dataclasses.replace(plain, **members)


def mint(app_id: str, token_id: str, lifetime: int) -> tuple[str, str]:
    return f"secret of {token_id}", hashlib.sha256(token_id.encode()).hexdigest()


async def create(house: House, caller: Caller | None = None, **members: Any) -> Application:
    by = caller or administrator(house)
    return await house.effect(lambda: applications.create(by, new(**members), mint, house.world))


async def house_with_log(database: Database) -> House:
    """A house whose doings can be audited."""
    house = await organisation(database)
    facts = {"installation_id": "in-1", "profile": "sandbox", "store_id": "ks-1"}
    await database.write(lambda: write_installation(facts))
    return house


def signing_key() -> public_key.PublicKey:
    loaded = public_key.load(new_public_key())
    assert isinstance(loaded, public_key.PublicKey)
    return loaded


async def test_an_application_gets_the_permissions_of_its_creator(database: Database) -> None:
    house = await organisation(database)
    person = await house.administrator("ada@example.com")
    made = await create(house, administrator(house, user_id=person.user_id))
    assert [item.permission_name for item in made.permission_assignments] == ["ManagedFullAdminAccess"]


async def test_threat_41_what_the_creator_s_token_does_not_hold_is_not_passed_on(database: Database) -> None:
    house = await organisation(database)
    person = await house.administrator("ada@example.com")
    few = await house.permission("Few", ["Keys:Read"])
    await house.assign(person.user_id, "Few")
    held = frozenset({"Auth:Apps:Create", "Keys:Read"})
    made = await create(house, administrator(house, held, person.user_id))
    assert [item.permission_id for item in made.permission_assignments] == [few]


async def test_an_application_without_rights_may_do_nothing(database: Database) -> None:
    house = await organisation(database)
    made = await create(house)
    read = await database.read(lambda: access.read_application(made.app_id))
    assert read is not None
    assert read.operations == frozenset()
    assert not read.may("Keys:Read")


async def test_changing_the_state_marks_it_once(database: Database) -> None:
    house = await organisation(database)
    made = await create(house)

    async def epoch() -> int:
        return int((await house.rows("SELECT epoch FROM applications WHERE app_id = ?", made.app_id))[0][0])

    for state, expected in (("Active", 0), ("Inactive", 1), ("Inactive", 1), ("Active", 2)):
        await house.effect(lambda state=state: applications.set_state(house.org_id, made.app_id, state))
        assert await epoch() == expected


async def test_a_change_of_state_or_rights_is_seen_inside_a_transaction(database: Database) -> None:
    house = await organisation(database)
    made = await create(house)

    async def read() -> access.Application:
        found = await database.read(lambda: access.read_application(made.app_id))
        assert found is not None
        return found

    async def changed(known: access.Application) -> bool:
        return await database.write(lambda: access.has_changed(known))

    known = await read()
    assert not await changed(known)
    await house.rows("UPDATE organisations SET permission_revision = 1 RETURNING org_id")
    assert await changed(known)
    known = await read()
    await house.effect(lambda: applications.set_state(house.org_id, made.app_id, "Inactive"))
    assert await changed(known)
    assert not (await read()).is_active


async def test_an_archived_application_is_gone_with_its_token(database: Database) -> None:
    house = await organisation(database)
    made = await create(house, public_key=signing_key())
    done = await house.effect(lambda: applications.archive(house.org_id, made.app_id))
    assert (done.is_active, done.access_tokens[0].is_active) == (False, False)
    assert await database.read(lambda: applications.get(house.org_id, made.app_id)) is None
    assert await database.read(lambda: applications.list_all(house.org_id)) == []
    assert await database.read(lambda: access.read_application(made.app_id)) is None
    assert (await house.token_state(made.access_tokens[0].token_id))[0] == "Archived"
    again = await house.refusal(lambda: applications.set_state(house.org_id, made.app_id, "Active"))
    assert again.code == "NOT_FOUND"


def test_the_swapped_example_is_refused_and_a_trailing_slash_taken_off() -> None:
    assert applications.relying_party(None, None) == ("", "")
    assert applications.relying_party("example.org", "https://example.org/") == ("example.org", "https://example.org")
    for pair in (("https://example.org", "example.org"), ("example.org", None), (None, "https://example.org")):
        with pytest.raises(ApiError) as refused:
            applications.relying_party(*pair)
        assert refused.value.code == "VALIDATION"


async def test_an_application_may_have_several_origins(database: Database) -> None:
    house = await house_with_log(database)
    made = await create(house, rp_id="example.org", origin="https://example.org")
    add, remove = administration.add_origin, administration.remove_origin
    assert await database.write(lambda: add(made.app_id, "https://app.example.org/", house.world)) == (
        "https://app.example.org"
    )
    await database.write(lambda: add(made.app_id, "https://example.com", house.world, related=True))
    (party,) = await database.read(lambda: list_parties(house.org_id))
    assert party.origins == {"https://example.org", "https://app.example.org", "https://example.com"}
    await database.write(lambda: remove(made.app_id, "https://example.org", house.world))
    (party,) = await database.read(lambda: list_parties(house.org_id))
    assert party.origins == {"https://app.example.org", "https://example.com"}
    # Browsers are told of the one that is not below the name.
    assert await database.read(lambda: related_origins("example.org")) == ["https://example.com"]
    assert await database.read(lambda: related_origins("example.com")) == []
    for work in (
        lambda: add(made.app_id, "https://evil.example", house.world),
        lambda: add("ap-none", "https://example.org", house.world),
        lambda: remove(made.app_id, "https://evil.example", house.world),
    ):
        with pytest.raises(administration.Impossible):
            await database.write(work)
    events = await house.rows("SELECT count(*) FROM audit_entries WHERE org_id = ?", house.org_id)
    assert events[0][0] == 3


async def test_a_rotated_token_ends_the_one_before_and_is_the_only_live_one(database: Database) -> None:
    house = await house_with_log(database)
    await database.write(lambda: create_all(SECRET, house.world))
    ring = KeyRing(database, SECRET, "in-1", house.world)
    await ring.load()
    made = await create(house, public_key=signing_key())
    before = await database.read(lambda: access.read_application(made.app_id))
    secret = await database.write(lambda: administration.rotate_token(made.app_id, 1, ring, house.world))
    known = access.Applications(database, ring, house.world)
    now = await known.find(made.app_id, fresh=True)
    assert now is not None
    assert before is not None
    assert now.epoch == before.epoch + 1
    assert await known.secret_refusal(secret, now) is None
    assert await known.secret_refusal(secret, before) == "a secret that was replaced or revoked"
    assert (await house.token_state(made.access_tokens[0].token_id))[0] == "Archived"
    plain = await create(house, name="Plain")
    with pytest.raises(administration.Impossible, match="only a server-signed"):
        await database.write(lambda: administration.rotate_token(plain.app_id, 1, ring, house.world))


async def test_threat_27_passkeys_are_of_no_use_at_the_origin_of_an_application_that_is_not_active(
    database: Database,
) -> None:
    house = await organisation(database)
    page = "https://app.example.org"
    made = await create(house, rp_id="example.org", origin=page)

    async def listed() -> tuple[bool, bool]:
        parties = await database.read(lambda: list_parties(house.org_id))
        return any(page in (party.origins or ()) for party in parties), await database.read(lambda: is_origin(page))

    assert await listed() == (True, True)
    await house.effect(lambda: applications.set_state(house.org_id, made.app_id, "Inactive"))
    assert await listed() == (False, False)
    await house.effect(lambda: applications.set_state(house.org_id, made.app_id, "Active"))
    assert await listed() == (True, True)
    await house.effect(lambda: applications.archive(house.org_id, made.app_id))
    assert await listed() == (False, False)
