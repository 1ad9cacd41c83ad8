"""Who makes grants for the signers: this process, or an authoriser in a process of its own."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from countersign.access.keyring import KeyRing
from countersign.keystores import Authoriser, AuthoriserClient, Founder, charter
from countersign.keystores.store import read_roster_mark
from countersign.keystores.supervisor import Supervisor
from countersign.server.settings import BadSettings, Settings
from countersign.storage import Database
from countersign.world import World

log = structlog.get_logger("countersign.authoriser")


def new_authoriser(
    settings: Settings, installation_id: str, founders: tuple[Founder, ...], world: World
) -> charter.Charter | None:
    """The authoriser of a new installation, its key file written; None where the server makes grants itself.

    Raises OSError (FileExistsError rather than replace one).
    """
    if not settings.authoriser_apart:
        return None
    path = Path(settings.authoriser_key)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return charter.create(path, world.new_id("au"), installation_id, founders)


async def open_authoriser(
    settings: Settings,
    database: Database,
    ring: KeyRing,
    authoriser_id: str | None,
    stack: AsyncExitStack,
    first_process: bool,
) -> Authoriser | AuthoriserClient:
    """The server's own key, or a connection to the authoriser of the installation; an embedded one is started.

    Raises BadSettings where the settings want one that was never made.
    """
    if not settings.authoriser_apart:
        return Authoriser(ring.keys.active("authoriser").secret)
    if authoriser_id is None:
        raise BadSettings(
            'this installation has no authoriser of its own, which grant level G2 and authoriser = "process" take; '
            "'countersign keystore authoriser' makes one"
        )
    if settings.authoriser_embedded:
        if first_process:
            await _start(settings, stack)
    elif os.access(settings.authoriser_key, os.R_OK):
        log.warning("this user can read the authoriser's key, so the authoriser is no protection from this server")
    client = AuthoriserClient(
        settings.authoriser_socket, authoriser_id, lambda: database.read(lambda: read_roster_mark(authoriser_id))
    )
    await client.start()
    stack.push_async_callback(client.close)
    return client


async def _start(settings: Settings, stack: AsyncExitStack) -> None:
    if not os.access(settings.authoriser_key, os.R_OK):
        raise BadSettings(f"authoriser_key: {settings.authoriser_key} can't be read")
    directory = Path(settings.authoriser_socket).parent
    await asyncio.to_thread(lambda: directory.mkdir(mode=0o700, parents=True, exist_ok=True))
    places = ("--socket", settings.authoriser_socket, "--key", settings.authoriser_key)
    options = ("--state", settings.authoriser_state, "--environment", settings.profile)
    itself = ("--endorse-by-itself",) if settings.profile == "sandbox" else ()
    supervisor = Supervisor("authoriser", "countersign.keystores.authoriser", (*places, *options, *itself))
    await supervisor.start()
    stack.push_async_callback(supervisor.stop)
