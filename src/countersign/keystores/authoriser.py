"""The authoriser process: ``python -P -m countersign.keystores.authoriser --socket PATH --key FILE --state DIR``.

It alone holds the key that makes grants, which signers demand (level G2, and beside G3). It imports as little as the
signer, opens no key, and gives up the network and all files once it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

import uvloop

from countersign.keystores import charter
from countersign.keystores.authoriser_service import AuthoriserService
from countersign.keystores.confinement import Needs, confine, refuse_io_uring
from countersign.keystores.ledger import Ledger, open_file
from countersign.keystores.memory import harden_process
from countersign.keystores.serving import add_options, begin, log_to_stderr, serve, steady_clock, stopped_by_signals

log = logging.getLogger("countersign.authoriser")


def main(arguments: list[str] | None = None) -> int:
    """Run the authoriser until SIGTERM or SIGINT."""
    options = _parser().parse_args(arguments)
    note_level = log_to_stderr("authoriser", options.environment)
    try:
        if options.environment == "production" and options.state is None:
            raise ValueError("--state DIR is needed, where the authoriser keeps its roster of credentials")
        key = charter.read(options.key)
        listener, allowed = begin(options)
        # Before the process gives up the file system.
        ledger = Ledger(None if options.state is None else open_file(options.state))
    except (ValueError, OSError, LookupError) as trouble:
        log.error("%s", trouble)  # noqa: TRY400 - an operator's mistake, a trace would only hide the sentence
        return 2
    refuse_io_uring()
    notes = harden_process()
    if os.geteuid() in allowed:
        notes.append("the server may run as the authoriser's user, who can read its key file: give each its own user")

    async def run() -> None:
        stop = stopped_by_signals()
        # The loop has its descriptors by now, and nothing was read from anybody yet.
        notes.extend(confine(Needs()))
        service = AuthoriserService(
            key,
            clock=steady_clock,
            ledger=ledger,
            endorses_by_itself=options.endorse_by_itself,
            notes=tuple(notes),
        )
        log.info("listening on %s for user ids %s", options.socket, sorted(allowed))
        for note in notes:
            log.log(note_level, "%s", note)
        await serve(
            listener,
            lambda view, _later: service.handle(view),
            allowed_uids=allowed,
            stop=stop,
            patience=options.patience,
        )

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    except ValueError as trouble:
        log.error("%s", trouble)  # noqa: TRY400 - a roster that can't be believed
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="countersign.keystores.authoriser", description="The authoriser of Countersign: it alone makes grants."
    )
    add_options(parser)
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="key file of the authoriser")
    return parser


if __name__ == "__main__":
    sys.exit(main())
