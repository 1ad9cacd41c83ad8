"""``countersign sandbox listen`` at a running sandbox."""

from __future__ import annotations

import json
import signal
import subprocess

from tests.faults.waiting import until
from tests.support.caller import Caller
from tests.support.commands import command, countersign, environment
from tests.support.server import Sandbox


def test_deliveries_are_printed_as_they_happen_and_the_webhook_is_removed_at_the_end(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.admin) as admin:
        for arguments, shown in (((), True), (("--json", "--event", "key.created"), False)):
            listening = subprocess.Popen(
                command("sandbox", "listen", "--data", shared_sandbox.directory, *arguments),
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert listening.stdout is not None
            assert listening.stderr is not None
            try:
                assert "listens for" in listening.stderr.readline()
                key_id = admin.create_key()
                line = listening.stdout.readline()
                if shown:
                    assert "key.created" in line
                    assert line.rstrip().endswith("attempt 1  verified")
                    line = listening.stdout.readline()
                    assert json.loads(line)["key"]["id"] == key_id
                else:
                    assert json.loads(line)["data"]["key"]["id"] == key_id
                listening.send_signal(signal.SIGTERM)
                assert listening.wait(20) == 0
            finally:
                listening.kill()
                listening.communicate(timeout=20)
        until("no webhook is left", lambda: admin.send("GET", "/webhooks").json() == {"items": []})


def test_kinds_that_do_not_exist_are_told_in_one_line(shared_sandbox: Sandbox) -> None:
    done = countersign("sandbox", "listen", "--data", shared_sandbox.directory, "--event", "wallet.moved")
    assert done.status == 1
    assert "400" in done.errors or "events" in done.errors
