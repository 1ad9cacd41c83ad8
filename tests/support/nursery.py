"""``countersign`` processes, forked from one that has imported the program: most of what such a process costs is that.

``born`` starts one. What it runs is what ``python -m countersign`` runs, with arguments, environment, working directory
and output of its own; only the importing is shared, and passphrases are cheaper to try. ``launched`` does the same for
what a supervisor starts, in the test's own process or in a server that was born: that one has a process that forks as
its child, which ends with it. Run as a module, this file is the process that forks.
"""

from __future__ import annotations

import array
import asyncio
import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_MAX_REQUEST = 1 << 20
_MAX_DESCRIPTORS = 8
_PARENT = "PARENT"
"""Stands for the number of the process that forks."""
_SERVERS = ("up", "serve")
"""The commands that start signers and authorisers."""
_LATER = (
    *("anyio._backends._asyncio", "anyio.streams.tls", "asyncpg", "sqlite3", "uvloop"),
    *("uvicorn.lifespan.off", "uvicorn.protocols.http.auto"),
)
"""What libraries import only once a server runs."""
_LEFT_OUT = ("countersign.__main__", "countersign.keystores.keks.")
"""What does something when it is imported, and what needs the libraries of extras."""
_own: socket.socket | None = None


class Born:
    """A running process, as far as ``subprocess.Popen`` is used for it here."""

    def __init__(self, line: socket.socket, arguments: Sequence[str]) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self.line = line
        self.pid = int(self._read())

    def _read(self) -> str:
        told = self.line.recv(32)
        if not told:
            raise RuntimeError("the process that forks the tests' processes has ended")
        return told.decode()

    def poll(self) -> int | None:
        """Its exit status, as ``Popen`` has it; None while it runs."""
        if self.returncode is None:
            self.line.setblocking(False)
            try:
                self.returncode = int(self._read())
            except BlockingIOError:
                pass
            else:
                self.line.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises ``subprocess.TimeoutExpired``."""
        if self.returncode is None:
            self.line.settimeout(timeout)
            try:
                self.returncode = int(self._read())
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self.line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing if it has ended: its number may be another's by now."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``."""
        self.send_signal(signal.SIGKILL)


def born(
    arguments: Sequence[str],
    *,
    stdout: int,
    stderr: int,
    env: Mapping[str, str],
    cwd: str | None = None,
    pass_fds: Mapping[int, int] | None = None,
    module: str = "countersign",
    apart: bool = False,
) -> Born:
    """Start ``module`` with these arguments; standard input is empty.

    ``pass_fds``: descriptors it gets, by the number that each has there. ``apart``: in a session of its own.
    """
    given = dict(pass_fds or {})
    request = json.dumps([module, apart, list(arguments), dict(env), cwd or str(Path.cwd()), list(given)]).encode()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        descriptors = array.array("i", [theirs.fileno(), stdout, stderr, *given.values()])
        _nursery().sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
    return Born(ours, [module, *arguments])


class Child:
    """A running process, as far as a supervisor uses ``asyncio.subprocess.Process``."""

    def __init__(self, process: Born) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, once it was waited for."""
        return self._process.returncode

    async def wait(self) -> int:
        """Its exit status, when it has ended."""
        loop = asyncio.get_running_loop()
        while (status := self._process.poll()) is None:
            ended = loop.create_future()
            loop.add_reader(self._process.line, ended.set_result, None)
            try:
                await ended
            finally:
                loop.remove_reader(self._process.line)
        return status

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()


async def launched(command: Sequence[str], environment: Mapping[str, str]) -> Child:
    """What ``countersign.keystores.supervisor.launched`` starts, but forked; it ends with the nursery."""
    assert [*command[:3]] == [sys.executable, "-P", "-m"]
    module, *arguments = command[3:]
    at = arguments.index("--exit-with-parent")
    arguments[at : at + 2] = ["--exit-with-parent", _PARENT]
    return Child(born(arguments, stdout=1, stderr=2, env=environment, module=module, apart=True))


def _nursery() -> socket.socket:
    """The way to this process's nursery, which ends when the way is closed."""
    global _own
    if _own is None:
        _own = _started()
    return _own


def _started() -> socket.socket:
    ours, theirs = _new_way()
    with theirs:
        command = [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=ROOT)
    atexit.register(lambda: (ours.close(), process.wait(20)))
    return ours


