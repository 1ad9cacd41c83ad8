"""Roots and records in the database, on both engines."""

from __future__ import annotations

import asyncio

import pytest

from countersign.keystores import GeneratedKey, KeyRecord, registration, store
from countersign.storage import ConstraintViolated, Database
from countersign.storage.transaction import Statement, Transaction

INSERT_KEY = Statement(
    "test_insert_key",
    "INSERT INTO keys (org_id, key_id, scheme, curve, public_key, status, custodial, store_id, created_at)"
    " VALUES (?, ?, 'ECDSA', 'secp256k1', ?, 'Active', 1, 'ks-1', 0)",
)
MADE = GeneratedKey(b"\2" * 33, b"CSK1\x00\xff record", 3, 1, "secp256k1.scalar")


def new_key(org_id: str, key_id: str) -> Transaction[None]:
    yield INSERT_KEY, (org_id, key_id, MADE.public_key.hex())
    yield from store.insert_record(org_id, key_id, "ks-1", MADE)


def test_a_record_comes_back_with_all_it_is_bound_to(runner: asyncio.Runner, database: Database) -> None:
    runner.run(database.write(lambda: new_key("or-1", "ke-1")))
    found = runner.run(database.read(lambda: store.read_record("or-1", "ke-1")))
    assert found == KeyRecord(
        "or-1", "ke-1", "ECDSA", "secp256k1", MADE.public_key, "secp256k1.scalar", 3, 1, MADE.record, "ks-1"
    )


def test_a_record_is_found_in_its_own_organisation_only(runner: asyncio.Runner, database: Database) -> None:
    runner.run(database.write(lambda: new_key("or-1", "ke-1")))
    assert runner.run(database.read(lambda: store.read_record("or-2", "ke-1"))) is None


def test_roots_are_listed_by_version_and_store(runner: asyncio.Runner, database: Database) -> None:
    for store_id, version in (("ks-1", 2), ("ks-1", 1), ("ks-2", 1)):
        wrapped = f"{store_id} {version}".encode()
        runner.run(database.write(lambda s=store_id, v=version, w=wrapped: store.insert_root(s, v, "sealed", w, 7)))
    assert runner.run(database.read(lambda: store.list_roots("ks-1"))) == [b"ks-1 1", b"ks-1 2"]
    assert runner.run(database.read(lambda: store.list_roots("ks-3"))) == []
    assert runner.run(database.read(store.list_stores)) == ["ks-1", "ks-2"]


def test_a_root_is_never_replaced(runner: asyncio.Runner, database: Database) -> None:
    runner.run(database.write(lambda: store.insert_root("ks-1", 1, "sealed", b"first", 7)))
    with pytest.raises(ConstraintViolated):
        runner.run(database.write(lambda: store.insert_root("ks-1", 1, "sealed", b"second", 8)))
    assert runner.run(database.read(lambda: store.list_roots("ks-1"))) == [b"first"]


def test_one_store_is_primary_and_a_name_that_is_none_changes_nothing(
    runner: asyncio.Runner, database: Database
) -> None:
    async def play() -> list[str]:
        for store_id in ("ks-1", "ks-2", "ks-3"):
            await database.write(lambda s=store_id: store.insert_store(s, "sealed", s, 7, primary=s == "ks-1"))
        assert not await database.write(lambda: registration.make_primary("ks-4"))
        assert [each.is_primary for each in await database.read(registration.stores)] == [True, False, False]
        wanted = ("ks-2", "ks-3") * 10
        await asyncio.gather(*(database.write(lambda s=s: registration.make_primary(s)) for s in wanted))
        return [each.store_id for each in await database.read(registration.stores) if each.is_primary]

    assert runner.run(play()) in (["ks-2"], ["ks-3"])
