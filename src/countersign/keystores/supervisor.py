"""Runs the signer and the authoriser as child processes (embedded mode) and starts them again whenever they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence

log = logging.getLogger("countersign.keystores")

_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_S = 10.0
_STOP_S = 5.0
# Where the libraries of key services and modules look for credentials and settings.
_PASSED_ON_FOR = {
    "aws-kms": (
        *("HOME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"),
        *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_REGION", "AWS_DEFAULT_REGION"),
        *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    ),
    "pkcs11": ("HOME", "SOFTHSM2_CONF"),
}
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH")


async def launched(command: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    """A child without input, in a session of its own: Ctrl-C ends this process first, which then stops it in order."""
    return await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, env=environment, start_new_session=True
    )


class Supervisor:
    """Keeps ``module`` running with ``arguments``; ``what`` is what people call it.

    The child gets no environment variable but those that Python and ``passed_on`` name, and ends with this process.
    """

    def __init__(self, what: str, module: str, arguments: tuple[str, ...], passed_on: tuple[str, ...] = ()) -> None:
        self._what = what
        # -P: the working directory is no place to import from.
        self._command = (sys.executable, "-P", "-m", module, "--exit-with-parent", str(os.getpid()), *arguments)
        self._passed_on = (*_PASSED_ON, *passed_on)
        self._child: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Process id of the running child, or None between two of them."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def start(self) -> None:
        """Start the child; it listens a moment later (the ``start`` of its client waits for it)."""
        await self._spawn()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End the child: ask, wait, then kill."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        child, self._child = self._child, None
        if child is None or child.returncode is not None:
            return
        child.terminate()
        try:
            await asyncio.wait_for(child.wait(), _STOP_S)
        except TimeoutError:
            log.warning("%s did not stop in %s s and is killed", self._what, _STOP_S)
            child.kill()
            await child.wait()

    async def _spawn(self) -> None:
        environment = {name: os.environ[name] for name in self._passed_on if name in os.environ}
        self._child = await launched(self._command, environment)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while self._child is not None:
            started = loop.time()
            status = await self._child.wait()
            failures = 0 if loop.time() - started > _STEADY_S else failures + 1
            pause = _BACKOFF_S[min(max(failures - 1, 0), len(_BACKOFF_S) - 1)]
            log.error("%s ended with status %d; starting it again in %s s", self._what, status, pause)
            await asyncio.sleep(pause)
            self.restarts += 1
            try:
                await self._spawn()
            except OSError as trouble:
                log.error("%s can't be started: %s", self._what, trouble)  # noqa: TRY400 - the system's own sentence says it


class SignerSupervisor(Supervisor):
    """``kek`` and ``store`` as for the signer, such as ``file:PATH``; ``environment``: production or sandbox.

    It gets those environment variables too that its key service needs.
    """

    def __init__(
        self,
        socket_path: str,
        kek: str,
        *,
        store: str = "sealed",
        environment: str = "production",
        extra: tuple[str, ...] = (),
    ) -> None:
        place = ("--socket", socket_path, "--kek", kek, "--store", store, "--environment", environment)
        passed_on = (*_passed_on_for(kek), *_passed_on_for(store))
        super().__init__("signer", "countersign.keystores.signer", (*place, *extra), passed_on)


def _passed_on_for(spec: str) -> tuple[str, ...]:
    return _PASSED_ON_FOR.get(spec.partition(":")[0], ())
