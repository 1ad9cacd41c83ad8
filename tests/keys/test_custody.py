"""What DH keys derive, and how keys end: archived at once, destroyed after a wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from countersign.audit.destructions import refuse_destruction
from countersign.audit.entry import System, decode
from countersign.encoding import dates
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.inprocess import InProcess
from tests.support.server import Sandbox
from tests.support.tenants import Tenants, beside

DAY = 86_400
MESSAGE = {"kind": "Message", "message": "0x00"}
INPUT = {"domain": "0x636f756e7465727369676e", "seed": "0x00ff"}


@pytest.fixture
def caller(shared_sandbox: Sandbox) -> Iterator[Caller]:
    with Caller(shared_sandbox.service) as caller:
        yield caller


@pytest.fixture
def server(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    """A server with a clock to move."""
    with InProcess(runner, tmp_path / "data", database_url) as running:
        yield running


def derive(caller: Caller, key_id: str, body: dict[str, Any]) -> httpx.Response:
    return caller.signed("POST", f"/keys/{key_id}/derive", body)


def test_equal_inputs_give_equal_outputs_and_others_others(caller: Caller) -> None:
    keys = [caller.create_key("DH", "secp256k1") for _ in range(2)]
    first = derive(caller, keys[0], INPUT).json()
    assert set(first) == {"output"}
    assert len(bytes.fromhex(first["output"].removeprefix("0x"))) == 32
    same = derive(caller, keys[0], {"domain": INPUT["domain"][2:].upper(), "seed": "00FF"}).json()
    assert same == first
    others = [
        derive(caller, keys[1], INPUT).json()["output"],
        derive(caller, keys[0], {**INPUT, "seed": "0x"}).json()["output"],
        derive(caller, keys[0], {**INPUT, "domain": "0x63"}).json()["output"],
    ]
    assert len({first["output"], *others}) == 4


def test_derive_takes_dh_keys_and_a_domain(caller: Caller) -> None:
    dh, other = caller.create_key("DH", "secp256k1"), caller.create_key("ECDSA", "secp256k1")
    assert refusal(derive(caller, other, INPUT)) == (400, "KEY_OPERATION_UNSUPPORTED")
    for body in (
        {**INPUT, "domain": ""},
        {**INPUT, "domain": "0x"},
        {**INPUT, "domain": "0x0"},
        {**INPUT, "domain": "00" * 4097},
        {**INPUT, "seed": "00" * 65_537},
        {**INPUT, "seed": "zz"},
        {"domain": "00"},
    ):
        assert refusal(derive(caller, dh, body)) == (400, "VALIDATION")
    assert derive(caller, dh, {"domain": "00" * 4096, "seed": "00" * 65_536}).status_code == 200
    assert refusal(caller.signed("POST", f"/keys/{dh}/signatures", MESSAGE)) == (400, "SIGNATURE_KIND_UNSUPPORTED")
    caller.signed("DELETE", f"/keys/{dh}")
    assert refusal(derive(caller, dh, INPUT)) == (400, "KEY_ARCHIVED")


def destroy(caller: Caller, key_id: str, public_key: str) -> httpx.Response:
    return caller.signed("POST", f"/keys/{key_id}/destroy", {"publicKey": public_key})


def test_a_key_is_destroyed_a_week_after_its_archiving_and_stays_known(server: InProcess, database_url: str) -> None:
    tenants = beside(server.files.directory, database_url, server.values["baseUrl"])
    with server.caller(server.service) as caller:
        key_id = caller.create_key("ECDSA", "secp256k1", masterKey=True)
        wanted = {"scheme": "ECDSA", "curve": "secp256k1", "deriveFrom": {"keyId": key_id}}
        child = caller.signed("POST", "/keys", wanted).json()["id"]
        key = caller.send("GET", f"/keys/{key_id}").json()
        assert refusal(destroy(caller, key_id, key["publicKey"])) == (400, "KEY_NOT_DESTROYABLE")
        archived = caller.signed("DELETE", f"/keys/{key_id}").json()
        server.clock.move(seconds=7 * DAY - 60)
        early = destroy(caller, key_id, key["publicKey"])
        assert refusal(early) == (400, "KEY_NOT_DESTROYABLE")
        free_at = dates.from_iso(early.json()["error"]["details"]["destroyableFrom"])
        assert free_at == dates.from_iso(archived["dateDeleted"]) + 7 * DAY * 1000
        server.clock.move(seconds=120)
        for wrong in (key["publicKey"][:-2], key["publicKey"][:-2] + "zz", "x"):
            assert refusal(destroy(caller, key_id, wrong)) == (400, "VALIDATION")
        assert len(records(tenants, key_id)) == 1
        done = destroy(caller, key_id, "0x" + key["publicKey"].upper())
        assert done.status_code == 200, done.text
        said = done.json()
        assert (said["keyId"], said["publicKey"], said["status"]) == (key_id, key["publicKey"], "Destroyed")
        assert records(tenants, key_id) == []
        assert refusal(destroy(caller, key_id, key["publicKey"])) == (400, "KEY_NOT_DESTROYABLE")
        # It stays known as what it was, signs nothing, and its path below a master is never given again.
        shown = caller.send("GET", f"/keys/{key_id}").json()
        assert (shown["status"], shown["publicKey"]) == ("Archived", key["publicKey"])
        digest = {"kind": "Hash", "hash": "00" * 32}
        assert refusal(caller.signed("POST", f"/keys/{key_id}/signatures", digest)) == (400, "KEY_ARCHIVED")
        assert caller.signed("POST", f"/keys/{child}/signatures", digest).json()["status"] == "Signed"
        told = [json.loads(row[0]) for row in tenants.execute("SELECT entry FROM audit_entries")]
        (entry,) = [one for one in told if one.get("event") == "KeyDestroyed"]
        assert (entry["details"]["keyId"], entry["details"]["publicKey"]) == (key_id, key["publicKey"])
        assert entry["details"]["actionId"] in {one["id"] for one in told if one["kind"] == "Action"}
        written = decode(json.dumps(entry))
        assert isinstance(written, System)
        assert refuse_destruction(written) is None


def records(tenants: Tenants, key_id: str) -> list[Any]:
    return tenants.execute("SELECT key_id FROM key_records WHERE key_id = ?", key_id)


def test_a_key_with_a_request_that_is_not_finished_is_not_destroyed(server: InProcess, database_url: str) -> None:
    """Otherwise the recovery would never learn what to say of it."""
    tenants = beside(server.files.directory, database_url, server.values["baseUrl"])
    with server.caller(server.service) as caller:
        key_id = caller.create_key()
        signed = caller.signed("POST", f"/keys/{key_id}/signatures", MESSAGE).json()
        tenants.execute("UPDATE signatures SET status = 'Pending' WHERE signature_id = ?", signed["id"])
        public_key = caller.send("GET", f"/keys/{key_id}").json()["publicKey"]
        caller.signed("DELETE", f"/keys/{key_id}")
        found = caller.send("GET", f"/keys/{key_id}/signatures/{signed['id']}").json()
        assert (found["status"], found["reason"]) == ("Failed", "key archived")
        tenants.execute("UPDATE signatures SET status = 'Pending' WHERE signature_id = ?", signed["id"])
        server.clock.move(seconds=8 * DAY)
        assert refusal(destroy(caller, key_id, public_key)) == (400, "KEY_NOT_DESTROYABLE")
        tenants.execute("UPDATE signatures SET status = 'Failed' WHERE signature_id = ?", signed["id"])
        assert destroy(caller, key_id, public_key).status_code == 200


def test_destroying_twice_at_once_is_one_destruction(caller: Caller, shared_sandbox: Sandbox) -> None:
    tenants = beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])
    key_id = caller.create_key()
    public_key = caller.signed("DELETE", f"/keys/{key_id}").json()["publicKey"]
    tenants.execute("UPDATE keys SET deleted_at = 0 WHERE key_id = ?", key_id)
    path, body = f"/keys/{key_id}/destroy", {"publicKey": public_key}
    tokens = [caller.action_token("POST", path, body) for _ in range(4)]

    async def all_at_once() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {caller.token}"}
        async with httpx.AsyncClient(base_url=caller.connection["baseUrl"], headers=headers) as client:
            sends = [client.post(path, json=body, headers={"X-DFNS-USERACTION": token}) for token in tokens]
            return await asyncio.gather(*sends)

    answers = asyncio.run(all_at_once())
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    told = tenants.execute("SELECT entry FROM audit_entries WHERE entry LIKE ?", f"%KeyDestroyed%{key_id}%")
    assert len(told) == 1
