"""One process of several, started by ``countersign serve``: the listening socket and a pipe inherited, settings on
standard input."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import msgspec
import uvloop

from countersign.access.server_keys import ServerSecretWrong
from countersign.keystores.memory import die_with_parent
from countersign.server import logs
from countersign.server.maintenance import NotInitialised
from countersign.server.runtime import Runtime
from countersign.server.serve import serve_process
from countersign.server.settings import BadSettings, Settings
from countersign.server.workers import SERVING
from countersign.storage import SchemaError, StorageUnavailable


def main(listening: int, report: int, number: int, parent: int) -> int:
    """Serve until SIGTERM; what hinders the start goes into ``report`` in one line."""
    die_with_parent(signal.SIGTERM, parent)
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)
    logs.configure(settings.log_level, settings.log_format)

    async def ready(_runtime: Runtime, _port: int) -> None:
        os.write(report, SERVING)

    listener = socket.socket(fileno=listening)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_process(settings, listener, first_process=number == 0, ready=ready))
    except (BadSettings, NotInitialised, SchemaError, ServerSecretWrong, StorageUnavailable) as error:
        os.write(report, str(error).encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
