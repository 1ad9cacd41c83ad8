"""K6: an archived key signs nothing from then on: in no process, from no cache, for no request that was under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from countersign.keys import keys, signatures
from countersign.keys.finishing import Finishing
from countersign.keys.recovery import Recovery
from countersign.keys.service import Finish, finish
from countersign.keys.signing import Unsupported, to_sign
from countersign.keys.types import Hash
from countersign.keystores import KeyRecord
from countersign.storage import Database
from tests.keys import builders
from tests.keys.builders import INSTALLATION, ORG, START, Clock, FakeSigner, make_key, new_signature, start, stored
from tests.support.caller import Caller
from tests.support.second_server import second_server
from tests.support.server import Sandbox

MESSAGE = {"kind": "Message", "message": "0x00"}
ENDED = (400, "KEY_ARCHIVED")


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("engine", ["postgresql"])
def test_k6_no_process_signs_with_an_archived_key(sandbox: Sandbox, engine: str) -> None:
    """Neither the process that archived it nor another that used it a moment before, nor one that starts later."""
    with Caller(sandbox.service) as here, second_server(sandbox) as base_url:
        with Caller({**sandbox.service, "baseUrl": base_url}) as there:
            key_id = here.create_key()
            path = f"/keys/{key_id}/signatures"
            assert there.signed("POST", path, MESSAGE).json()["status"] == "Signed"
            tokens = {caller: caller.action_token("POST", path, MESSAGE) for caller in (here, there)}
            assert here.signed("DELETE", f"/keys/{key_id}").json()["status"] == "Archived"
            for caller, token in tokens.items():
                assert code(caller.send("POST", path, MESSAGE, action=token)) == ENDED
                assert code(caller.signed("POST", path, MESSAGE)) == ENDED
                assert caller.signed("DELETE", f"/keys/{key_id}").status_code == 404
        sandbox.stop()
        sandbox.start()
    with Caller(sandbox.service) as again:
        assert code(again.signed("POST", path, MESSAGE)) == ENDED
        assert len(again.send("GET", path).json()["items"]) == 1


def test_k6_nothing_is_signed_once_the_archiving_was_answered(shared_sandbox: Sandbox) -> None:
    """Callers sign as fast as they can while the key is archived: what comes out after the answer is no signature."""
    archived = threading.Event()
    late: list[str] = []
    counts: dict[str, int] = {"before": 0, "refused": 0}

    with Caller(shared_sandbox.service) as owner:
        key_id = owner.create_key()
        path = f"/keys/{key_id}/signatures"

        def work() -> None:
            with Caller(shared_sandbox.service) as caller:
                for number in range(200):
                    token = caller.action_token("POST", path, MESSAGE)
                    was_archived = archived.is_set()
                    answer = caller.send("POST", path, MESSAGE, action=token)
                    if answer.status_code == 200 and answer.json()["status"] == "Signed":
                        counts["before"] += 1
                        if was_archived:
                            late.append(answer.json()["id"])
                    elif answer.status_code != 200:
                        assert code(answer) == ENDED
                        counts["refused"] += 1
                        return
                    if number == 10:
                        warm.release()

        warm = threading.Semaphore(0)
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert warm.acquire(timeout=60)
        assert owner.signed("DELETE", f"/keys/{key_id}").status_code == 200
        seen = {item["id"]: item["status"] for item in everything(owner, path)}
        archived.set()
        for thread in threads:
            thread.join()
        assert late == []
        assert counts["refused"] == len(threads)
        # What was signed by the time of the answer is what is signed for good.
        after = {item["id"]: item["status"] for item in everything(owner, path)}
        signed = {signature_id for signature_id, status in after.items() if status == "Signed"}
        assert signed == {signature_id for signature_id, status in seen.items() if status == "Signed"}
        assert set(after.values()) <= {"Signed", "Failed"}


def everything(caller: Caller, path: str) -> list[dict[str, Any]]:
    """All items of a list."""
    items: list[dict[str, Any]] = []
    token = ""
    while True:
        page = caller.send("GET", f"{path}?limit=100{token}").json()
        items += page["items"]
        if "nextPageToken" not in page:
            return items
        token = f"&paginationToken={page['nextPageToken']}"


def outcome(key: KeyRecord, new: signatures.NewSignature) -> Finish:
    wanted = to_sign(Hash(hash="ab" * 32), key.scheme, key.curve)
    assert not isinstance(wanted, Unsupported)
    signed = builders.value(1)
    return Finish(INSTALLATION, key, wanted, new.signature_id, new.action_id, new.payload_hash, None, signed)


async def test_k6_what_was_signed_while_the_key_was_archived_is_dropped(database: Database) -> None:
    key = await make_key(database)
    new = new_signature(key)
    await start(database, new)
    await database.write(lambda: keys.archive(ORG, key.key_id, START))
    ended = await database.write(lambda: finish(outcome(key, new), Clock().world()))
    assert (ended.status, ended.reason) == ("Failed", "key archived")
    assert ended == await stored(database, new)
    assert not ended.signature
    # Said once: a second finisher reads it.
    assert await database.write(lambda: finish(outcome(key, new), Clock().world())) == ended
    assert await builders.count(database, "audit_entries") == 1


async def test_k6_what_was_signed_before_stays_signed(database: Database) -> None:
    key = await make_key(database)
    new = new_signature(key)
    await start(database, new)
    done = await database.write(lambda: finish(outcome(key, new), Clock().world()))
    await database.write(lambda: keys.archive(ORG, key.key_id, START))
    assert (await stored(database, new)) == done
    assert done.status == "Signed"


async def test_k6_the_recovery_asks_no_signer_for_an_archived_key(database: Database) -> None:
    """A crash between the signer's answer and the record of it, an archiving, and then the recovery."""
    key = await make_key(database)
    new, other = new_signature(key, 1), new_signature(await make_key(database, other_key()), 2)
    for request in (new, other):
        await start(database, request)
    await database.write(lambda: keys.archive(ORG, key.key_id, START))
    signer = FakeSigner([builders.value(1)])
    read: Callable[..., Any] = Actions(new, other).read
    job = Recovery(Finishing(database, builders.service(signer), read), Clock(START + 60_000).world())
    assert await job.sweep(5_000) == 2
    assert [order.request_id for order in signer.orders] == [other.signature_id]
    failed = await stored(database, new)
    assert (failed.status, failed.reason) == ("Failed", "key archived")


async def test_k6_requests_that_wait_fail_with_their_key(database: Database) -> None:
    key = await make_key(database)
    new = new_signature(key)
    await start(database, new)
    await builders.execute(database, "UPDATE signatures SET status = 'Pending'")
    effect = await database.write(lambda: keys.archive(ORG, key.key_id, START))
    # The audit entry of the archiving names what failed with it.
    assert effect.entities == (key.key_id, new.signature_id)
    failed = await stored(database, new)
    assert (failed.status, failed.reason) == ("Failed", "key archived")


def other_key() -> str:
    return "key-00000-00001-0000000000000002"


class Actions:
    """What the audit log answers for these requests."""

    def __init__(self, *requests: signatures.NewSignature) -> None:
        self._requests = {new.action_id: new for new in requests}

    def read(self, org_id: str, action_id: str) -> Any:
        yield from ()
        new = self._requests[action_id]
        return builders.entry_text(new), builders.payload(new)
