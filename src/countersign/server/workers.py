"""Several server processes over one listening socket: start them, start again those that die, stop them all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import msgspec
import structlog

from countersign.server.settings import Settings

log = structlog.get_logger("countersign.serve")

#: What a process writes into its report once it serves. Anything else there says why it cannot.
SERVING = b"serving"

_LOOK_SECONDS = 0.2
#: Pause before a process is started again that could not start.
_PAUSE_SECONDS = 1.0


class CannotServe(Exception):
    """A process could not start; the text says why."""


@dataclass(slots=True)
class _Worker:
    """``report``: the end of a pipe on which the process says that it serves, or why not."""

    number: int
    process: subprocess.Popen[bytes]
    report: int
    again_at: float | None = None

    def last_words(self) -> bytes:
        """All that the process reported; to be called once, when it has ended."""
        with os.fdopen(self.report, "rb") as file:
            return file.read(4096)


def run_processes(settings: Settings, listener: socket.socket) -> None:
    """Serve with ``settings.processes`` processes until SIGTERM or SIGINT.

    A process that served and died is started again. One that cannot start ends everything at first (``CannotServe``);
    later, when others serve, it is tried again.
    """
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    for received in (signal.SIGTERM, signal.SIGINT):
        signal.signal(received, stop)
    listener.set_inheritable(True)
    with tempfile.TemporaryDirectory(prefix="countersign-metrics-") as metrics:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": metrics}
        workers = [_start(settings, listener, number, environment) for number in range(settings.processes)]
        served: set[int] = set()
        try:
            while not stopping:
                signal.sigtimedwait([signal.SIGCHLD], _LOOK_SECONDS)
                for index, worker in enumerate(workers):
                    if worker.again_at is None and worker.process.poll() is not None and not stopping:
                        _mourn(worker, served)
                    if worker.again_at is not None and worker.again_at <= time.monotonic():
                        workers[index] = _start(settings, listener, worker.number, environment)
        finally:
            _stop(workers, settings.shutdown_seconds + 5)


def _mourn(worker: _Worker, served: set[int]) -> None:
    words = worker.last_words()
    if words.startswith(SERVING):
        served.add(worker.number)
        worker.again_at = time.monotonic()
    elif worker.number not in served:
        reason = words.decode("utf-8", "replace")
        raise CannotServe(reason or f"a server process ended with status {worker.process.returncode} before it served")
    else:
        worker.again_at = time.monotonic() + _PAUSE_SECONDS
    log.error("process died and is started again", process=worker.process.pid, status=worker.process.returncode)


def _stop(workers: list[_Worker], patience: float) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        try:
            worker.process.wait(patience)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()


def _start(settings: Settings, listener: socket.socket, number: int, environment: dict[str, str]) -> _Worker:
    report, report_in = os.pipe()
    descriptors = [str(listener.fileno()), str(report_in)]
    command = [sys.executable, "-P", "-m", "countersign.server.worker", *descriptors, str(number), str(os.getpid())]
    process = subprocess.Popen(  # noqa: S603 - a fixed command
        command, stdin=subprocess.PIPE, pass_fds=[listener.fileno(), report_in], env=environment
    )
    os.close(report_in)
    assert process.stdin is not None
    try:
        process.stdin.write(msgspec.json.encode(settings))
        process.stdin.close()
    except BrokenPipeError:
        # It died at once: its status says more, and is looked at with the others.
        process.stdin = None
    return _Worker(number, process, report)
