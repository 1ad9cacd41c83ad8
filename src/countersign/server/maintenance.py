"""Work on an installation by a local command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from countersign.access.server_keys import read_server_secret
from countersign.server.settings import Settings
from countersign.storage import Database, open_database
from countersign.world import World

T = TypeVar("T")


async def with_database(settings: Settings, work: Callable[[Database, bytes, World], Awaitable[T]]) -> T:
    """Open the database of the settings, with the server secret, for one piece of work."""
    database = await open_database(settings.database, migrate=False)
    try:
        return await work(database, read_server_secret(settings.server_secret_file), World())
    finally:
        await database.close()
