"""Break-glass as rows, on both engines, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from countersign.access.identify import Unauthenticated
from countersign.access.keyring import KeyRing, token_hash
from countersign.api import Caller
from countersign.credentials import public_key
from countersign.credentials.public_key import PublicKey
from countersign.identity import administration, break_glass
from countersign.identity.break_glass import Completed, Request
from countersign.identity.local_commands import HOUR_MS, Impossible
from countersign.identity.user_types import User
from countersign.storage import Database
from countersign.world import World
from tests.identity.house import House
from tests.identity.test_administration import entries, impossible, installed
from tests.support.new_keys import new_public_key


class Clock:
    """Milliseconds, moved by hand."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Locked:
    """A house whose administrator is locked out."""

    def __init__(self, house: House, ring: KeyRing, clock: Clock, administrator: User) -> None:
        self.house = house
        self.ring = ring
        self.clock = clock
        self.administrator = administrator

    async def request(self, key: PublicKey) -> Request:
        name = self.administrator.user_id
        return await self.house.database.write(lambda: break_glass.request(name, key, self.house.world))

    async def set_wait(self, hours: int) -> None:
        """As if ``init`` had been told so."""
        await self.house.rows("UPDATE installation SET value = ? WHERE name = 'break_glass_hours'", str(hours))

    async def complete(self, request_id: str) -> Completed:
        return await self.house.database.write(
            lambda: break_glass.complete(request_id, self.ring, 600, self.house.world)
        )

    async def cancel(self, request_id: str) -> Request:
        return await self.house.database.write(lambda: break_glass.cancel(request_id, self.house.world))

    async def credentials(self) -> list[tuple[str, str, int]]:
        """State, fingerprint and epoch of every credential of the administrator, oldest first."""
        rows = await self.house.rows(
            "SELECT state, fingerprint, epoch FROM credentials WHERE user_id = ? ORDER BY credential_uuid",
            self.administrator.user_id,
        )
        return [(row[0], row[1], row[2]) for row in rows]

    async def epoch(self) -> int:
        rows = await self.house.rows("SELECT epoch FROM users WHERE user_id = ?", self.administrator.user_id)
        return int(rows[0][0])


async def locked_out(database: Database) -> Locked:
    house, ring = await installed(database)
    clock = Clock(house.world.now())
    house = replace(house, world=World(clock=clock))
    return Locked(house, ring, clock, await house.administrator("admin@example.com"))


def new_key() -> PublicKey:
    loaded = public_key.load(new_public_key())
    assert isinstance(loaded, PublicKey)
    return loaded


async def test_after_the_wait_the_key_is_the_only_way_in(database: Database) -> None:
    locked = await locked_out(database)
    house, key = locked.house, new_key()
    session, pat = await house.session(locked.administrator), await house.token(locked.administrator)
    made = await locked.request(key)
    assert (made.state, made.ready_at - made.requested_at) == ("Waiting", 72 * HOUR_MS)

    locked.clock.now += 72 * HOUR_MS - 1
    with pytest.raises(Impossible, match="waits until"):
        await locked.complete(made.id)
    assert [state for state, _, _ in await locked.credentials()] == ["Active"]
    assert await locked.epoch() == 0

    locked.clock.now += 1
    done = await locked.complete(made.id)
    for token_id in (session, pat.token_id):
        assert await house.token_state(token_id) == ("Archived", 1)
        assert isinstance(await house.identify(token_id), Unauthenticated)
    assert await locked.credentials() == [
        ("Archived", pat.public_key, 1),
        ("Active", key.fingerprint, 0),
    ]
    assert await locked.epoch() == 1
    (row,) = await house.rows("SELECT token_id, hash, expires_at FROM tokens WHERE state = 'Active'")
    token_id, digest, expires_at = row
    assert (digest, expires_at) == (token_hash(done.token), locked.clock.now + 600_000)
    caller = await house.identify(token_id)
    assert isinstance(caller, Caller)
    assert (caller.user_id, caller.token_kind, caller.operations) == (locked.administrator.user_id, "Token", None)


async def test_every_step_is_audited_and_only_the_last_enrols(database: Database) -> None:
    locked = await locked_out(database)
    first, second = new_key(), new_key()
    pat = await locked.house.token(locked.administrator)
    cancelled = await locked.request(first)
    await locked.cancel(cancelled.id)
    made = await locked.request(second)
    locked.clock.now += 72 * HOUR_MS
    done = await locked.complete(made.id)
    written = await entries(locked.house, "BreakGlass")
    told = [(entry["details"]["step"], entry["entityIds"][0], len(entry["enrolled"])) for entry in written]
    assert sorted(told) == sorted(
        [
            ("requested", cancelled.id, 0),
            ("cancelled", cancelled.id, 0),
            ("requested", made.id, 0),
            ("completed", made.id, 1),
        ]
    )
    assert {entry["userId"] for entry in written} == {locked.administrator.user_id}
    (last,) = [entry for entry in written if entry["details"]["step"] == "completed"]
    assert last["enrolled"] == [
        {
            "credentialUuid": done.credential_uuid,
            "userId": locked.administrator.user_id,
            "kind": "Key",
            "fingerprint": second.fingerprint,
        }
    ]
    assert {made.id, locked.administrator.user_id, done.credential_uuid, pat.token_id} <= set(last["entityIds"])
    assert done.token not in str(written)


