"""What an operator does on the server's own host, on both engines."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from countersign.access import codes, keyring, server_keys
from countersign.access.identify import Unauthenticated
from countersign.access.installation import write_installation
from countersign.access.keyring import KeyRing
from countersign.api import ApiError, Caller
from countersign.identity import administration, registration_codes, service_accounts
from countersign.identity.local_commands import Impossible
from countersign.storage import Database
from countersign.world import World
from tests.identity.house import House, caller_of, new_token, organisation
from tests.support.vectors import auth_vectors

SECRET = bytes(range(32))
VECTORS = auth_vectors()["one_time_codes"]


async def installed(database: Database) -> tuple[House, KeyRing]:
    """A house in an installation, with the server's keys."""
    house = await organisation(database)
    facts = {"installation_id": "in-of-a-test", "profile": "production", "store_id": "ks-of-a-test"}
    facts["break_glass_hours"] = "72"
    assert await database.write(lambda: write_installation(facts))
    await database.write(lambda: server_keys.create_all(SECRET, house.world))
    ring = KeyRing(database, SECRET, "issuer", house.world)
    await ring.load()
    return house, ring


async def entries(house: House, event: str) -> list[dict[str, Any]]:
    """The audit entries of this event, oldest first."""
    rows = await house.rows("SELECT entry FROM audit_entries WHERE org_id = ? ORDER BY entry_id", house.org_id)
    return [entry for entry in (json.loads(row[0]) for row in rows) if entry.get("event") == event]


async def service_account(house: House, name: str = "robot") -> tuple[str, str, str]:
    """Ids of a new service account, its token and its credential."""
    owner = await house.person(f"owner-of-{name}@example.com")
    new = service_accounts.NewServiceAccount(
        name=name,
        public_key=new_token("x").public_key,
        permission_id=None,
        external_id=None,
        lifetime=60,
        payload_hash="of the body",
    )
    made = await house.effect(
        lambda: service_accounts.create(
            caller_of(owner, None),
            new,
            lambda token_id, *_: (f"secret of {token_id}", f"hash of {token_id}"),
            keyring.insert_service_account_token,
            house.world,
        )
    )
    return made.user_info.user_id, made.access_tokens[0].token_id, made.user_info.credential_uuid


async def state(house: House, identity_id: str) -> str:
    """The state as an operator is shown it."""
    shown = await house.database.read(lambda: administration.show(identity_id, house.world.now()))
    return shown.identity.state


async def put(house: House, identity_id: str, state: administration.State) -> bool:
    """Activate or deactivate."""
    return await house.database.write(lambda: administration.set_state(identity_id, state, house.world))


async def impossible(house: House, make: Any) -> str:
    """Why it is not done."""
    with pytest.raises(Impossible) as refused:
        await house.database.write(make)
    return str(refused.value)


async def test_lists_every_kind_newest_first_without_sessions_and_archived_ones(database: Database) -> None:
    house, _ = await installed(database)
    first, second = await house.person("a@example.com"), await house.person("b@example.com")
    token = await house.token(first)
    await house.session(first)
    account, account_token, account_key = await service_account(house)
    await house.rows("UPDATE users SET state = 'Archived' WHERE user_id = ?", first.user_id)

    async def ids(kind: administration.Kind, *, archived: bool = False) -> list[str]:
        page, more = await database.read(lambda: administration.list_page(house.org_id, kind, None, archived=archived))
        assert more is None
        return [item.id for item in page]

    people = await ids("user", archived=True)
    assert people[-2:] == [second.user_id, first.user_id]
    assert await ids("user") == people[:-1]
    assert await ids("service-account") == [account]
    assert await ids("token") == [account_token, token.token_id]
    assert account_key in await ids("credential")
    assert await ids("application") == []
    assert await database.read(administration.organisations) == [house.org_id]


