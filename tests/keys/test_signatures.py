"""Signature requests as rows: begun once, finished once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from countersign.api import ApiError
from countersign.keys import keys, signatures
from countersign.keys.service import Failure, Finish, finish
from countersign.keys.signing import Unsupported, to_sign
from countersign.keys.types import Hash, SignatureRequest
from countersign.keystores import KeyRecord, SignatureValue
from countersign.storage import Database
from tests.keys.builders import INSTALLATION, ORG, START, Clock, count, make_key, new_signature, start, stored, value


def outcome(key: KeyRecord, new: signatures.NewSignature, what: SignatureValue | Failure) -> Finish:
    wanted = to_sign(Hash(hash="ab" * 32), key.scheme, key.curve)
    assert not isinstance(wanted, Unsupported)
    return Finish(INSTALLATION, key, wanted, new.signature_id, new.action_id, new.payload_hash, None, what)


async def test_a_request_begins_as_executing(database: Database) -> None:
    new = new_signature(await make_key(database))
    started = await start(database, new)
    assert started.fresh
    assert started.request == await stored(database, new)
    assert started.request.status == "Executing"


async def test_of_two_finishers_at_once_one_writes_and_the_other_reads_it(database: Database) -> None:
    key, world = await make_key(database), Clock().world()
    for number in range(10):
        new = new_signature(key, number)
        await start(database, new)
        rivals = [outcome(key, new, value(1)), outcome(key, new, value(2)), outcome(key, new, Failure("refused"))]

        async def finished(done: Finish) -> SignatureRequest:
            return await database.write(lambda: finish(done, world))

        seen = await asyncio.gather(*(finished(done) for done in rivals))
        assert seen[0] == seen[1] == seen[2] == await stored(database, new)
        assert await count(database, "audit_entries") == number + 1


async def test_a_finished_request_stays_as_it_is(database: Database) -> None:
    key, world = await make_key(database), Clock().world()
    new = new_signature(key)
    await start(database, new)
    first = await database.write(lambda: finish(outcome(key, new, Failure("refused")), world))
    again = await database.write(lambda: finish(outcome(key, new, value(1)), world))
    assert first == again
    assert (first.status, first.reason) == ("Failed", "refused")


async def test_the_outcome_of_a_request_that_is_not_there_is_a_fault(database: Database) -> None:
    key, world = await make_key(database), Clock().world()
    with pytest.raises(LookupError):
        await database.write(lambda: finish(outcome(key, new_signature(key), value(1)), world))


async def test_an_archived_key_begins_nothing(database: Database) -> None:
    key = await make_key(database)
    await database.write(lambda: keys.archive(ORG, key.key_id, START))
    with pytest.raises(ApiError) as refused:
        await start(database, new_signature(key))
    assert refused.value.code == "KEY_ARCHIVED"
    assert await count(database, "signatures") == 0


async def test_the_same_external_id_with_the_same_body_is_the_same_request(database: Database) -> None:
    key = await make_key(database)
    first = new_signature(key, 1, external_id="order 7")
    again = new_signature(key, 2, external_id="order 7")
    other = new_signature(key, 3, external_id="order 7", payload_hash="00" * 32)
    begun = await asyncio.gather(start(database, first), start(database, again))
    assert sorted(each.fresh for each in begun) == [False, True]
    assert begun[0].request == begun[1].request
    with pytest.raises(ApiError) as refused:
        await start(database, other)
    assert refused.value.code == "CONFLICT"
    assert await count(database, "signatures") == 1


async def test_requests_are_left_over_by_age_and_only_until_they_are_finished(database: Database) -> None:
    key, world = await make_key(database), Clock().world()
    old, young, done = (new_signature(key, number) for number in range(3))
    for new, at in ((old, START), (young, START + 10_000), (done, START)):
        await start(database, new, at)
    await database.write(lambda: finish(outcome(key, done, value(1)), world))
    left = await database.read(lambda: signatures.unfinished(START + 10_000, 10))
    assert [each.signature_id for each in left] == [old.signature_id]
    left = await database.read(lambda: signatures.unfinished(START + 10_001, 10))
    assert [each.signature_id for each in left] == [old.signature_id, young.signature_id]


async def test_a_request_is_found_with_its_own_key_only(database: Database) -> None:
    key = await make_key(database)
    other = await make_key(database, "key-00000-00002-0000000000000002")
    new = new_signature(key)
    await start(database, new)
    strangers = replace(new, key_id=other.key_id)
    assert await database.read(lambda: signatures.get(ORG, strangers.key_id, new.signature_id)) is None
