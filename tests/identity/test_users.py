"""People as rows, on both engines."""

from __future__ import annotations

import asyncio

import pytest

from countersign.access.identify import Unauthenticated
from countersign.api import ApiError, PageRequest
from countersign.identity import provider_store, service_accounts, users
from countersign.identity.user_types import User
from countersign.storage import Database, Transaction
from tests.identity.house import new_user, organisation


async def test_a_new_employee_holds_nothing_and_an_end_user_the_managed_default(database: Database) -> None:
    house = await organisation(database)
    employee = await house.person("Ann@Example.com")
    assert (employee.username, employee.name) == ("Ann@Example.com", "Ann@Example.com")
    assert (employee.is_active, employee.is_registered, employee.credential_uuid) == (True, False, "")
    assert employee.permission_assignments == []
    holder = await house.person("any text", "EndUser")
    assert [held.permission_name for held in holder.permission_assignments] == ["ManagedDefaultEndUserAccess"]
    assert await database.read(lambda: users.get(house.org_id, holder.user_id)) == holder


async def test_nobody_shuts_an_end_user_out_with_a_sign_on_that_is_for_employees(database: Database) -> None:
    house = await organisation(database)
    new = new_user("any text", "EndUser", is_sso_required=True)
    assert (await house.refusal(lambda: users.create(house.org_id, new, house.world))).code == "VALIDATION"
    holder = await house.person("any text", "EndUser")
    required = await house.refusal(lambda: users.update(house.org_id, holder.user_id, is_sso_required=True))
    assert required.code == "VALIDATION"
    assert (await house.effect(lambda: users.update(house.org_id, holder.user_id, is_sso_required=False))) == holder


async def test_nobody_shuts_administrators_out_with_a_sign_on_that_is_not_there(database: Database) -> None:
    house = await organisation(database)
    administrator = (await house.administrator("ann@example.com")).user_id
    required = await house.refusal(lambda: users.update(house.org_id, administrator, is_sso_required=True))
    assert required.code == "VALIDATION"
    row = (house.org_id, "ip-1", "Sso", "https://id.example", "client", None, 0)
    await house.database.write(lambda: insert_provider(row))
    assert (await house.effect(lambda: users.update(house.org_id, administrator, is_sso_required=True))).is_sso_required


def insert_provider(row: tuple[object, ...]) -> Transaction[None]:
    yield provider_store.INSERT_PROVIDER, row


@pytest.mark.parametrize("again", ["ANN@example.com", " ann@example.com ", "ａｎｎ@example.com"])
async def test_z3_a_username_in_another_spelling_is_taken_also_by_an_archived_user(
    database: Database, again: str
) -> None:
    house = await organisation(database)
    first = await house.person("Ann@Example.com")
    for archive in (False, True):
        if archive:
            await house.effect(lambda: users.archive(house.org_id, first.user_id))
        refused = await house.refusal(lambda: users.create(house.org_id, new_user(again), house.world))
        assert (refused.code, refused.details) == ("CONFLICT", {"duplicate": {"id": first.user_id}})


@pytest.mark.parametrize("text", ["ann", "ann@", "@example.com", "a b@example.com", "a@b@c", "a..b@c", "ann@exa mple"])
def test_the_username_of_an_employee_is_a_mail_address(text: str) -> None:
    with pytest.raises(ApiError, match="must be a mail address"):
        users.key_of(text, "CustomerEmployee")
    assert users.key_of(text, "EndUser") == text


@pytest.mark.parametrize("text", ["ann@example.com", "a.b+c@x.example", "ann@localhost", "jürgen@bücher.example"])
def test_mail_addresses_of_every_script_are_accepted(text: str) -> None:
    assert users.key_of(text, "CustomerEmployee") == text


