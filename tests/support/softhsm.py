"""A token of SoftHSM2 for tests: a hardware module in software, from Debian's package."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pkcs11
import pytest

MODULES = (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"))


@dataclass(frozen=True)
class Token:
    """A token with its user's PIN in a file; ``SOFTHSM2_CONF`` points at it while it is in use."""

    label: str
    module: Path
    pin_file: Path
    configuration: Path

    def spec(self, *, label: str = "kek", pin: Path | None = None) -> str:
        """A provider's name (RFC 7512) for the AES key of that label."""
        query = f"module-path={quote(str(self.module))}&pin-source={quote(str(pin or self.pin_file))}"
        return f"pkcs11:token={self.label};object={label}?{query}"

    def beside(self, label: str) -> Token:
        """One more token of the same module, with the same PIN."""
        _initialise(label, self.pin_file.read_text().strip())
        return replace(self, label=label)


def _initialise(label: str, pin: str) -> None:
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", pin],
        check=True,
        capture_output=True,
    )


def softhsm_token(directory: Path) -> Iterator[Token]:
    """A new token in ``directory``; skips where SoftHSM2 is not installed."""
    module = next((path for path in MODULES if path.exists()), None)
    if module is None:
        pytest.skip("SoftHSM2 is not installed: tools/setup-test says how")
    (directory / "tokens").mkdir()
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {directory / 'tokens'}\nobjectstore.backend = file\n")
    pin, label = str(secrets.randbelow(10**8)).zfill(8), "countersign"
    (directory / "pin").write_text(pin + "\n")
    (directory / "pin").chmod(0o600)
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    try:
        _initialise(label, pin)
        pkcs11.lib(str(module)).reinitialize()  # this process may have loaded it for another token
        yield Token(label, module, directory / "pin", configuration)
    finally:
        if before is None:
            os.environ.pop("SOFTHSM2_CONF")
        else:
            os.environ["SOFTHSM2_CONF"] = before
