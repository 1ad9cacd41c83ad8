"""Someone is shut out while a request of theirs is under way: one waits for the other, and nothing that would let them
in again survives (PostgreSQL)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from countersign.credentials import public_key
from tests.support import interleaving
from tests.support.caller import Caller
from tests.support.enrolment import NewKey, challenge_for, new_body
from tests.support.interleaving import until, waiting
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants

_IN_THE_WAY = (
    "INSERT INTO credentials (org_id, credential_uuid, user_id, token_id, kind, credential_id, credential_key, name, "
    "public_key, fingerprint, rp_id, origin, sign_count, state, epoch, created_at) "
    "VALUES ($1, 'cr-of-a-test', 'us-of-a-test', '', 'Key', 'x', 'x', 'x', '', $2, '', '', 0, 'Active', 0, 0)"
)


@asynccontextmanager
async def connected(sandbox: Sandbox) -> AsyncIterator[asyncpg.Connection]:
    assert sandbox.database is not None
    async with interleaving.connected(sandbox.database) as connection:
        yield connection


async def shut_out(sandbox: Sandbox, person: Identity) -> None:
    """As break-glass does it: the person's state first, then all that would let them in."""
    async with connected(sandbox) as connection, connection.transaction():
        who = (person.org_id, person.user_id)
        await connection.execute("UPDATE users SET epoch = epoch + 1 WHERE org_id = $1 AND user_id = $2", *who)
        for table in ("credentials", "tokens"):
            await connection.execute(
                f"UPDATE {table} SET state = 'Archived', epoch = epoch + 1 WHERE org_id = $1 AND user_id = $2",
                *who,
            )


@pytest.mark.parametrize("way_in", ["token", "credential"])
def test_no_other_way_in_is_left(shared_sandbox: Sandbox, shared_tenants: Tenants, way_in: str) -> None:
    on_postgresql(shared_sandbox)
    person = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    new = NewKey()
    loaded = public_key.load(new.pem)
    assert isinstance(loaded, public_key.PublicKey)
    with Caller(person.connection) as caller:
        path, body = "/auth/pats", {"name": "another way in", "publicKey": new.pem}
        if way_in == "credential":
            challenge = challenge_for(caller, "Key")
            path, body = "/auth/credentials", new_body(challenge, new.info(challenge["challenge"]))
        token = caller.action_token("POST", path, body)
        asyncio.run(
            interleave(
                shared_sandbox,
                person,
                loaded.fingerprint,
                lambda: caller.send("POST", path, body, action=token),
            )
        )


async def interleave(sandbox: Sandbox, person: Identity, fingerprint: str, request: Callable[[], object]) -> None:
    """Hold the request up where it stores its key, long after it found its caller in order; shut the caller out."""
    async with connected(sandbox) as in_the_way, connected(sandbox) as watching:
        await in_the_way.execute("BEGIN")
        await in_the_way.execute(_IN_THE_WAY, person.org_id, fingerprint)
        requesting = asyncio.create_task(asyncio.to_thread(request))
        await until(lambda: waiting(watching, 1))
        ending = asyncio.create_task(shut_out(sandbox, person))

        async def ended_or_waits() -> bool:
            return ending.done() or await waiting(watching, 2)

        await until(ended_or_waits)
        await in_the_way.execute("ROLLBACK")
        await asyncio.gather(requesting, ending)
        for table in ("credentials", "tokens"):
            left = await watching.fetch(
                f"SELECT 1 FROM {table} WHERE user_id = $1 AND state = 'Active'", person.user_id
            )
            assert left == [], table


_SHUT_OUT = {
    "user": "UPDATE users SET state = 'Inactive', epoch = epoch + 1 WHERE org_id = $1 AND user_id = $2",
    "token": "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 WHERE org_id = $1 AND user_id = $2",
    "credential": "UPDATE credentials SET state = 'Inactive', epoch = epoch + 1 WHERE org_id = $1 AND user_id = $2",
}


@pytest.mark.parametrize("what", _SHUT_OUT)
def test_a_mutation_that_began_first_is_waited_for(shared_sandbox: Sandbox, shared_tenants: Tenants, what: str) -> None:
    on_postgresql(shared_sandbox)
    person = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    with Caller(shared_sandbox.service) as owner, Caller(person.connection) as caller:
        key = owner.create_key()
        token = caller.action_token("PUT", f"/keys/{key}", {"name": "renamed"})

        async def interleaved() -> None:
            async with connected(shared_sandbox) as in_the_way, connected(shared_sandbox) as watching:
                await in_the_way.execute("BEGIN")
                await in_the_way.execute("UPDATE keys SET name = name WHERE key_id = $1", key)
                rename = asyncio.to_thread(caller.send, "PUT", f"/keys/{key}", {"name": "renamed"}, action=token)
                renaming = asyncio.create_task(rename)
                await until(lambda: waiting(watching, 1))
                ending = asyncio.create_task(execute(shared_sandbox, _SHUT_OUT[what], person))
                await until(lambda: waiting(watching, 2))
                assert not ending.done()
                await in_the_way.execute("ROLLBACK")
                answer, _ = await asyncio.gather(renaming, ending)
                assert answer.status_code == 200, answer.text

        asyncio.run(interleaved())


@pytest.mark.parametrize("what", _SHUT_OUT)
def test_a_mutation_that_came_second_waits_and_is_refused(
    shared_sandbox: Sandbox, shared_tenants: Tenants, what: str
) -> None:
    on_postgresql(shared_sandbox)
    person = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    with Caller(shared_sandbox.service) as owner, Caller(person.connection) as caller:
        key = owner.create_key()
        token = caller.action_token("PUT", f"/keys/{key}", {"name": "renamed"})

        async def interleaved() -> None:
            async with connected(shared_sandbox) as ending, connected(shared_sandbox) as watching:
                async with ending.transaction():
                    await ending.execute(_SHUT_OUT[what], person.org_id, person.user_id)
                    rename = asyncio.to_thread(caller.send, "PUT", f"/keys/{key}", {"name": "renamed"}, action=token)
                    renaming = asyncio.create_task(rename)
                    await until(lambda: waiting(watching, 1))
                answer = await renaming
                assert answer.status_code in (401, 403), answer.text
                left = await watching.fetchval("SELECT name FROM keys WHERE key_id = $1", key)
                assert left != "renamed"

        asyncio.run(interleaved())


def on_postgresql(sandbox: Sandbox) -> None:
    if not (sandbox.database or "").startswith("postgresql"):
        pytest.skip("on SQLite one transaction follows the other")


async def execute(sandbox: Sandbox, sql: str, person: Identity) -> None:
    """Run one statement about a person, on a connection of its own."""
    async with connected(sandbox) as connection:
        await connection.execute(sql, person.org_id, person.user_id)
