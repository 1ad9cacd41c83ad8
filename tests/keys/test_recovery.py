"""The recovery job: what a crash left between two transactions is finished once, under its own id."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
from msgspec import structs

from countersign.audit.entry import Outcome, encode
from countersign.keys.finishing import Finishing
from countersign.keys.recovery import Recovery
from countersign.keys.signatures import NewSignature
from countersign.keystores import SignerRefused, SignerSealed, SignerUnavailable
from countersign.storage import Database, Transaction
from tests.keys.builders import (
    START,
    Clock,
    FakeSigner,
    action,
    count,
    entry_text,
    make_key,
    new_signature,
    payload,
    service,
    start,
    stored,
    value,
)

AGE = 5_000


class Actions:
    """What the audit log answers: entry and canonical body by action id."""

    def __init__(self, *requests: NewSignature) -> None:
        self._entries: Mapping[str, tuple[str, bytes]] = {
            new.action_id: (entry_text(new), payload(new)) for new in requests
        }

    def read(self, org_id: str, action_id: str) -> Transaction[tuple[str, bytes] | None]:
        yield from ()
        return self._entries.get(action_id)


def recovery(database: Database, signer: FakeSigner, clock: Clock, *requests: NewSignature) -> Recovery:
    return Recovery(Finishing(database, service(signer), Actions(*requests).read), clock.world())


async def test_a_request_left_over_is_signed_under_its_own_id_with_its_own_evidence(database: Database) -> None:
    new = new_signature(await make_key(database))
    await start(database, new)
    signer = FakeSigner([value(1)])
    assert await recovery(database, signer, Clock(START + AGE + 1), new).sweep(AGE) == 1
    found = await stored(database, new)
    assert found.status == "Signed"
    (order,) = signer.orders
    assert (order.request_id, order.payload) == (new.signature_id, bytes.fromhex("ab" * 32))
    assert (order.evidence.payload, order.evidence.path) == (payload(new), f"/keys/{new.key_id}/signatures")
    assert await count(database, "audit_entries") == 1


async def test_a_young_request_is_left_to_the_call_that_made_it(database: Database) -> None:
    new = new_signature(await make_key(database))
    await start(database, new)
    signer = FakeSigner([value(1)])
    assert await recovery(database, signer, Clock(START + AGE), new).sweep(AGE) == 0
    assert signer.orders == []
    assert (await stored(database, new)).status == "Executing"


async def test_a_second_sweep_finds_nothing(database: Database) -> None:
    new = new_signature(await make_key(database))
    await start(database, new)
    signer = FakeSigner([value(1)])
    job = recovery(database, signer, Clock(START + AGE + 1), new)
    assert (await job.sweep(AGE), await job.sweep(AGE)) == (1, 0)
    assert len(signer.orders) == 1


async def test_two_sweeps_at_once_record_one_outcome(database: Database) -> None:
    new = new_signature(await make_key(database))
    await start(database, new)
    # Both get a signature of their own (ECDSA here is hedged), at the same moment.
    signer = FakeSigner([value(1), value(2)], together=2)
    clock = Clock(START + AGE + 1)
    await asyncio.gather(*(recovery(database, signer, clock, new).sweep(AGE) for _ in range(2)))
    assert len(signer.orders) == 2
    assert (await stored(database, new)).status == "Signed"
    assert await count(database, "audit_entries") == 1


async def test_it_waits_for_a_signer_that_is_away_or_sealed(database: Database) -> None:
    new = new_signature(await make_key(database))
    await start(database, new)
    for trouble in (SignerUnavailable("gone"), SignerSealed("sealed")):
        assert await recovery(database, FakeSigner([trouble]), Clock(START + AGE + 1), new).sweep(AGE) == 0
        assert (await stored(database, new)).status == "Executing"
    away = FakeSigner([value(1)], available=False)
    assert await recovery(database, away, Clock(START + AGE + 1), new).sweep(AGE) == 0
    assert away.orders == []
    assert await recovery(database, FakeSigner([value(1)]), Clock(START + AGE + 1), new).sweep(AGE) == 1


async def test_what_the_signer_refuses_has_failed_and_says_why(database: Database) -> None:
    new = new_signature(await make_key(database))
    await start(database, new)
    refusing = FakeSigner([SignerRefused("Integrity", "the record does not open")])
    assert await recovery(database, refusing, Clock(START + AGE + 1), new).sweep(AGE) == 1
    found = await stored(database, new)
    assert (found.status, found.reason) == ("Failed", "the signer refused: Integrity")
    assert await count(database, "audit_entries") == 1


async def test_more_than_one_batch_is_finished_in_one_sweep(database: Database) -> None:
    key = await make_key(database)
    requests = [new_signature(key, number) for number in range(230)]
    for new in requests:
        await start(database, new)
    assert await recovery(database, FakeSigner([value(1)]), Clock(START + AGE + 1), *requests).sweep(AGE) == 230
    assert {(await stored(database, new)).status for new in requests} == {"Signed"}


async def test_requests_that_cannot_be_read_back_keep_no_other_waiting(database: Database) -> None:
    key = await make_key(database)
    lost = [new_signature(key, number) for number in range(120)]
    kept = new_signature(key, 120)
    for new in (*lost, kept):
        await start(database, new)
    signer = FakeSigner([value(1)])
    assert await recovery(database, signer, Clock(START + AGE + 1), kept).sweep(AGE) == 1
    assert [order.request_id for order in signer.orders] == [kept.signature_id]
    assert (await stored(database, lost[0])).status == "Executing"


async def test_a_payload_that_does_not_open_is_not_signed(database: Database) -> None:
    key = await make_key(database)
    changed, kept = new_signature(key, 1), new_signature(key, 2)
    for new in (changed, kept):
        await start(database, new)
    actions = Actions(kept)

    def read(org_id: str, action_id: str) -> Transaction[tuple[str, bytes] | None]:
        if action_id == changed.action_id:
            raise ValueError("the payload was changed or moved")
        return (yield from actions.read(org_id, action_id))

    signer = FakeSigner([value(1)])
    job = Recovery(Finishing(database, service(signer), read), Clock(START + AGE + 1).world())
    assert await job.sweep(AGE) == 1
    assert [order.request_id for order in signer.orders] == [kept.signature_id]


OTHER = {"kind": "Hash", "hash": f"0x{'cd' * 32}"}


@pytest.mark.parametrize("changed", ["body", "key", "request", "refused", "evidence"])
async def test_what_was_not_consented_to_is_not_signed(database: Database, changed: str) -> None:
    """The row says what to sign, the consent says what may be: rows that were changed make no old consent sign."""
    key = await make_key(database)
    consented = new_signature(key, 1)
    asked, entry, kept = consented, action(consented), payload(consented)
    if changed == "body":
        asked = replace(consented, body=OTHER)
    elif changed == "key":
        other = await make_key(database, "key-00000-00001-0000000000000002")
        asked = replace(consented, key_id=other.key_id)
    elif changed == "request":
        asked = replace(consented, signature_id="sig-00000-00001-0000000000000009")
    elif changed == "refused":
        entry = structs.replace(entry, response=Outcome(status=404, code="NOT_FOUND"))
    else:
        # Body and row agree with each other, but are not what the credential signed.
        asked, kept = replace(consented, body=OTHER), payload(replace(consented, body=OTHER))
        entry = structs.replace(entry, payload_sha256=hashlib.sha256(kept).hexdigest())
    await start(database, asked)

    def read(org_id: str, action_id: str) -> Transaction[tuple[str, bytes] | None]:
        yield from ()
        return encode(entry).decode(), kept

    signer = FakeSigner([value(1)])
    assert await Recovery(Finishing(database, service(signer), read), Clock(START + AGE + 1).world()).sweep(AGE) == 0
    assert signer.orders == []
    assert (await stored(database, asked)).status == "Executing"