async def test_two_at_once_complete_it_once(database: Database) -> None:
    locked = await locked_out(database)
    made = await locked.request(new_key())
    locked.clock.now += 72 * HOUR_MS
    answers = await asyncio.gather(*(locked.complete(made.id) for _ in range(4)), return_exceptions=True)
    done = [answer for answer in answers if isinstance(answer, Completed)]
    refused = [answer for answer in answers if isinstance(answer, Impossible)]
    assert (len(done), len(refused)) == (1, 3)
    assert all("completed already" in str(answer) for answer in refused)
    assert [state for state, _, _ in await locked.credentials()] == ["Active"]
    assert await locked.epoch() == 1
    assert len(await entries(locked.house, "BreakGlass")) == 2


async def test_completing_and_cancelling_at_once_do_one_of_them(database: Database) -> None:
    locked = await locked_out(database)
    made = await locked.request(new_key())
    locked.clock.now += 72 * HOUR_MS
    answers = await asyncio.gather(locked.complete(made.id), locked.cancel(made.id), return_exceptions=True)
    assert sum(isinstance(answer, Impossible) for answer in answers) == 1
    completed = isinstance(answers[0], Completed)
    assert await locked.epoch() == int(completed)
    assert len(await locked.credentials()) == int(completed)
    (request,) = await database.read(break_glass.list_requests)
    assert request.state == ("Completed" if completed else "Cancelled")


async def test_two_at_once_request_it_once(database: Database) -> None:
    locked = await locked_out(database)
    answers = await asyncio.gather(*(locked.request(new_key()) for _ in range(3)), return_exceptions=True)
    made = [answer for answer in answers if isinstance(answer, Request)]
    assert len(made) == 1
    assert all(made[0].id in str(answer) for answer in answers if isinstance(answer, Impossible))
    assert len(await entries(locked.house, "BreakGlass")) == 1


async def test_a_cancelled_request_never_completes(database: Database) -> None:
    locked = await locked_out(database)
    made = await locked.request(new_key())
    assert (await locked.cancel(made.id)).state == "Cancelled"
    locked.clock.now += 1000 * HOUR_MS
    with pytest.raises(Impossible, match="cancelled already"):
        await locked.complete(made.id)
    with pytest.raises(Impossible, match="cancelled already"):
        await locked.cancel(made.id)
    assert await locked.credentials() == []
    assert await locked.epoch() == 0


async def test_a_clock_set_back_does_not_shorten_the_wait(database: Database) -> None:
    locked = await locked_out(database)
    made = await locked.request(new_key())
    locked.clock.now -= 100 * HOUR_MS
    with pytest.raises(Impossible, match="waits until"):
        await locked.complete(made.id)


async def test_a_user_deactivated_meanwhile_is_not_let_in_and_nothing_changes(database: Database) -> None:
    locked = await locked_out(database)
    house = locked.house
    await house.administrator("second@example.com")
    pat = await house.token(locked.administrator)
    made = await locked.request(new_key())
    user_id = locked.administrator.user_id
    await database.write(lambda: administration.set_state(user_id, "Inactive", house.world))
    locked.clock.now += 72 * HOUR_MS
    with pytest.raises(Impossible, match="not active"):
        await locked.complete(made.id)
    (request,) = await database.read(break_glass.list_requests)
    assert request.state == "Waiting"
    assert await house.token_state(pat.token_id) == ("Active", 0)
    assert [entry["details"]["step"] for entry in await entries(house, "BreakGlass")] == ["requested"]


async def test_a_key_enrolled_meanwhile_changes_nothing(database: Database) -> None:
    locked = await locked_out(database)
    house, key = locked.house, new_key()
    made = await locked.request(key)
    other = await house.person("other@example.com")
    await house.token(other, public_key=key)
    pat = await house.token(locked.administrator)
    locked.clock.now += 72 * HOUR_MS
    with pytest.raises(Impossible, match="enrolled meanwhile"):
        await locked.complete(made.id)
    assert await house.token_state(pat.token_id) == ("Active", 0)
    assert await locked.epoch() == 0


async def test_it_is_for_registered_active_employees_with_a_new_key(database: Database) -> None:
    locked = await locked_out(database)
    house, world, key = locked.house, locked.house.world, new_key()
    await house.token(locked.administrator, public_key=key)
    invited = await house.person("invited@example.com")
    holder = await house.person("holder", "EndUser")
    leaver = await house.administrator("leaver@example.com")
    await database.write(lambda: administration.set_state(leaver.user_id, "Inactive", world))

    async def said(person: str, key: PublicKey) -> str:
        return await impossible(house, lambda: break_glass.request(person, key, world))

    assert "reissue-code" in await said(invited.user_id, new_key())
    assert "end user" in await said(holder.user_id, new_key())
    assert "inactive" in await said(leaver.username, new_key())
    assert "no user" in await said("nobody@example.com", new_key())
    assert "make a new one" in await said(locked.administrator.username, key)
    assert await database.read(break_glass.list_requests) == []


async def test_only_a_sandbox_does_without_the_wait(database: Database) -> None:
    locked = await locked_out(database)
    await locked.set_wait(0)
    with pytest.raises(Impossible, match="sandbox"):
        await locked.request(new_key())
    await locked.house.rows("UPDATE installation SET value = 'sandbox' WHERE name = 'profile'")
    made = await locked.request(new_key())
    assert (await locked.complete(made.id)).request.state == "Completed"
