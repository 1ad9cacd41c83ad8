"""Personal access tokens as rows, on both engines."""

from __future__ import annotations

import pytest

from countersign.access.identify import Unauthenticated
from countersign.api import Caller
from countersign.identity import pats
from countersign.storage import Database
from tests.identity.house import caller_of, mint, new_token, organisation


async def test_a_token_is_shown_once_and_only_its_hash_is_kept(database: Database) -> None:
    house = await organisation(database)
    user = await house.person()
    made = await house.token(user)
    assert made.access_token == f"secret of {made.token_id}"
    assert (made.kind, made.linked_user_id, made.linked_app_id) == ("Pat", user.user_id, "")
    rows = await house.rows("SELECT * FROM tokens WHERE token_id = ?", made.token_id)
    assert f"hash of {made.token_id}" in tuple(rows[0])
    assert made.access_token not in tuple(rows[0])
    again = await database.read(lambda: pats.get(house.org_id, user.user_id, made.token_id))
    assert again is not None
    assert isinstance(again.access_token, type(pats.UNSET))


async def operations(caller: Caller | Unauthenticated) -> frozenset[str] | None:
    assert isinstance(caller, Caller)
    return caller.operations


async def test_rights_are_what_the_token_and_its_owner_both_hold_now(database: Database) -> None:
    house = await organisation(database)
    user = await house.person()
    of_user = await house.permission("of the user", ["Keys:Read", "Keys:Update"])
    of_token = await house.permission("of the token", ["Keys:Read", "Keys:Update", "Keys:Delete"])
    await house.assign(user.user_id, "of the user")
    token = (await house.token(user, permission_id=of_token)).token_id

    async def rights() -> frozenset[str] | None:
        return await operations(await house.identify(token))

    assert await rights() == {"Keys:Read", "Keys:Update"}
    await house.rows("UPDATE permissions SET operations = '[\"Keys:Read\"]' WHERE permission_id = ?", of_user)
    assert await rights() == {"Keys:Read"}
    await house.assign(user.user_id, "ManagedFullAdminAccess")
    assert await rights() == {"Keys:Read", "Keys:Update", "Keys:Delete"}
    await house.rows("UPDATE permissions SET is_archived = 1 WHERE permission_id = ?", of_token)
    assert await rights() == frozenset()


async def test_a_token_without_a_permission_has_no_rights_whatever_its_owner_has(database: Database) -> None:
    house = await organisation(database)
    user = await house.administrator("a@example.com")
    token = await house.token(user)
    assert token.permission_assignments == []
    assert await operations(await house.identify(token.token_id)) == frozenset()


@pytest.mark.parametrize("kind", ["Pat", "ServiceAccount", "Token"])
async def test_a_token_held_to_a_permission_is_not_free_of_it_when_that_is_archived(
    database: Database, kind: str
) -> None:
    house = await organisation(database)
    user = await house.administrator("a@example.com")
    one = await house.permission("one", ["Keys:Read"])
    other = await house.permission("other", ["Keys:Update"])
    token = await house.session(user)
    await house.rows("UPDATE tokens SET kind = ? WHERE token_id = ?", kind, token)
    await house.assign(token, "one")
    await house.assign(token, "other")
    assert await operations(await house.identify(token)) == {"Keys:Read", "Keys:Update"}
    await house.rows("UPDATE permissions SET is_archived = 1 WHERE permission_id = ?", one)
    assert await operations(await house.identify(token)) == {"Keys:Update"}
    await house.rows("UPDATE permissions SET is_archived = 1 WHERE permission_id = ?", other)
    assert await operations(await house.identify(token)) == frozenset()


async def test_full_rights_end_when_their_permission_is_archived(database: Database) -> None:
    house = await organisation(database)
    session = await house.session(await house.administrator("a@example.com"))
    assert await operations(await house.identify(session)) is None
    await house.rows("UPDATE permissions SET is_archived = 1 WHERE is_immutable = 1")
    assert await operations(await house.identify(session)) == frozenset()


async def test_threat_41_nobody_gives_a_token_what_they_do_not_hold(database: Database) -> None:
    house = await organisation(database)
    user = await house.person()
    few = await house.permission("few", ["Keys:Read"])
    many = await house.permission("many", ["Keys:Read", "Keys:Delete"])
    everything = (await house.rows("SELECT permission_id FROM permissions WHERE is_immutable = 1"))[0][0]
    caller = caller_of(user, frozenset({"Keys:Read"}))
    for permission in (many, everything):
        new = new_token("program", permission_id=permission)
        refused = await house.refusal(lambda new=new: pats.create(caller, new, mint, house.world))
        assert refused.code == "FORBIDDEN"
    missing = new_token("program", permission_id=house.world.new_id("pm"))
    assert (await house.refusal(lambda: pats.create(caller, missing, mint, house.world))).code == "NOT_FOUND"
    assert (await house.token(user, permission_id=few, holding=["Keys:Read"])).is_active


