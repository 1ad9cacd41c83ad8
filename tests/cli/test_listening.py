"""``countersign sandbox listen`` at a running sandbox."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from tests.faults.waiting import until
from tests.support.caller import Caller
from tests.support.commands import countersign, environment
from tests.support.nursery import Born, born
from tests.support.server import Sandbox


@dataclass
class Listening:
    """One that runs, what it prints, and what it says beside that."""

    process: Born
    printed: TextIO
    said: TextIO

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0


@contextmanager
def listening(sandbox: Sandbox, *arguments: str) -> Iterator[Listening]:
    (printed, output), (said, errors) = os.pipe(), os.pipe()
    command = ["sandbox", "listen", "--data", str(sandbox.directory), *arguments]
    process = born(command, stdout=output, stderr=errors, env=environment())
    os.close(output)
    os.close(errors)
    with os.fdopen(printed) as lines, os.fdopen(said) as messages:
        try:
            yield Listening(process, lines, messages)
        finally:
            process.kill()
            process.wait(20)


def test_deliveries_are_printed_as_they_happen_and_the_webhook_is_removed_at_the_end(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.admin) as admin:
        for arguments, shown in (((), True), (("--json", "--event", "key.created"), False)):
            with listening(shared_sandbox, *arguments) as listener:
                assert "listens for" in listener.said.readline()
                key_id = admin.create_key()
                line = listener.printed.readline()
                if shown:
                    assert "key.created" in line
                    assert line.rstrip().endswith("attempt 1  verified")
                    line = listener.printed.readline()
                    assert json.loads(line)["key"]["id"] == key_id
                else:
                    assert json.loads(line)["data"]["key"]["id"] == key_id
                listener.end()
        until("no webhook is left", lambda: admin.send("GET", "/webhooks").json() == {"items": []})


def test_what_a_killed_one_left_behind_is_removed_by_the_next_and_that_of_another_stays(
    shared_sandbox: Sandbox,
) -> None:
    with Caller(shared_sandbox.admin) as admin, listening(shared_sandbox) as other:
        stays = other.said.readline().split()[0]
        with listening(shared_sandbox) as killed:
            left = killed.said.readline().split()[0]
        with listening(shared_sandbox) as following:
            assert following.said.readline() == f"removed {left}, left behind by an earlier 'sandbox listen'\n"
            own = following.said.readline().split()[0]
            assert {each["id"] for each in admin.send("GET", "/webhooks").json()["items"]} == {stays, own}
            following.end()
        other.end()
    assert list((shared_sandbox.directory / "listening").iterdir()) == []


def test_kinds_that_do_not_exist_are_told_in_one_line(shared_sandbox: Sandbox) -> None:
    done = countersign("sandbox", "listen", "--data", shared_sandbox.directory, "--event", "wallet.moved")
    assert done.status == 1
    assert "400" in done.errors or "events" in done.errors
