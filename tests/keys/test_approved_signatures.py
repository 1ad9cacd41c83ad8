"""The job that signs what was approved: once, whatever comes between, and not for ever where it can't be done."""

from __future__ import annotations

from collections import Counter

from countersign.jobs.inspection import listing
from countersign.jobs.workers import Workers
from countersign.keys.approved_signatures import ApprovedSignatures, sign_later
from countersign.keys.finishing import Finishing
from countersign.keys.signatures import NewSignature
from countersign.keystores import SignerSealed, SignerUnavailable
from countersign.storage import Database, Transaction
from tests.keys.builders import (
    ORG,
    START,
    Clock,
    FakeSigner,
    count,
    entry_text,
    execute,
    make_key,
    new_signature,
    payload,
    service,
    start,
    stored,
    value,
)

HOUR = 3_600_000


class House:
    """A request that was approved, and workers for it."""

    def __init__(self, database: Database, new: NewSignature) -> None:
        self.database = database
        self.new = new
        self.clock = Clock()
        self.ended: Counter[str] = Counter()
        self.kept = True

    def read(self, _org_id: str, _action_id: str) -> Transaction[tuple[str, bytes] | None]:
        yield from ()
        return (entry_text(self.new), payload(self.new)) if self.kept else None

    async def work(self, signer: FakeSigner) -> None:
        """Run what is due."""
        world = self.clock.world()
        kind = ApprovedSignatures(Finishing(self.database, service(signer), self.read), world).kind()
        count = lambda _, ending: self.ended.update([ending])  # noqa: E731 - said in one line
        await Workers(self.database, [kind], f"owner-{self.clock.now}", world, count=count).until_idle()

    async def status(self) -> str:
        return (await stored(self.database, self.new)).status


async def approved(database: Database) -> House:
    new = new_signature(await make_key(database))
    await start(database, new)
    await execute(database, "UPDATE signatures SET approval_id = 'ap-1'")
    house = House(database, new)
    for _ in range(2):
        # Of two that ask for it, one job comes.
        await database.write(lambda: sign_later(ORG, new.signature_id, house.clock.world()))
    assert await count(database, "jobs") == 1
    return house


async def test_it_waits_for_the_signer_without_using_up_its_attempts(database: Database) -> None:
    house = await approved(database)
    away = FakeSigner([value(1)], available=False)
    for signer in [FakeSigner([SignerUnavailable("gone")]), FakeSigner([SignerSealed("sealed")]), *[away] * 8]:
        await house.work(signer)
        house.clock.now += 2_000
    assert (house.ended, away.orders, await house.status()) == (Counter(later=10), [], "Executing")
    (waiting,) = await database.read(lambda: listing(house.clock.now))
    assert (waiting.attempts, waiting.reason) == (0, "waits for the signer: no key store is connected")
    await house.work(FakeSigner([value(1)]))
    assert (house.ended["done"], await house.status()) == (1, "Signed")
    assert await count(database, "audit_entries") == 1
    assert await count(database, "jobs") == 0


async def test_a_request_that_was_finished_meanwhile_is_not_signed_again(database: Database) -> None:
    house = await approved(database)
    await execute(database, "UPDATE signatures SET status = 'Failed', reason = 'key archived'")
    signer = FakeSigner([value(1)])
    await house.work(signer)
    assert (house.ended, signer.orders, await house.status()) == (Counter(done=1), [], "Failed")


async def test_what_contradicts_its_consent_is_left_to_be_mended_and_then_fails(database: Database) -> None:
    house = await approved(database)
    house.kept = False
    signer = FakeSigner([value(1)])
    for _ in range(6):
        await house.work(signer)
        assert await house.status() == "Executing"
        house.clock.now += 24 * HOUR
    await house.work(signer)
    assert (house.ended, signer.orders) == (Counter(retried=6, dead=1), [])
    failed = await stored(database, house.new)
    reason = "the request cannot be read back: it has lost its key or its action"
    assert (failed.status, failed.reason) == ("Failed", reason)
    assert [job.reason for job in await database.read(lambda: listing(house.clock.now, dead=True))] == [reason]
    assert await count(database, "audit_entries") == 1


async def test_what_was_mended_in_time_is_signed(database: Database) -> None:
    house = await approved(database)
    house.kept = False
    await house.work(FakeSigner([value(1)]))
    house.kept, house.clock.now = True, START + HOUR
    await house.work(FakeSigner([value(1)]))
    assert (house.ended, await house.status()) == (Counter(retried=1, done=1), "Signed")