@pytest.mark.parametrize("text", ["", " ", "a\u200bb@example.com", "a\u202eb@example.com", "a\x00b", "x" * 255])
@pytest.mark.parametrize("kind", ["CustomerEmployee", "EndUser"])
def test_threat_42_a_username_with_invisible_characters_is_refused(text: str, kind: users.Kind) -> None:
    with pytest.raises(ApiError, match="visible"):
        users.key_of(text, kind)


def test_end_users_do_not_register_by_themselves() -> None:
    assert users.registration_of("CustomerEmployee", None) == "Direct"
    assert users.registration_of("CustomerEmployee", "Delegated") == "Delegated"
    assert users.registration_of("EndUser", None) == "Delegated"
    with pytest.raises(ApiError, match="registration"):
        users.registration_of("EndUser", "Direct")


async def test_an_external_id_repeats_the_same_request_and_refuses_another(database: Database) -> None:
    house = await organisation(database)
    first = await house.person("a@example.com", external_id="x", payload_hash="1")
    assert await house.person("a@example.com", external_id="x", payload_hash="1") == first
    other = new_user("b@example.com", external_id="x", payload_hash="2")
    refused = await house.refusal(lambda: users.create(house.org_id, other, house.world))
    assert refused.details == {"duplicate": {"id": first.user_id, "externalId": "x"}}
    await house.effect(lambda: users.archive(house.org_id, first.user_id))
    repeated = await house.person("a@example.com", external_id="x", payload_hash="1")
    assert (repeated.user_id, repeated.is_active) == (first.user_id, False)


async def test_of_two_first_requests_at_once_one_creates_and_the_other_repeats_it(database: Database) -> None:
    house = await organisation(database)
    made = await asyncio.gather(*(house.person("a@example.com", external_id="x") for _ in range(2)))
    assert made[0] == made[1]


async def test_pages_are_newest_first_and_hold_the_assignments_of_their_people(database: Database) -> None:
    house = await organisation(database)
    employees = [await house.person(f"a{number}@example.com") for number in range(2)]
    holders = [await house.person(f"holder {number}", "EndUser") for number in range(3)]
    gone = await house.person("gone@example.com")
    await house.effect(lambda: users.archive(house.org_id, gone.user_id))

    async def listed(limit: int, *kinds: str) -> list[str]:
        found: list[str] = []
        before: str | None = "zzzz"
        while before is not None:
            page = PageRequest(before, limit, "scope")
            shown, token = await database.read(lambda page=page: users.list_page(house.org_id, frozenset(kinds), page))
            expected = [bool(user.permission_assignments) for user in shown]
            assert [user.kind == "EndUser" for user in shown] == expected
            found += [user.user_id for user in shown]
            before = None if token is None else found[-1]
        return found

    newest = [user.user_id for user in (*reversed(holders), *reversed(employees))]
    for limit in (1, 2, 100):
        assert await listed(limit) == newest
        assert await listed(limit, "EndUser") == newest[:3]
        assert await listed(limit, "CustomerEmployee") == newest[3:]
        assert await listed(limit, "CustomerEmployee", "EndUser", "TenantUser") == newest
    assert await listed(1, "TenantUser") == []


async def test_deactivation_ends_sessions_and_rests_tokens_until_the_user_is_activated(database: Database) -> None:
    house = await organisation(database)
    user = await house.person()
    session, token = await house.session(user), (await house.token(user)).token_id
    await house.effect(lambda: users.deactivate(house.org_id, user.user_id))
    assert isinstance(await house.identify(session), Unauthenticated)
    assert isinstance(await house.identify(token), Unauthenticated)
    assert await house.token_state(token) == ("Active", 0)
    await house.effect(lambda: users.activate(house.org_id, user.user_id))
    assert isinstance(await house.identify(session), Unauthenticated)
    assert not isinstance(await house.identify(token), Unauthenticated)


async def test_a_change_of_state_raises_the_epoch_and_its_repetition_does_not(database: Database) -> None:
    house = await organisation(database)
    user = await house.person()
    epochs = []
    for change in (users.deactivate, users.deactivate, users.activate, users.activate):
        await house.effect(lambda change=change: change(house.org_id, user.user_id))
        epochs.append((await house.rows("SELECT epoch FROM users WHERE user_id = ?", user.user_id))[0][0])
    assert epochs == [1, 1, 2, 2]


