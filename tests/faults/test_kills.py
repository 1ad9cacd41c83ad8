"""Server and signer killed at random moments of a busy run (check D1)."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.faults import logs
from tests.faults.busy import BusyCaller, Told, Town
from tests.faults.rows import all_final
from tests.faults.waiting import until
from tests.support.caller import Caller
from tests.support.server import Sandbox

CALLERS = 4
MOST_BETWEEN = 25


def new_account(admin: Caller) -> str:
    """A service account to be switched on and off."""
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    made = admin.signed("POST", "/auth/service-accounts", {"name": os.urandom(8).hex(), "publicKey": pem})
    assert made.status_code == 200, made.text
    user_id: str = made.json()["userInfo"]["userId"]
    return user_id


def kill_signer(sandbox: Sandbox) -> None:
    """``kill -9`` of the signer, once there is one."""

    def running() -> int | None:
        try:
            return sandbox.signer_pid
        except (AssertionError, FileNotFoundError, ProcessLookupError):
            return None

    os.kill(until("the signer runs", running), signal.SIGKILL)


def check_state(caller: Caller, told: Told, account_id: str, entries: dict[str, dict[str, Any]]) -> None:
    """Everything a caller was told is so, and what was promised has been done."""
    missing = [action for action in told.actions if action not in entries]
    assert not missing, f"acknowledged actions without an audit entry: {missing}"
    for key_id, name in told.names.items():
        assert caller.send("GET", f"/keys/{key_id}").json()["name"] == name
    for (key_id, signature_id), value in told.signatures.items():
        found = caller.send("GET", f"/keys/{key_id}/signatures/{signature_id}").json()
        assert (found["status"], found["signature"]) == ("Signed", value)
    for key_id, signature_id in told.promised:
        found = caller.send("GET", f"/keys/{key_id}/signatures/{signature_id}").json()
        assert found["status"] == "Signed", found
    account = caller.send("GET", f"/auth/service-accounts/{account_id}").json()
    assert account["userInfo"]["isActive"] == told.active


def check_entries(caller: Caller, entries: dict[str, dict[str, Any]]) -> None:
    """What the audit log says was done is there, also where the caller never got the answer."""
    results = [entry["signatureId"] for entry in entries.values() if entry["kind"] == "Signature"]
    assert len(results) == len(set(results)), "a signature request has two outcomes"
    for entry in entries.values():
        if entry["kind"] != "Action" or entry["method"] != "POST" or not entry["path"].startswith("/keys"):
            continue
        (made,) = entry["entityIds"]
        found = caller.send("GET", f"{entry['path']}/{made}")
        assert found.status_code == 200, f"{made} has an audit entry and is gone"
        if made.startswith("sig-"):
            assert found.json()["status"] == "Signed"
            assert made in results, f"{made} is signed, and its outcome is not in the log"


def check_records(caller: Caller, key_ids: list[str]) -> None:
    """Every sealed record opens."""
    for key_id in key_ids:
        signed = caller.signed("POST", f"/keys/{key_id}/signatures", {"kind": "Hash", "hash": f"0x{bytes(32).hex()}"})
        assert signed.json()["status"] == "Signed"


def test_d1_kills_of_server_and_signer_lose_nothing_and_leave_nothing_unfinished(
    database_url: str, tmp_path: Path, kills: int, seed: int
) -> None:
    chance = random.Random(seed)
    # A short age, so that the sweep takes up what a killed server left.
    with Sandbox(tmp_path / "data", database_url, {"COUNTERSIGN_RECOVERY_SECONDS": "1"}) as sandbox:
        with Caller(sandbox.admin) as admin:
            accounts = [new_account(admin) for _ in range(CALLERS)]
        town = Town(sandbox)
        callers = [BusyCaller(town, at, account, random.Random(seed + at)) for at, account in enumerate(accounts)]
        trust = logs.fingerprint(sandbox)
        saved = tmp_path / "checkpoint"
        for caller in callers:
            caller.start()
        try:
            for number in range(kills):
                town.wait_for_more(chance.randint(1, MOST_BETWEEN))
                if chance.random() < 0.5:
                    kill_signer(sandbox)
                else:
                    sandbox.kill()
                    sandbox.start()
                    town.restarted()
                if number == kills // 2:
                    log = logs.export(sandbox, tmp_path / "half.jsonl", whole=False)
                    logs.verify(log, trust, "--save-checkpoint", str(saved))
            town.wait_for_more(CALLERS)
        finally:
            town.close()
            for caller in callers:
                caller.join()
        assert not town.faults, town.faults
        sandbox.kill()
        sandbox.start()
        until("every signature request is final", lambda: all_final(sandbox))
        log = logs.export(sandbox, tmp_path / "whole.jsonl")
        logs.verify(log, trust, "--checkpoint", str(saved))
        with Caller(sandbox.service) as caller:
            for busy in callers:
                check_state(caller, busy.told, busy.account_id, log.entries)
            check_entries(caller, log.entries)
            check_records(caller, [key_id for busy in callers for key_id in busy.told.names])
        done = sum(len(busy.told.actions) for busy in callers)
        unspent = sum(busy.told.refused_unspent for busy in callers)
        promised = sum(len(busy.told.promised) for busy in callers)
        print(f"{kills} kills, {done} changes, {unspent} refusals unspent, {promised} finished by the recovery")
