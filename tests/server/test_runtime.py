"""The background work of a server process."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest

from countersign.access import server_keys
from countersign.access.keyring import KeyRing
from countersign.server import runtime
from countersign.storage import Database
from countersign.world import World

SECRET = bytes(range(32))


async def test_checkpoints_are_signed_with_the_new_key_whoever_read_it_first(database: Database) -> None:
    await database.write(lambda: server_keys.create_all(SECRET, World()))
    ring = KeyRing(database, SECRET, "issuer", World())
    new = await database.write(lambda: server_keys.rotate("checkpoint", SECRET, World()))
    # As a token under an unknown kid has it read, before the background work comes round, or is begun again.
    await ring.load()
    sequencer = mock.Mock()
    services = SimpleNamespace(ring=ring, database=database)
    around = SimpleNamespace(services=services, sequencer=sequencer, settings=SimpleNamespace(key_refresh_seconds=60))
    rounds = mock.AsyncMock(side_effect=[None, asyncio.CancelledError])
    with mock.patch.object(runtime.asyncio, "sleep", rounds), pytest.raises(asyncio.CancelledError):
        await runtime._refresh_keys(cast("Any", around), World())
    assert [call.args[0].kid for call in sequencer.use_key.call_args_list] == [new.kid]