async def test_archiving_ends_tokens_and_credentials_for_good(database: Database) -> None:
    house = await organisation(database)
    user = await house.person()
    token = await house.token(user)
    answered = await house.effect(lambda: users.archive(house.org_id, user.user_id))
    assert answered.is_active is False
    assert (await house.token_state(token.token_id))[0] == "Archived"
    states = await house.rows("SELECT state FROM credentials WHERE user_id = ?", user.user_id)
    assert [state for (state,) in states] == ["Inactive"]
    assert await database.read(lambda: users.get(house.org_id, user.user_id)) is None
    for change in (users.activate, users.deactivate, users.archive):
        refused = await house.refusal(lambda change=change: change(house.org_id, user.user_id))
        assert refused.code == "NOT_FOUND"


async def test_a_service_account_and_a_user_of_another_organisation_are_no_users_here(database: Database) -> None:
    house, other = await organisation(database), await organisation(database)
    stranger = await other.person()
    account = await house.person("account@example.com")
    await house.rows("UPDATE users SET is_service_account = 1 WHERE user_id = ?", account.user_id)
    for user_id in (stranger.user_id, account.user_id):
        assert await database.read(lambda user_id=user_id: users.get(house.org_id, user_id)) is None
        for change in (users.activate, users.deactivate, users.archive):
            refused = await house.refusal(lambda change=change, user_id=user_id: change(house.org_id, user_id))
            assert (refused.code, refused.message) == ("NOT_FOUND", "user not found")


@pytest.mark.parametrize("change", [users.deactivate, users.archive])
async def test_the_last_administrator_stays(database: Database, change: type) -> None:
    house = await organisation(database)
    last = await house.administrator("last@example.com")
    refused = await house.refusal(lambda: change(house.org_id, last.user_id))
    assert (refused.status, refused.code) == (412, "LAST_ADMINISTRATOR")
    unregistered = await house.person("new@example.com")
    await house.assign(unregistered.user_id, "ManagedFullAdminAccess")
    assert (await house.refusal(lambda: change(house.org_id, last.user_id))).code == "LAST_ADMINISTRATOR"
    await house.administrator("other@example.com")
    assert (await house.effect(lambda: change(house.org_id, last.user_id))).is_active is False


async def test_two_administrators_who_deactivate_each_other_at_once_leave_one(database: Database) -> None:
    house = await organisation(database)
    pair = [await house.administrator(f"{name}@example.com") for name in ("a", "b")]
    # A connection each, open before: else the first is done before the second has one.
    await asyncio.gather(*(house.effect(lambda user=user: users.activate(house.org_id, user.user_id)) for user in pair))

    work = (house.effect(lambda user=user: users.deactivate(house.org_id, user.user_id)) for user in pair)
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    assert [outcome.code for outcome in outcomes if isinstance(outcome, ApiError)] == ["LAST_ADMINISTRATOR"]
    assert len([outcome for outcome in outcomes if isinstance(outcome, User)]) == 1


async def test_the_last_identity_with_full_rights_stays_also_if_it_is_a_service_account(database: Database) -> None:
    house = await organisation(database)
    account = await house.administrator("account@example.com")
    await house.rows("UPDATE users SET is_service_account = 1 WHERE user_id = ?", account.user_id)
    for change in (
        lambda: service_accounts.set_active(house.org_id, account.user_id, active=False),
        lambda: service_accounts.archive(house.org_id, account.user_id),
    ):
        assert (await house.refusal(change)).code == "LAST_ADMINISTRATOR"
    person = await house.administrator("person@example.com")
    # The account cannot sign in nor create accounts, so the person stays as well.
    assert (await house.refusal(lambda: users.deactivate(house.org_id, person.user_id))).code == "LAST_ADMINISTRATOR"