async def test_a_long_list_goes_on_where_the_page_before_ended(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, _ = await installed(database)
    monkeypatch.setattr(administration, "_PAGE", 2)
    people = [(await house.person(f"{name}@example.com")).user_id for name in "abcde"]
    found: list[str] = []

    async def page(before: str | None) -> str | None:
        shown, more = await database.read(lambda: administration.list_page(house.org_id, "user", before))
        found.extend(item.id for item in shown)
        return more

    more = await page(None)
    while more is not None:
        more = await page(more)
    assert found == people[::-1]


async def test_shows_an_identity_with_what_it_holds(database: Database) -> None:
    house, _ = await installed(database)
    user = await house.administrator("a@example.com")
    token = await house.token(user)
    await house.session(user)
    shown = (await database.read(lambda: administration.show(user.user_id, house.world.now()))).document()
    assert (shown["kind"], shown["name"], shown["isRegistered"]) == ("user", "a@example.com", True)
    assert (shown["permissions"], shown["sessions"]) == (["ManagedFullAdminAccess"], 1)
    assert [item["id"] for item in shown["tokens"]] == [token.token_id]
    assert [item["tokenId"] for item in shown["credentials"]] == [token.token_id]
    one = (await database.read(lambda: administration.show(token.token_id, house.world.now()))).document()
    assert (one["kind"], one["tokenKind"], one["userId"]) == ("token", "Pat", user.user_id)
    assert "secret" not in json.dumps([shown, one])
    assert "hash" not in json.dumps([shown, one])


@pytest.mark.parametrize(
    "text", ["", "us-aaaaa-bbbbb-cccccccccccccccc", "uj-of-a-test", "nobody", "to-", "cr-' OR 1=1"]
)
async def test_an_unknown_id_is_named(database: Database, text: str) -> None:
    house, _ = await installed(database)
    assert repr(text) in await impossible(house, lambda: administration.show(text, 0))
    assert repr(text) in await impossible(house, lambda: administration.set_state(text, "Inactive", house.world))


async def test_a_deactivated_user_is_shut_out_once_and_audited_once(database: Database) -> None:
    house, _ = await installed(database)
    user = await house.person()
    session, token = await house.session(user), await house.token(user)
    assert isinstance(await house.identify(session), Caller)
    changes = await asyncio.gather(
        *(database.write(lambda: administration.set_state(user.user_id, "Inactive", house.world)) for _ in range(2))
    )
    assert sorted(changes) == [False, True]
    assert isinstance(await house.identify(session), Unauthenticated)
    assert isinstance(await house.identify(token.token_id), Unauthenticated)
    (epoch,) = (await house.rows("SELECT epoch FROM users WHERE user_id = ?", user.user_id))[0]
    assert epoch == 1
    (entry,) = await entries(house, "IdentityDeactivated")
    assert (entry["userId"], entry["details"]["kind"]) == (user.user_id, "user")

    assert await database.write(lambda: administration.set_state(user.user_id, "Active", house.world))
    assert isinstance(await house.identify(session), Unauthenticated)
    assert isinstance(await house.identify(token.token_id), Caller)
    assert len(await entries(house, "IdentityActivated")) == 1


async def test_tokens_service_accounts_and_their_credentials_are_deactivated_and_activated(database: Database) -> None:
    house, _ = await installed(database)
    user = await house.person()
    pat = (await house.token(user)).token_id
    account, account_token, account_key = await service_account(house)
    for identity_id, shut in ((pat, pat), (account, account_token), (account_token, account_token)):
        await put(house, identity_id, "Inactive")
        assert await state(house, identity_id) == "Inactive"
        assert isinstance(await house.identify(shut), Unauthenticated)
        await put(house, identity_id, "Active")
        assert isinstance(await house.identify(shut), Caller)
    (pat_key,) = (await house.rows("SELECT credential_uuid FROM credentials WHERE token_id = ?", pat))[0]
    said = await impossible(house, lambda: administration.set_state(pat_key, "Inactive", house.world))
    assert pat in said
    refused = await house.refusal(lambda: administration.set_state(account_key, "Inactive", house.world))
    assert refused.code == "LAST_CREDENTIAL"
    assert await state(house, account_key) == "Active"


async def test_the_last_administrator_stays_and_an_archived_identity_too(database: Database) -> None:
    house, _ = await installed(database)
    user = await house.administrator("a@example.com")
    refused = await house.refusal(lambda: administration.set_state(user.user_id, "Inactive", house.world))
    assert isinstance(refused, ApiError)
    assert refused.code == "LAST_ADMINISTRATOR"
    assert await entries(house, "IdentityDeactivated") == []
    await house.rows("UPDATE users SET state = 'Archived' WHERE user_id = ?", user.user_id)
    said = await impossible(house, lambda: administration.set_state(user.user_id, "Active", house.world))
    assert "archived" in said


async def test_a_new_code_voids_the_old_one_and_only_its_mac_is_kept(database: Database) -> None:
    house, ring = await installed(database)
    user = await house.person("Ann@example.com")
    old, new = (codes.new_mailed_code(house.world) for _ in range(2))

    async def reissue(person: str, code: str) -> administration.RegistrationCode:
        return await database.write(lambda: administration.reissue_code(person, code, ring, house.world))

    for code, by in ((old, user.user_id), (new, " ann@EXAMPLE.com")):
        made = await reissue(by, code)
        assert (made.user_id, made.code) == (user.user_id, code)
    (row,) = await house.rows("SELECT user_id, code_hash, created_at, expires_at FROM registration_codes")
    user_id, stored, created_at, expires_at = row
    assert (user_id, expires_at - created_at) == (user.user_id, 4 * 3_600_000)
    assert registration_codes.matches(ring, user_id, stored, new.lower())
    assert not registration_codes.matches(ring, user_id, stored, old)
    assert not registration_codes.matches(ring, "us-of-another", stored, new)
    assert new not in json.dumps(await entries(house, "RegistrationCodeReissued"))
    assert len(await entries(house, "RegistrationCodeReissued")) == 2

    await database.write(lambda: server_keys.rotate("challenge", SECRET, house.world))
    await ring.load()
    assert registration_codes.matches(ring, user_id, stored, new)


async def test_a_code_is_for_active_people_who_register_by_themselves(database: Database) -> None:
    house, ring = await installed(database)
    registered = await house.administrator("a@example.com")
    holder = await house.person("holder", "EndUser")
    away = await house.person("away@example.com")
    await database.write(lambda: administration.set_state(away.user_id, "Inactive", house.world))
    account, _, _ = await service_account(house)

    async def said(person: str) -> str:
        return await impossible(house, lambda: administration.reissue_code(person, "code", ring, house.world))

    assert "break-glass" in await said(registered.user_id)
    assert "service account" in await said(holder.user_id)
    assert "inactive" in await said(away.username)
    assert "no user" in await said(account)
    assert "no user" in await said("nobody@example.com")
    assert await house.rows("SELECT * FROM registration_codes") == []


async def test_a_username_of_several_organisations_is_not_guessed(database: Database) -> None:
    house, ring = await installed(database)
    other = await organisation(database)
    for place in (house, other):
        await place.person("ann@example.com")
    said = await impossible(house, lambda: administration.reissue_code("ann@example.com", "code", ring, house.world))
    assert "several organisations" in said


def test_a_registration_code_has_the_documented_shape() -> None:
    shape = VECTORS["mailed_codes"]
    assert VECTORS["alphabet"] == codes.ALPHABET
    made = {codes.new_mailed_code(World()) for _ in range(200)}
    assert len(made) == 200
    assert {len(code.replace("-", "")) * 5 for code in made} == {shape["bits"]}
    assert {"".join("-" if symbol == "-" else "X" for symbol in code) for code in made} == {shape["shape"]}
    assert set("".join(made)) - {"-"} == set(codes.ALPHABET)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["typed"])
async def test_a_code_is_compared_by_its_symbols_alone(database: Database, case: dict[str, Any]) -> None:
    _, ring = await installed(database)
    stored = codes.code_hash(ring, "registration|us-of-a-test", case["issued"])
    assert registration_codes.matches(ring, "us-of-a-test", stored, case["typed"]) is case["match"]