def _new_way() -> tuple[socket.socket, socket.socket]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _MAX_REQUEST)
    return ends


def main(way: socket.socket) -> None:
    """Fork what is asked for, tell its number and, when it has ended, its status."""
    lines: dict[int, socket.socket] = {}
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    # A collection in a child would write into every page that it shares with this process.
    gc.freeze()
    with selectors.DefaultSelector() as selector:
        selector.register(way, selectors.EVENT_READ)
        selector.register(reading, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if reading in ready:
                os.read(reading, 4096)
                _reap(lines)
            if way.fileno() in ready and not _fork(way, lines):
                return


def _import_everything() -> None:
    """The program, and what it imports only once it needs it."""
    import countersign
    from countersign.outgoing import client
    from countersign.server.table import operations

    for module in pkgutil.walk_packages(countersign.__path__, "countersign."):
        if not module.name.startswith(_LEFT_OUT):
            importlib.import_module(module.name)
    for name in _LATER:
        importlib.import_module(name)
    operations()
    _make_secrets_cheap()
    # To read the certificates of all public authorities takes as long as everything else that a server does to start.
    client._trust("")


def _make_secrets_cheap() -> None:
    """What is made under a passphrase from now on costs the least that opens: else each takes half a second and more.

    What was made says what it costs, so opening it is what it always is.
    """
    import pyrage

    from countersign.keystores.kek import PassphraseProvider
    from tests.support import age_files

    cheapest = {"memory_kib": 64 * 1024, "iterations": 1, "lanes": 1}
    defaults = PassphraseProvider.__init__.__defaults__ or ()
    assert len(defaults) > len(cheapest)
    PassphraseProvider.__init__.__defaults__ = (*cheapest.values(), *defaults[len(cheapest) :])
    pyrage.passphrase.encrypt = age_files.encrypt


def _reap(lines: dict[int, socket.socket]) -> None:
    while lines:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with lines.pop(pid) as line, contextlib.suppress(BrokenPipeError):  # nobody may wait for it any more
            line.send(str(os.waitstatus_to_exitcode(status)).encode())


def _fork(way: socket.socket, lines: dict[int, socket.socket]) -> bool:
    """Whether something was asked for: nothing is when whoever asks has ended."""
    request, descriptors, _, _ = socket.recv_fds(way, _MAX_REQUEST, _MAX_DESCRIPTORS)
    if not request:
        return False
    line = socket.socket(fileno=descriptors[0])
    pid = os.fork()
    if pid == 0:
        _run(request, descriptors[1:])
    for descriptor in descriptors[1:]:
        os.close(descriptor)
    lines[pid] = line
    line.send(str(pid).encode())
    return True


def _run(request: bytes, descriptors: list[int]) -> None:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        module, apart, arguments, environment, directory, numbers = json.loads(request)
        if apart:
            os.setsid()
        _arrange(descriptors, [1, 2, *numbers])
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(directory)
        sys.argv = [module, *(str(os.getppid()) if each == _PARENT else each for each in arguments)]
        # Whoever looks for it among the children of a server finds it by this name.
        Path("/proc/self/comm").write_text(module.rpartition(".")[2])
        if module == "countersign" and arguments[:1] and arguments[0] in _SERVERS:
            _bear_its_own()
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _bear_its_own() -> None:
    """Have this process's supervisors fork what they start, from a child that has nothing but what is imported."""
    from countersign.keystores import supervisor

    global _own
    _own, theirs = _new_way()
    with theirs:
        if os.fork() == 0:
            _own.close()
            os.setsid()
            try:
                main(theirs)
            finally:
                os._exit(0)
    supervisor.launched = launched


def _arrange(descriptors: list[int], numbers: list[int]) -> None:
    """Give each descriptor its number, and close whatever else is open; standard input is empty."""
    free = max([*numbers, *descriptors]) + 1
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, free + place)
    for place, number in enumerate(numbers):
        os.dup2(free + place, number)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    listed = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    for number in set(listed) - {0, *numbers}:
        with contextlib.suppress(OSError):  # that of the listing is closed
            os.close(number)


if __name__ == "__main__":
    _import_everything()
    main(socket.socket(fileno=int(sys.argv[1])))
