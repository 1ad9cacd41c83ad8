"""Keys that are made while servers die, or by several servers at once: what was answered is there, nothing is twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.faults.waiting import until
from tests.support.caller import Caller
from tests.support.second_server import second_server
from tests.support.server import Sandbox

ECDSA = {"scheme": "ECDSA", "curve": "secp256k1"}


def child_of(master: str, caller: Caller) -> httpx.Response:
    return caller.signed("POST", "/keys", {**ECDSA, "deriveFrom": {"keyId": master}})


def children(caller: Caller, master: str) -> dict[str, str]:
    """Path and id of every child of the master."""
    items: list[dict[str, Any]] = caller.send("GET", "/keys?limit=100").json()["items"]
    own = [item for item in items if item.get("derivedFrom", {}).get("keyId") == master]
    found = {item["derivedFrom"]["path"]: item["id"] for item in own}
    assert len(found) == len(own), "two keys at one path"
    return found


def test_d1_a_kill_while_children_are_derived_loses_none_and_gives_no_index_twice(sandbox: Sandbox) -> None:
    """Between the signer's answer and the commit a kill leaves an unused secret, and the index free."""
    with Caller(sandbox.service) as caller:
        master = caller.create_key("ECDSA", "secp256k1", masterKey=True)
        told: dict[str, str] = {}

        def storm() -> None:
            with Caller(sandbox.service) as own:
                while True:
                    try:
                        key = child_of(master, own).json()
                    except (httpx.TransportError, AssertionError):
                        return
                    told[key["derivedFrom"]["path"]] = key["id"]

        threads = [threading.Thread(target=storm) for _ in range(3)]
        for thread in threads:
            thread.start()
        until("some children were made", lambda: len(told) >= 8 or None)
        sandbox.kill()
        for thread in threads:
            thread.join()
    sandbox.start()
    with Caller(sandbox.service) as caller:
        found = children(caller, master)
        assert told.items() <= found.items()
        # Whether answered or not, what was committed has taken its index, and nothing else has.
        assert sorted(int(path[2:]) for path in found) == list(range(len(found)))
        next_one = child_of(master, caller).json()
        assert next_one["derivedFrom"]["path"] == f"m/{len(found)}"
        for key_id in [*found.values(), next_one["id"]]:
            signed = caller.signed("POST", f"/keys/{key_id}/signatures", {"kind": "Hash", "hash": "11" * 32})
            assert signed.json()["status"] == "Signed"


@pytest.mark.parametrize("engine", ["postgresql"])
def test_two_servers_hand_out_the_indices_of_one_master(sandbox: Sandbox, engine: str) -> None:
    with (
        Caller(sandbox.service) as here,
        second_server(sandbox) as base_url,
        Caller({**sandbox.service, "baseUrl": base_url}) as there,
        ThreadPoolExecutor(4) as pool,
    ):
        master = here.create_key("ECDSA", "secp256k1", masterKey=True)
        answers = list(pool.map(lambda caller: child_of(master, caller), [here, there] * 10))
        assert {answer.status_code for answer in answers} == {200}
        assert sorted(children(there, master)) == sorted(f"m/{number}" for number in range(20))
