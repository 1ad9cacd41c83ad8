"""The server's own keys on both engines: made, rotated, retired, sealed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from countersign.access import server_keys
from countersign.access.keyring import KeyRing
from countersign.access.server_keys import KeySet, PayloadSeal, ServerSecretWrong
from countersign.audit.checkpoint import PublishedKey, fingerprint, trusted_keys
from countersign.storage import Database, Statement, Transaction
from countersign.world import World

SECRET = bytes(range(32))
WORLD = World()


async def made(database: Database) -> KeySet:
    return await database.write(lambda: server_keys.create_all(SECRET, WORLD))


async def loaded(database: Database, secret: bytes = SECRET) -> KeySet:
    return await database.read(lambda: server_keys.load(secret))


async def test_each_purpose_has_one_active_key(database: Database) -> None:
    await made(database)
    keys = await loaded(database)
    for purpose in server_keys.PURPOSES:
        assert [key.state for key in keys.of(purpose)] == ["Active"]
        assert len(keys.active(purpose).secret) == 32


async def test_the_wrong_server_secret_opens_nothing(database: Database) -> None:
    await made(database)
    with pytest.raises(ServerSecretWrong, match="wrong server secret"):
        await loaded(database, bytes(32))


async def test_a_rotated_key_still_verifies_until_it_is_retired(database: Database) -> None:
    before = (await made(database)).active("token")
    new = await database.write(lambda: server_keys.rotate("token", SECRET, WORLD))
    keys = await loaded(database)
    assert keys.active("token").kid == new.kid
    assert {key.kid for key in keys.of("token")} == {before.kid, new.kid}
    assert await database.write(lambda: server_keys.retire(before.kid, WORLD)) == "token"
    assert {key.kid for key in (await loaded(database)).of("token")} == {new.kid}


async def test_threat_53_a_sealed_key_is_good_in_its_own_row_only(database: Database) -> None:
    await made(database)
    swap = Statement(
        "swap",
        "UPDATE server_keys SET sealed = (SELECT o.sealed FROM server_keys o WHERE o.purpose = ?) WHERE purpose = ?",
    )

    def moved() -> Transaction[None]:
        yield swap, ("action", "challenge")

    await database.write(moved)
    with pytest.raises(ServerSecretWrong, match="a changed row"):
        await loaded(database)


async def test_strangers_with_unknown_kids_have_the_keys_read_once(database: Database) -> None:
    await made(database)
    clock = [1_700_000_000_000]
    ring = KeyRing(database, SECRET, "issuer", World(clock=lambda: clock[0]))
    await ring.load()
    clock[0] += 1000
    before = database.statistics.statements
    await asyncio.gather(*(ring.look_again() for _ in range(20)))
    assert database.statistics.statements == before + 1


async def test_an_active_key_and_one_that_seals_the_log_are_never_retired(database: Database) -> None:
    keys = await made(database)
    assert await database.write(lambda: server_keys.retire(keys.active("action").kid, WORLD)) is None
    await database.write(lambda: server_keys.rotate("payload", SECRET, WORLD))
    assert await database.write(lambda: server_keys.retire(keys.active("payload").kid, WORLD)) is None


async def test_trust_in_a_checkpoint_key_carries_over_a_rotation(database: Database) -> None:
    old = (await made(database)).active("checkpoint")
    new = await database.write(lambda: server_keys.rotate("checkpoint", SECRET, WORLD))
    keys = [
        PublishedKey(key.kid, key.public_key, key.created_at, key.handover)
        for key in (await loaded(database)).of("checkpoint")
    ]
    assert set(trusted_keys(keys, fingerprint(old.public_key))) == {old.kid, new.kid}


async def test_payloads_stay_readable_over_a_rotation_and_bound_to_their_entry(database: Database) -> None:
    first = await made(database)
    sealed = PayloadSeal(first.of("payload"), first.active("payload"), WORLD).seal(b"body", "uj-1")
    await database.write(lambda: server_keys.rotate("payload", SECRET, WORLD))
    keys = await loaded(database)
    seal = PayloadSeal(keys.of("payload"), keys.active("payload"), WORLD)
    assert seal.open(sealed, "uj-1") == b"body"
    for blob, entry in ((sealed, "uj-2"), (sealed[:-1] + bytes([sealed[-1] ^ 1]), "uj-1")):
        with pytest.raises(ValueError, match="changed or moved"):
            seal.open(blob, entry)
    assert b"body" not in sealed


async def test_rotations_at_once_leave_one_active_key_and_one_line_of_trust(database: Database) -> None:
    first = (await made(database)).active("checkpoint")
    rotations = (database.write(lambda: server_keys.rotate("checkpoint", SECRET, WORLD)) for _ in range(6))
    await asyncio.gather(*rotations)
    keys = (await loaded(database)).of("checkpoint")
    assert sorted(key.state for key in keys) == ["Active", *["Superseded"] * 6]
    predecessors = {key.handover.partition(".")[0] for key in keys if key.handover}
    superseded = {key.kid for key in keys if key.state == "Superseded"}
    assert predecessors == superseded
    assert first.kid in predecessors


@pytest.mark.parametrize("mode", [0o604, 0o640 | 0o020, 0o666, 0o644])
def test_a_server_secret_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "server.secret"
    path.write_bytes(bytes(32))
    path.chmod(mode)
    with pytest.raises(ValueError, match="chmod 0400"):
        server_keys.read_server_secret(path)


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640])
def test_a_server_secret_of_its_owner_and_group_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "server.secret"
    path.write_bytes(bytes(32))
    path.chmod(mode)
    assert server_keys.read_server_secret(path) == bytes(32)
