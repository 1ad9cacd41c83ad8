"""``countersign jobs`` beside a running server."""

from __future__ import annotations

import json
from typing import Any

from countersign.jobs import queue
from countersign.jobs.work import Failed, Kind
from countersign.policies.deciding import END_APPROVAL
from countersign.storage import Statement, Transaction, open_database
from countersign.world import World
from tests.support import aio
from tests.support.commands import countersign
from tests.support.server import Sandbox

FAR = 1 << 45


def run(sandbox: Sandbox, *arguments: str) -> Any:
    done = countersign("jobs", *arguments, "--data", sandbox.directory)
    assert done.status == 0, done.errors
    return done.output


ENTRIES = Statement("tests.entries", "SELECT entry FROM audit_entries")


def entries(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The audit log as it is stored."""

    def read() -> Transaction[list[dict[str, Any]]]:
        return [json.loads(row[0]) for row in (yield ENTRIES, ())]

    async def work() -> list[dict[str, Any]]:
        database = await open_database((sandbox.directory / "database.url").read_text().strip(), migrate=False)
        try:
            return await database.read(read)
        finally:
            await database.close()

    return aio.run(work())


def made(sandbox: Sandbox, *, dead: bool, name: str = "test.none") -> str:
    """A job of a kind that no server runs, or of another that is never due."""
    world, org_id = World(), sandbox.values["orgId"]

    async def work() -> str:
        database = await open_database((sandbox.directory / "database.url").read_text().strip(), migrate=False)
        try:
            job_id = await database.write(
                lambda: queue.enqueue(name, org_id, {"a": 1}, world.now() if dead else FAR, None, world)
            )
            if dead:
                (job,) = await database.write(lambda: queue.take("test.none", {"": 1}, "me", world.now(), 1000))

                async def never(_job: Any) -> Any:
                    raise AssertionError

                kind = Kind("test.none", never)
                await database.write(lambda: queue.settle(kind, job, Failed("no\x1bluck"), world.now(), 0))
            assert job_id is not None
            return job_id
        finally:
            await database.close()

    return aio.run(work())


def test_jobs_are_listed_shown_tried_again_and_dropped_and_the_log_tells(shared_sandbox: Sandbox) -> None:
    waiting, dead = made(shared_sandbox, dead=False), made(shared_sandbox, dead=True)
    listed = json.loads(run(shared_sandbox, "list", "--json", "--kind", "test.none"))
    assert [(job["id"], job["state"]) for job in listed] == [(waiting, "Waiting")]
    (shown,) = json.loads(run(shared_sandbox, "list", "--dead", "--json"))
    assert (shown["id"], shown["reason"], shown["failedAttempts"]) == (dead, "no\x1bluck", 1)
    for printed in (run(shared_sandbox, "list", "--dead"), run(shared_sandbox, "show", dead)):
        assert (dead in printed, "\x1b" in printed) == (True, False)
    assert json.loads(run(shared_sandbox, "show", dead, "--json"))["payload"] == {"a": 1}
    run(shared_sandbox, "retry", dead)
    assert json.loads(run(shared_sandbox, "show", dead, "--json"))["state"] == "Due"
    run(shared_sandbox, "drop", dead, "--yes")
    run(shared_sandbox, "drop", waiting, "--yes")
    gone = countersign("jobs", "drop", dead, "--yes", "--data", shared_sandbox.directory)
    assert (gone.status, "there is no job" in gone.errors) == (1, True)
    kept = made(shared_sandbox, dead=False, name=END_APPROVAL)
    refused = countersign("jobs", "drop", kept, "--yes", "--data", shared_sandbox.directory)
    assert (refused.status, "would never end" in refused.errors) == (1, True)
    events = [entry.get("event") for entry in entries(shared_sandbox)]
    assert (events.count("JobDropped"), events.count("JobRetried")) == (2, 1)


def test_a_worker_of_its_own_is_for_postgresql(shared_sandbox: Sandbox) -> None:
    url = f"sqlite://{shared_sandbox.directory}/none.db"
    done = countersign("jobs", "work", env={"COUNTERSIGN_DATABASE": url})
    assert (done.status, "PostgreSQL" in done.errors) == (1, True)