async def test_a_name_is_unique_to_a_person_until_the_token_is_archived(database: Database) -> None:
    house = await organisation(database)
    user, other = await house.person(), await house.person("other@example.com")
    first = await house.token(user, "program")
    await house.token(other, "program")
    second = await house.token(user, "second")
    new = new_token("program")
    refused = await house.refusal(lambda: pats.create(caller_of(user, None), new, mint, house.world))
    assert refused.details == {"duplicate": {"id": first.token_id}}
    renaming = await house.refusal(lambda: pats.update(house.org_id, user.user_id, second.token_id, "program", None))
    assert renaming.code == "CONFLICT"
    await house.effect(lambda: pats.archive(house.org_id, user.user_id, first.token_id))
    assert (await house.token(user, "program")).name == "program"


async def test_a_public_key_serves_one_credential_of_an_organisation(database: Database) -> None:
    house = await organisation(database)
    user = await house.person()
    new = new_token("program")
    await house.effect(lambda: pats.create(caller_of(user, None), new, mint, house.world))
    again = new_token("other", public_key=new.public_key)
    refused = await house.refusal(lambda: pats.create(caller_of(user, None), again, mint, house.world))
    assert refused.code == "CONFLICT"


async def test_an_external_id_is_a_persons_own(database: Database) -> None:
    house = await organisation(database)
    user, other = await house.person(), await house.person("other@example.com")
    first = await house.token(user, external_id="x", payload_hash="1")
    assert (await house.token(other, external_id="x", payload_hash="1")).token_id != first.token_id
    repeated = await house.token(user, external_id="x", payload_hash="1")
    assert (repeated.token_id, repeated.access_token) == (first.token_id, "")
    changed = new_token("program", external_id="x", payload_hash="2")
    refused = await house.refusal(lambda: pats.create(caller_of(user, None), changed, mint, house.world))
    assert refused.details == {"duplicate": {"id": first.token_id, "externalId": "x"}}


async def test_another_persons_token_is_unknown(database: Database) -> None:
    house = await organisation(database)
    user, other = await house.person(), await house.person("other@example.com")
    token = (await house.token(user)).token_id
    assert await database.read(lambda: pats.get(house.org_id, other.user_id, token)) is None
    assert await database.read(lambda: pats.list_all(house.org_id, other.user_id)) == []
    for work in (
        lambda: pats.update(house.org_id, other.user_id, token, "mine", None),
        lambda: pats.set_state(house.org_id, other.user_id, token, "Inactive"),
        lambda: pats.archive(house.org_id, other.user_id, token),
    ):
        assert (await house.refusal(work)).code == "NOT_FOUND"


@pytest.mark.parametrize("state", ["Inactive", "Archived"])
async def test_a_token_that_is_not_active_is_refused_and_its_epoch_is_raised(database: Database, state: str) -> None:
    house = await organisation(database)
    user = await house.person()
    token = (await house.token(user)).token_id
    if state == "Inactive":
        for _ in range(2):
            await house.effect(lambda: pats.set_state(house.org_id, user.user_id, token, "Inactive"))
        assert await house.token_state(token) == ("Inactive", 1)
    else:
        answered = await house.effect(lambda: pats.archive(house.org_id, user.user_id, token))
        assert answered.is_active is False
        credentials = await house.rows("SELECT state FROM credentials WHERE token_id = ?", token)
        assert [row[0] for row in credentials] == ["Archived"]
    assert isinstance(await house.identify(token), Unauthenticated)


async def test_lists_are_newest_first_with_what_each_token_holds(database: Database) -> None:
    house = await organisation(database)
    user = await house.person()
    permission = await house.permission("few", ["Keys:Read"])
    first = await house.token(user, "first", permission_id=permission)
    second = await house.token(user, "second")
    listed = await database.read(lambda: pats.list_all(house.org_id, user.user_id))
    assert [token.token_id for token in listed] == [second.token_id, first.token_id]
    assert [[held.permission_id for held in token.permission_assignments] for token in listed] == [[], [permission]]
