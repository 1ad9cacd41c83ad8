"""Roots and key-encryption keys that are exchanged while keys are used, on both engines; a crash at every write."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pyrage
import pytest

from countersign.keystores import GeneratedKey, KeyRecord, SignerUnavailable, roots, rotation, rotation_store, store
from countersign.keystores.orders import about
from countersign.keystores.outcome import Refusal, SignerRefused
from countersign.keystores.protocol import Generated, State
from countersign.storage import Database
from countersign.storage.transaction import Statement, Transaction
from tests.keystores.builders import ORG, PAIRS, STORE, Bench, FixedKek

T = TypeVar("T")
INSERT_KEY = Statement(
    "test_insert_key",
    "INSERT INTO keys (org_id, key_id, scheme, curve, public_key, status, custodial, store_id, created_at)"
    " VALUES (?, ?, ?, ?, ?, 'Active', 1, ?, 0)",
)


class Crash(Exception):
    """The process ended here."""


@dataclasses.dataclass
class Fragile:
    """A database whose client dies at the write of that number, before it or just after it was committed."""

    database: Database
    at: int
    committed: bool
    writes: int = 0

    async def read(self, make: Callable[[], Transaction[T]]) -> T:
        return await self.database.read(make)

    async def write(self, make: Callable[[], Transaction[T]]) -> T:
        self.writes += 1
        if self.writes == self.at and not self.committed:
            raise Crash
        result = await self.database.write(make)
        if self.writes == self.at:
            raise Crash
        return result


class Signer(Bench):
    """A signer without its process, handed the roots of the database as the client does it."""

    def __init__(self, database: Database, kek: Any, authoriser: Any) -> None:
        self.database = database
        super().__init__(kek=kek, authoriser=authoriser)
        self.service = type(self.service)(kek, clock=lambda: self.now, grant_level="G1")

    async def load_roots(self) -> State:
        return self.load(await self.database.read(lambda: store.list_roots(STORE)))

    async def rewrap(self, key: KeyRecord) -> GeneratedKey:
        reply = self.ask(about("rewrap", key))
        if reply.code != "ok":
            raise SignerRefused(reply.code, reply.data.decode())
        made = msgspec.msgpack.decode(reply.data, type=Generated)
        return GeneratedKey(made.public_key, made.record, made.root_version, made.generation, made.secret_kind)


class House:
    """A store in the database with keys of every scheme, and its signer."""

    def __init__(self, database: Database) -> None:
        self.database, self.kek = database, FixedKek()
        self.first = Bench(kek=self.kek)
        self.keys: list[str] = []

    async def begin(self, count: int = 5) -> House:
        await self.database.write(lambda: store.insert_root(STORE, 1, "sealed", self.first.root, 0))
        self.signer = await self.restart()
        for number in range(count):
            await self.new_key(number)
        return self

    async def restart(self, kek: Any = None) -> Signer:
        """A signer that knows nothing yet, with the roots as they are stored."""
        self.signer = Signer(self.database, kek or self.kek, self.first.authoriser)
        await self.signer.load_roots()
        return self.signer

    async def new_key(self, number: int) -> None:
        scheme, curve = PAIRS[number % len(PAIRS)]
        key_id = f"ke-{number:05}"
        key = self.signer.generate(scheme, curve, key_id=key_id)
        made = GeneratedKey(key.public_key, key.record, key.root_version, key.generation, key.secret_kind)

        def insert() -> Transaction[None]:
            yield INSERT_KEY, (ORG, key_id, scheme, curve, key.public_key.hex(), STORE)
            yield from store.insert_record(ORG, key_id, STORE, made)

        await self.database.write(insert)
        self.keys.append(key_id)

    async def every_key_signs(self) -> list[KeyRecord]:
        found = []
        for key_id in self.keys:
            key = await self.database.read(lambda key_id=key_id: store.read_record(ORG, key_id))
            assert key is not None
            self.signer.sign(key, b"d" * 32)
            found.append(key)
        return found

    async def rotate(self, database: Any = None) -> None:
        """What ``keystore rotate-root`` does, from wherever it was left."""
        database = database or self.database
        stored = await database.read(lambda: rotation_store.read_roots(STORE))
        if not rotation.under_way(stored):
            await rotation.add_root(database, STORE, self.kek, b"", 1)
            stored = await database.read(lambda: rotation_store.read_roots(STORE))
        newest = stored[-1].version
        await self.signer.load_roots()

        async def settled() -> None:
            await self.every_key_signs()

        await rotation.finish_root(database, self.signer, STORE, newest, lambda done, total: None, settled)


@pytest.fixture
def house(runner: asyncio.Runner, database: Database, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(rotation, "BATCH", 2)
    return runner.run(House(database).begin())


async def test_k4_every_key_moves_to_the_new_root_and_the_old_one_opens_nothing(house: House) -> None:
    before = await house.every_key_signs()
    old_blobs = await house.database.read(lambda: store.list_roots(STORE))
    await house.rotate()
    after = await house.every_key_signs()
    assert {(key.root_version, key.generation) for key in after} == {(2, 2)}
    assert [key.public_key for key in after] == [key.public_key for key in before]
    assert house.signer.state().root_versions == (2,)
    refused = house.signer.ask(house.signer.granted(house.signer.sign_order(before[0], b"d" * 32)))
    assert (refused.code, b"retired" in refused.data) == ("Unavailable", True)
    # Who kept the old wrap does not bring it back, nor the page its key.
    assert house.signer.load([*old_blobs, *await house.database.read(lambda: store.list_roots(STORE))])
    assert house.signer.state().root_versions == (2,)
    assert bytes(house.signer.service.page.root(0)) == bytes(32)
    stored = await house.database.read(lambda: rotation_store.read_roots(STORE))
    assert (stored[0].version, stored[0].state, stored[0].wrapped) == (1, "Destroyed", b"")


async def test_k4_new_keys_are_sealed_under_the_new_root_at_once(house: House) -> None:
    await rotation.add_root(house.database, STORE, house.kek, b"", 1)
    await house.signer.load_roots()
    await house.new_key(77)
    newest = (await house.every_key_signs())[-1]
    assert (newest.key_id, newest.root_version, newest.generation) == ("ke-00077", 2, 1)
    states = await rotation.describe(house.database, STORE)
    assert [(root.version, root.state, root.provider, root.records) for root in states] == [
        (1, "Active", "fixed", 5),
        (2, "Active", "fixed", 1),
    ]


async def test_k4_a_crash_at_any_write_leaves_every_key_usable_and_the_rotation_to_be_taken_up(house: House) -> None:
    version = 1
    for committed in (False, True):
        for at in range(1, 20):
            fragile = Fragile(house.database, at, committed)
            try:
                await house.rotate(fragile)
            except Crash:
                await house.every_key_signs()
                await house.restart()
                await house.every_key_signs()
                await house.rotate()
            version = house.signer.state().root_versions[-1]
            assert house.signer.state().root_versions == (version,)
            assert {key.root_version for key in await house.every_key_signs()} == {version}
            if fragile.writes < at:
                break
        # The new root, three batches, the old root's last day, its end.
        assert at == 7
    assert version >= 14


async def test_k4_a_record_that_changed_meanwhile_is_left_and_met_again(house: House) -> None:
    await rotation.add_root(house.database, STORE, house.kek, b"", 1)
    await house.signer.load_roots()
    old = await house.database.read(lambda: rotation_store.list_old(STORE, 2, ("", ""), 10))
    pairs = [(key, await house.signer.rewrap(key)) for key in old]
    assert await house.database.write(lambda: rotation_store.swap_records(pairs[:2])) == 2
    again = [(key, await house.signer.rewrap(key)) for key in old]
    assert await house.database.write(lambda: rotation_store.swap_records(again)) == 3
    assert {key.generation for key in await house.every_key_signs()} == {2}


async def test_k4_a_key_made_under_the_old_root_too_late_is_not_stored(house: House) -> None:
    """Its record would never open again."""
    slow = house.signer.generate(key_id="ke-slow")
    made = GeneratedKey(slow.public_key, slow.record, slow.root_version, slow.generation, slow.secret_kind)
    await house.rotate()
    with pytest.raises(SignerUnavailable, match="rotated"):
        await house.database.write(lambda: store.insert_record(ORG, "ke-slow", STORE, made))


async def test_k4_a_record_that_does_not_open_is_named_and_keeps_the_old_root(house: House) -> None:
    good = (await house.every_key_signs())[2]
    kept = GeneratedKey(good.public_key, good.record, 1, good.generation, good.secret_kind)
    bad = dataclasses.replace(kept, record=good.record[:-1] + bytes([good.record[-1] ^ 1]))
    await house.database.write(lambda: rotation_store.swap_records([(good, bad)]))
    with pytest.raises(rotation_store.RotationConflict, match=r"1 record .*key ke-00002 of .*does not belong"):
        await house.rotate()
    states = await rotation.describe(house.database, STORE)
    assert [(root.state, root.records) for root in states] == [("Active", 1), ("Active", 4)]
    await house.database.write(lambda: rotation_store.swap_records([(good, kept)]))
    await house.rotate()
    assert house.signer.state().root_versions == (2,)
    await house.every_key_signs()


async def test_a_root_in_use_is_neither_retired_nor_destroyed(house: House) -> None:
    await rotation.add_root(house.database, STORE, house.kek, b"", 1)
    assert await house.database.write(lambda: rotation_store.retire(STORE, 2)) == 5
    states = await rotation.describe(house.database, STORE)
    assert [root.state for root in states] == ["Active", "Active"]
    with pytest.raises(rotation_store.RotationConflict, match="still sealed"):
        await house.database.write(lambda: rotation_store.destroy(STORE, 2))


async def test_a_root_of_somebody_elses_is_not_taken_by_the_signer(house: House) -> None:
    """Whoever reaches the socket may hand roots over, but none that the key-encryption key did not wrap."""
    foreign = Bench(kek=FixedKek(b"x" * 32))
    parsed = rotation.roots.parse_root(foreign.root)
    blob = rotation.roots.next_root(parsed, foreign.kek, b"")
    assert isinstance(blob, bytes)
    blobs = await house.database.read(lambda: store.list_roots(STORE))
    state = house.signer.load([*blobs, blob])
    assert state.root_versions == (1,)
    assert "not the one that wrapped root 2" in state.reason
    await house.every_key_signs()


async def test_k4_the_next_key_encryption_key_opens_before_the_old_one_is_gone(house: House) -> None:
    new = FixedKek(b"n" * 32, name="new")
    for at, committed in ((1, False), (1, True)):
        with pytest.raises(Crash):
            await rotation.stage_kek(
                Fragile(house.database, at, committed),
                STORE,
                house.kek,
                b"",
                new,
                b"",
            )
        await house.restart()
        await house.every_key_signs()
    await rotation.stage_kek(house.database, STORE, house.kek, b"", new, b"")
    for kek in (house.kek, new):
        await house.restart(kek)
        await house.every_key_signs()
    with pytest.raises(rotation_store.RotationConflict, match="rotate-kek --finish"):
        await rotation.add_root(house.database, STORE, house.kek, b"", 1)
    with pytest.raises(ValueError, match="the old ones stay"):
        await rotation.finish_kek(house.database, STORE, house.kek, b"")
    assert await rotation.finish_kek(house.database, STORE, new, b"") == [1]
    await house.every_key_signs()  # the signer that runs goes on
    signer = await house.restart()
    assert signer.state().state == "sealed"
    assert "wrapped by 'new', the signer uses 'fixed'" in signer.state().reason
    await house.restart(new)
    await house.every_key_signs()


async def test_of_two_exchanges_at_once_no_key_is_put_in_force_that_was_not_shown_to_open(house: House) -> None:
    mine, theirs = FixedKek(b"m" * 32, name="mine"), FixedKek(b"t" * 32, name="theirs")
    await rotation.stage_kek(house.database, STORE, house.kek, b"", mine, b"")
    wraps = [(1, house.first.root, rotation.roots.rewrap_root(parsed(house.first.root), house.kek, b"", theirs, b""))]

    class Overtaken:
        read = house.database.read

        async def write(self, transaction: Any) -> Any:
            await house.database.write(lambda: rotation_store.stage_wraps(STORE, wraps))
            return await house.database.write(transaction)

    with pytest.raises(rotation_store.RotationConflict, match="wrapped anew in between"):
        await rotation.finish_kek(Overtaken(), STORE, mine, b"")
    await house.restart()
    await house.every_key_signs()
    assert await rotation.finish_kek(house.database, STORE, theirs, b"") == [1]
    await house.restart(theirs)
    await house.every_key_signs()


async def test_an_exchange_of_the_key_encryption_key_can_be_given_up(house: House) -> None:
    other = FixedKek(b"n" * 32)
    await rotation.stage_kek(house.database, STORE, house.kek, b"", other, b"")
    await house.restart(other)  # the same provider with another key
    await house.every_key_signs()
    assert await house.database.write(lambda: rotation_store.drop_staged(STORE)) == [1]
    with pytest.raises(rotation_store.RotationConflict, match="nothing to finish"):
        await rotation.finish_kek(house.database, STORE, other, b"")
    await house.restart()
    await house.every_key_signs()


def test_what_else_a_root_holds_is_carried_over() -> None:
    """By both rotations, whatever it will be: every member but the key and its version."""
    old, new = FixedKek(), FixedKek(b"n" * 32, name="new")
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    founder = roots.Founder("or-1", "us-1", "cr-1", "Key", "-----BEGIN PUBLIC KEY-----")
    more = {
        "installation_id": "in-1",
        "founders": (founder,),
        "recovery_recipients": (recipient,),
        "authoriser_apart": True,
    }
    before = parsed(roots.create_root(old, STORE, b"a" * 32, **more))
    whole = content(before, old)
    blobs = (roots.rewrap_root(before, old, b"", new, b""), roots.next_root(before, old, b""))
    for blob, kek, changes in zip(blobs, (new, old), (set[str](), {"root_key", "root_version", "vouch"}), strict=True):
        assert isinstance(blob, bytes)
        after = content(parsed(blob), kek)
        assert {name for name, value in after.items() if value != whole[name]} == changes
        assert len(after) == 10


def parsed(blob: bytes) -> roots.WrappedRoot:
    found = roots.parse_root(blob)
    assert isinstance(found, roots.WrappedRoot)
    return found


def content(root: roots.WrappedRoot, kek: FixedKek) -> dict[str, Any]:
    """Every member of what is inside a root."""
    opened = roots._open(root, kek, b"", memoryview(bytearray(4096)))
    assert not isinstance(opened, Refusal)
    return msgspec.structs.asdict(opened)
