"""What ``keystore roster`` makes of the rosters of several signers, and of one that was put back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from countersign.cli.roster import Shown, differences, vouch
from countersign.keystores import Founder
from countersign.keystores.roster import Listed
from countersign.server.settings import Settings
from countersign.storage import Database
from tests.faults.waiting import until
from tests.support.caller import Caller
from tests.support.commands import Done, countersign
from tests.support.enrolment import NewKey, enrolled
from tests.support.server import Sandbox

HASH = {"kind": "Hash", "hash": "ab" * 32}


def shown(store_id: str, *, begun: bool = True, **states: str) -> Shown:
    listed = [
        Listed("or-1", "us-1", uuid, "Key", "SHA256:a", "consent", "", state, 0) for uuid, state in states.items()
    ]
    return Shown({"storeId": store_id, "installationId": "in-1" if begun else ""}, listed)


def test_a_credential_that_counts_in_one_store_only_is_named() -> None:
    one = shown("ks-1", a="Active", b="Archived", c="Active", d="Pending")
    other = shown("ks-2", a="Active", b="Active", d="Inactive")
    assert differences(one, other) == [
        "b is Archived in ks-1, Active in ks-2",
        "c is Active in ks-1, absent in ks-2",
    ]


def test_equal_rosters_and_one_that_has_not_begun_do_not_differ() -> None:
    one = shown("ks-1", a="Active", b="Pending")
    assert differences(one, shown("ks-2", b="absent", a="Active")) == []
    assert differences(one, shown("ks-2", begun=False)) == []


def test_no_key_is_used_by_an_older_roster_until_the_operator_confirms_it(tmp_path: Path) -> None:
    """A credential that was removed since the copy would count again."""
    with Sandbox(tmp_path / "data") as sandbox, Caller(sandbox.service) as caller:
        path = f"/keys/{caller.create_key()}/signatures"
        log, copy = sandbox.directory / "signer-state" / "roster.log", tmp_path / "copy"
        shutil.copy(log, copy)
        enrolled(caller, NewKey())
        again = roster(sandbox, "adopt", "--yes")
        assert (again.status, "has begun already" in again.errors) == (1, True)
        records = _records(sandbox)
        until("the server has seen it", lambda: _marked(sandbox) == records)
        token = caller.action_token("POST", path, HASH)
        # The one that takes its place finds its roster put back.
        stopped = sandbox.signer_pid
        os.kill(stopped, signal.SIGSTOP)
        log.write_bytes(copy.read_bytes())
        os.kill(stopped, signal.SIGKILL)
        until("it is noticed", lambda: caller.http.get("/readyz").json()["signer"] == "behind")
        refused = caller.send("POST", path, HASH, action=token)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "SIGNER_UNAVAILABLE")
        shown = roster(sandbox)
        assert (shown.status, "BEHIND: it lacks some of the" in shown.output) == (1, True)
        # What is sent again makes it as long as it was, and no less another one.
        assert roster(sandbox, "repeat").status == 0
        until("it is sent", lambda: _records(sandbox) >= records)
        assert "is not the one that it had" in roster(sandbox).output
        assert caller.http.get("/readyz").status_code == 503
        assert roster(sandbox, "confirm").status == 0
        until("it serves", lambda: caller.http.get("/readyz").status_code == 200)
        assert caller.send("POST", path, HASH, action=token).json()["status"] == "Signed"


def roster(sandbox: Sandbox, *arguments: str) -> Done:
    return countersign("keystore", "roster", *arguments, "--data", sandbox.directory)


def _records(sandbox: Sandbox) -> int:
    document = json.loads(roster(sandbox, "--json").output)
    return int(document["stores"][0]["records"])


def _marked(sandbox: Sandbox) -> int:
    with closing(sqlite3.connect(sandbox.directory / "countersign.db")) as database:
        return int(database.execute("SELECT records FROM roster_marks").fetchone()[0])


async def test_what_keeps_a_signer_from_being_told_undoes_nothing_of_what_was_done(database: Database) -> None:
    """The token that follows a break-glass is shown once: no trouble of afterwards may take its place."""
    founder = Founder("or-1", "us-1", "cr-1", "Key", "no key")
    assert not await vouch(Settings(), database, founder)
