"""``countersign keystore status`` where nobody answers."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.support.production import Production


@pytest.mark.parametrize("engine", ["sqlite"])
def test_status_says_what_it_means_that_the_signer_is_away_and_what_is_to_do(database_url: str, tmp_path: Path) -> None:
    production = Production(tmp_path / "installation", database_url).initialise()
    path = production.directory / "signer" / "signer.sock"
    for reason in ("No such file or directory", "Connection refused"):
        done = production.run("keystore", "status")
        assert (done.status, done.errors) == (1, "")
        lines = done.output.splitlines()
        assert lines[0] == f"down: signer not reachable: {reason}"
        assert f"at {path}. Until it does, no key of key store ks-" in lines[-2]
        assert "systemctl start countersign-signer)" in lines[-1]
        shown = production.run("keystore", "status", "--json")
        assert (shown.status, json.loads(shown.output)["state"]) == (1, "down")
        if not path.exists():
            # What a signer that was killed leaves behind.
            path.parent.mkdir(mode=0o700)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))

    production.settings["signer_embedded"] = True
    production.write_config()
    assert "It runs with the server: start that." in production.run("keystore", "status").output
