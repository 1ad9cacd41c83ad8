"""Server and worker killed at random moments of a busy run: no event is lost (check D1)."""

from __future__ import annotations

import random
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.faults.busy import BusyCaller, Town
from tests.faults.test_kills import new_account
from tests.faults.waiting import until
from tests.support.caller import Caller
from tests.support.commands import command, environment
from tests.support.server import Sandbox
from tests.webhooks.receiver import Received, Receiver

CALLERS = 3
MOST_BETWEEN = 20
#: A short age and a short lease, so that what a killed process left is taken up soon.
SETTINGS = {"COUNTERSIGN_RECOVERY_SECONDS": "1", "COUNTERSIGN_JOB_LEASE_SECONDS": "2"}


def start_worker(sandbox: Sandbox) -> subprocess.Popen[bytes]:
    """A worker process beside the server, over the same PostgreSQL."""
    with sandbox.log_path.open("ab") as log:
        return subprocess.Popen(
            command("jobs", "work", "--data", sandbox.directory), env=environment(SETTINGS), stdout=log, stderr=log
        )


def by_entity(received: list[Received]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The deliveries of each event: by kind and by the id of what it is of."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for each in received:
        body = each.json()
        (entity,) = body["data"].values()
        found[body["kind"], entity["id"]].append(body)
    return found


def test_d1_kills_of_server_and_worker_lose_no_event_and_repeat_none_under_another_id(
    engine: str, database_url: str, tmp_path: Path, kills: int, seed: int
) -> None:
    chance = random.Random(seed)
    with Receiver() as receiver, Sandbox(tmp_path / "data", database_url, SETTINGS) as sandbox:
        with Caller(sandbox.admin) as admin:
            accounts = [new_account(admin) for _ in range(CALLERS)]
            made = admin.signed("POST", "/webhooks", {"url": receiver.url, "events": ["*"]})
            assert made.status_code == 200, made.text
        worker = start_worker(sandbox) if engine == "postgresql" else None
        town = Town(sandbox)
        callers = [BusyCaller(town, at, account, random.Random(seed + at)) for at, account in enumerate(accounts)]
        for caller in callers:
            caller.start()
        try:
            for _ in range(kills):
                town.wait_for_more(chance.randint(1, MOST_BETWEEN))
                if worker is not None and chance.random() < 0.5:
                    worker.kill()
                    worker.wait(20)
                    worker = start_worker(sandbox)
                else:
                    sandbox.kill()
                    sandbox.start()
                    town.restarted()
            town.wait_for_more(CALLERS)
        finally:
            town.close()
            for caller in callers:
                caller.join()
            if worker is not None:
                worker.kill()
                worker.wait(20)
        assert not town.faults, town.faults
        expected = {("key.created", key_id) for caller in callers for key_id in caller.told.names}
        expected |= {("wallet.signature.signed", name[1]) for caller in callers for name in caller.told.signatures}
        expected |= {("wallet.signature.signed", name[1]) for caller in callers for name in caller.told.promised}
        until("every event has arrived", lambda: expected <= set(by_entity(receiver.received)))
        found = by_entity(receiver.received)
        for deliveries in found.values():
            first = {body["id"] for body in deliveries if body["deliveryAttempt"] == 1}
            assert len(first) == 1, deliveries
            assert len({str(body["data"]) for body in deliveries}) == 1
        repeated = sum(len(deliveries) - 1 for deliveries in found.values())
        print(f"{kills} kills, {len(found)} events, {repeated} delivered again")
