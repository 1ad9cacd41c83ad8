"""An installation as a server and its local commands find it: its settings, its database, its keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from countersign.access.installation import read_installation
from countersign.access.keyring import KeyRing
from countersign.access.server_keys import read_server_secret
from countersign.server.settings import BadSettings, Settings
from countersign.storage import Database, open_database
from countersign.world import World

T = TypeVar("T")


class NotInitialised(Exception):
    """The database holds no organisation yet; the text says what to do."""


async def with_database(settings: Settings, work: Callable[[Database, bytes, World], Awaitable[T]]) -> T:
    """Open the database of the settings, with the server secret, for one piece of work.

    Raises ``NotInitialised``, ``BadSettings`` and what opening a database raises.
    """
    database = await open_database(settings.database, migrate=False, timeouts=settings.timeouts)
    try:
        secret = server_secret(settings)
        await find_installation(database)
        return await work(database, secret, World())
    finally:
        await database.close()


async def find_installation(database: Database) -> dict[str, str]:
    """What ``init`` wrote down. Raises ``NotInitialised``."""
    installation = await database.read(read_installation)
    if "store_id" not in installation:
        raise NotInitialised("this database holds no organisation yet; run 'countersign init' first")
    return installation


def server_secret(settings: Settings) -> bytes:
    """The 32 bytes that open the server's own keys. Raises ``BadSettings``."""
    try:
        return read_server_secret(settings.server_secret_file)
    except OSError as error:
        raise BadSettings(f"server_secret_file {settings.server_secret_file}: {error.strerror}") from None
    except ValueError as error:
        raise BadSettings(f"server_secret_file: {error}") from None


async def key_ring(settings: Settings, database: Database, installation_id: str, world: World) -> KeyRing:
    """The server's own keys, opened. Raises ``BadSettings`` and ``ServerSecretWrong``."""
    issuer = settings.issuer or installation_id
    ring = KeyRing(database, server_secret(settings), issuer, world, access_token_days=settings.access_token_days)
    await ring.load()
    return ring
