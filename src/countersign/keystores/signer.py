"""The signer process: ``python -P -m countersign.keystores.signer --socket PATH --kek PROVIDER``.

It alone can open keys. One event loop serves a Unix socket, order by order, or hands what it has permitted to worker
processes (``--workers``); it needs no database. It imports little on purpose: no web server, no database driver, no
command-line framework.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import uvloop

from countersign.keystores.confinement import Needs, confine, refuse_io_uring
from countersign.keystores.kek import FORMS, DevProvider, FileProvider, KekProvider, open_provider
from countersign.keystores.ledger import Ledger, open_file
from countersign.keystores.memory import LockedPage, SharedRoots, harden_process
from countersign.keystores.pkcs11_place import parse_place
from countersign.keystores.service import SignerService
from countersign.keystores.serving import (
    Handle,
    add_options,
    begin,
    log_to_stderr,
    serve,
    steady_clock,
    stopped_by_signals,
)
from countersign.keystores.workers import Front, Hands, Keeper, work

log = logging.getLogger("countersign.signer")

_MOST_BY_ITSELF: Final = 4
_MOST_WORKERS: Final = 64


def main(arguments: list[str] | None = None) -> int:
    """Run the signer until SIGTERM, SIGINT or an order to shut down."""
    options = _parser().parse_args(arguments)
    note_level = log_to_stderr("signer", options.environment)
    try:
        kek = open_provider(options.kek)
        make_service = _store(options.store)
        workers = _workers(options)
        _check_environment(options, kek)
        listener, allowed = begin(options)
        # Before the process gives up the file system.
        ledger = _ledger(options)
    except (ValueError, OSError, LookupError) as trouble:
        log.error("%s", trouble)  # noqa: TRY400 - an operator's mistake, a trace would only hide the sentence
        return 2
    refuse_io_uring()
    gc.freeze()

    def front(control: socket.socket | None = None, roots: SharedRoots | None = None) -> int:
        hardened = list(
            dict.fromkeys([*harden_process(), *([*roots.notes, *roots.lock()] if roots is not None else ())])
        )

        async def run() -> None:
            stop = stopped_by_signals()
            # The loop has its descriptors by now, and nothing was read from anybody yet.
            notes = [*hardened, *confine(_needs(kek, options.store))]
            service = make_service(
                kek,
                clock=steady_clock,
                grant_level=options.grant_level,
                ledger=ledger,
                endorses_by_itself=options.endorse_by_itself,
                notes=tuple(notes),
                on_shutdown=stop.set,
                page=LockedPage(roots.view) if roots is not None else None,
            )
            log.info("listening on %s for user ids %s", options.socket, sorted(allowed))
            for note in notes:
                log.log(note_level, "%s", note)
            handle: Handle = lambda view, _later: service.handle(view)  # noqa: E731 - the front's takes its place
            if control is not None:
                crew = Front(service, control)
                crew.start()
                handle = crew.handle
            try:
                await serve(listener, handle, allowed_uids=allowed, stop=stop, patience=options.patience)
            finally:
                service.seal()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
        return 0

    if workers == 0:
        return front()
    roots = SharedRoots()

    def worker(link: socket.socket) -> None:
        harden_process()
        roots.lock()
        confine(Needs())
        work(link, Hands(kek, clock=steady_clock, page=LockedPage(roots.view)))

    harden_process()
    confine(replace(_needs(kek, options.store), processes=True))
    return Keeper(workers, lambda control: front(control, roots), worker).run()


def _workers(options: argparse.Namespace) -> int:
    """How many worker processes; a token is used by one process, and the sandbox needs none."""
    if options.workers is None:
        cpus = len(os.sched_getaffinity(0))
        alone = options.environment == "sandbox" or options.store != "sealed" or cpus == 1
        return 0 if alone else min(cpus, _MOST_BY_ITSELF)
    if options.workers and options.store != "sealed":
        raise ValueError("--workers is for sealed stores: a token has one session, in one process")
    if not 0 <= options.workers <= _MOST_WORKERS:
        raise ValueError(f"--workers is 0 to {_MOST_WORKERS}")
    return int(options.workers)


def _store(spec: str) -> Callable[..., SignerService]:
    """What makes the service of the store that ``--store`` names. Raises ValueError."""
    if spec == "sealed":
        return SignerService
    try:
        # Loaded when named only: the signer holds no library that it does not use.
        from countersign.keystores.pkcs11_service import Pkcs11Service
        from countersign.keystores.pkcs11_token import Token
    except ImportError:
        raise ValueError("a pkcs11 store needs the extra: pip install countersign[pkcs11]") from None
    return partial(Pkcs11Service, Token(parse_place(spec)))


def _needs(kek: KekProvider, store: str) -> Needs:
    files = (kek.path.absolute(),) if isinstance(kek, (FileProvider, DevProvider)) else ()
    return Needs(files, network=kek.needs_network, driver=kek.needs_driver or store != "sealed")


def _check_environment(options: argparse.Namespace, kek: KekProvider) -> None:
    if options.environment != "production":
        return
    if kek.name == "dev":
        raise ValueError("the dev key-encryption key is refused in production; use file:PATH or passphrase")
    if options.grant_level == "G0":
        raise ValueError("grant level G0 is refused in production")


def _ledger(options: argparse.Namespace) -> Ledger:
    if options.state is not None:
        return Ledger(open_file(options.state))
    if options.environment == "production":
        # At any level: what is written there under the store's root is how a stranger's root is told at the next start.
        raise ValueError("production needs --state DIR, where the signer keeps its roster of credentials")
    return Ledger(None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="countersign.keystores.signer", description="The signer of Countersign.")
    add_options(parser)
    parser.add_argument("--kek", required=True, help=f"key-encryption key: {FORMS}")
    parser.add_argument(
        "--store", default="sealed", help="sealed, or pkcs11:token=LABEL?module-path=FILE&pin-source=FILE"
    )
    parser.add_argument(
        "--grant-level", choices=("G0", "G1", "G2", "G3"), default="G3", help="what an order takes; G0 for tests"
    )
    parser.add_argument("--workers", type=int, help="processes that sign; 0: its own (default: CPUs, at most 4)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
