"""Jobs over both engines: written with a change, run, tried again, put aside."""

from __future__ import annotations

import asyncio

import pytest

from countersign.jobs import Done, Job, Kind, Later, Outcome, RetryPlan, queue
from countersign.jobs.inspection import drop, listing, retry
from countersign.jobs.plan import MOST_LOST, Bounds
from countersign.jobs.workers import Workers
from countersign.storage import Database, Transaction
from countersign.world import World
from tests.jobs.support import ORG, PLAN, Clock, Record, count, failed, kind, put, workers


class _Stop(Exception):
    pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(clock: Clock) -> World:
    return World(clock=clock)


async def test_a_job_runs_once_with_its_payload_and_leaves_nothing(database: Database, world: World) -> None:
    record = Record()
    job_id = await put(database, world, {"a": ["ü", 1]})
    await workers(database, world, kind(record)).until_idle()
    (job,) = record.ran
    assert (job.job_id, job.org_id, job.attempt, job.read(dict)) == (job_id, ORG, 1, {"a": ["ü", 1]})
    assert await database.read(count) == 0


async def test_a_job_of_a_transaction_that_fails_never_is(database: Database, world: World) -> None:
    def change() -> Transaction[None]:
        yield from queue.enqueue("test.work", ORG, {}, None, None, world)
        raise _Stop

    with pytest.raises(_Stop):
        await database.write(change)
    assert await database.read(count) == 0


async def test_a_failed_job_is_tried_again_after_its_plan_and_then_put_aside(
    database: Database, world: World, clock: Clock
) -> None:
    record = Record([failed("first"), failed("second"), failed("third")])
    told: list[tuple[str, str]] = []
    job_id = await put(database, world)
    running = workers(database, world, kind(record), count=lambda *each: told.append(each))
    await running.until_idle()
    assert [job.attempt for job in record.ran] == [1]
    clock.now += 999
    await running.until_idle()
    assert len(record.ran) == 1
    clock.now += 1
    await running.until_idle()
    clock.now += 2000
    await running.until_idle()
    assert [job.attempt for job in record.ran] == [1, 2, 3]
    assert told == [("test.work", "retried"), ("test.work", "retried"), ("test.work", "dead")]
    (dead,) = await database.read(lambda: listing(clock.now, dead=True))
    assert (dead.job_id, dead.state, dead.reason, dead.attempts) == (job_id, "Dead", "third", 3)


async def test_writes_of_an_outcome_are_told_of_the_next_attempt(
    database: Database, world: World, clock: Clock
) -> None:
    told: list[int | None] = []

    def tell(next_at: int | None) -> Transaction[None]:
        told.append(next_at)
        yield from queue.due_lanes("none", 0, 1)

    record = Record([failed(write=tell, payload='{"attempt":2}'), failed(write=tell, final=True)])
    await put(database, world)
    running = workers(database, world, kind(record))
    await running.until_idle()
    clock.now += 1000
    await running.until_idle()
    assert told == [clock.now, None]
    assert record.ran[1].payload == '{"attempt":2}'


async def test_an_unforeseen_fault_counts_as_a_failure_and_stops_no_other_job(database: Database, world: World) -> None:
    record = Record([_Stop("secret")])
    await put(database, world)
    await put(database, world)
    await workers(database, world, kind(record, bounds=Bounds(1))).until_idle()
    assert len(record.ran) == 2
    (left,) = await database.read(lambda: listing(world.now()))
    assert left.reason == "unforeseen: _Stop"


async def test_a_job_is_due_at_its_time(database: Database, world: World, clock: Clock) -> None:
    record = Record()
    await put(database, world, run_at=clock.now + 5000)
    running = workers(database, world, kind(record))
    await running.until_idle()
    assert record.ran == []
    clock.now += 5000
    await running.until_idle()
    assert len(record.ran) == 1


async def test_a_unique_key_is_had_by_one_job_at_a_time(database: Database, world: World) -> None:
    assert await put(database, world, unique_key="k") is not None
    assert await put(database, world, unique_key="k") is None
    assert await put(database, world, unique_key="k", kind="test.other") is not None
    await workers(database, world, kind(Record())).until_idle()
    assert await put(database, world, unique_key="k") is not None


async def test_a_lost_worker_s_job_is_taken_over_and_its_late_outcome_changes_nothing(
    database: Database, world: World, clock: Clock
) -> None:
    await put(database, world)
    first = kind(Record())
    (taken,) = await database.write(lambda: queue.take("test.work", {"": 5}, "lost", clock.now, 1000))
    record = Record()
    other = workers(database, world, kind(record))
    await other.until_idle()
    assert record.ran == []
    clock.now += 1000
    await other.until_idle()
    assert [job.attempt for job in record.ran] == [1]

    def never() -> Transaction[None]:
        raise AssertionError("the late outcome is written")
        yield

    assert await database.write(lambda: queue.settle(first, taken, Done(never), clock.now, 0.0)) is None


async def test_who_lost_a_job_changes_nothing_of_it_while_another_runs_it(
    database: Database, world: World, clock: Clock
) -> None:
    """Whatever the outcome: a worker that stood still for longer than its lease does not know that it is late."""
    await put(database, world)
    (late,) = await database.write(lambda: queue.take("test.work", {"": 1}, "late", clock.now, 1000))
    clock.now += 1000
    (owned,) = await database.write(lambda: queue.take("test.work", {"": 1}, "owner", clock.now, 1000))
    before = await database.read(lambda: listing(clock.now))
    usual = kind(Record())
    for outcome in (Done(), Later("waits", clock.now), failed(), failed(final=True)):
        assert await database.write(lambda of=outcome: queue.settle(usual, late, of, clock.now, 0.0)) is None
    assert await database.write(lambda: queue.bury(usual, late, "lost", clock.now)) is None
    assert await database.write(lambda: queue.renew([late], clock.now + 9000)) == [late]
    await database.write(lambda: queue.release([late], clock.now))
    assert await database.read(lambda: listing(clock.now)) == before
    assert await database.read(lambda: listing(clock.now, dead=True)) == []
    assert await database.write(lambda: queue.settle(usual, owned, Done(), clock.now, 0.0)) == "done"


async def test_a_job_that_was_lost_while_it_runs_is_ended(database: Database) -> None:
    world, started, ended = World(), asyncio.Event(), asyncio.Event()

    async def run(_job: Job) -> Outcome:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Done()

    await put(database, world)
    running = asyncio.create_task(Workers(database, [Kind("test.work", run)], "late", world, lease_ms=300).run())
    await asyncio.wait_for(started.wait(), 30)
    # A clock that runs ahead, or a pause of this process: either way somebody else has it.
    ahead = world.now() + 3_600_000
    assert len(await database.write(lambda: queue.take("test.work", {"": 1}, "other", ahead, 3_600_000))) == 1
    await asyncio.wait_for(ended.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    (left,) = await database.read(lambda: listing(world.now()))
    assert left.state == "Running"


async def test_waiting_uses_up_no_attempt_and_an_outcome_forgets_workers_that_were_lost(
    database: Database, world: World, clock: Clock
) -> None:
    await put(database, world)
    for _ in range(MOST_LOST - 1):
        await database.write(lambda: queue.take("test.work", {"": 1}, "lost", clock.now, 1000))
        clock.now += 1000
    record = Record([*(Later("waits", clock.now) for _ in range(PLAN.attempts)), failed()])
    running = workers(database, world, kind(record))
    await running.until_idle()
    clock.now += 1000
    await running.until_idle()
    assert [job.attempt for job in record.ran] == [1] * (PLAN.attempts + 1) + [2]


async def test_a_job_that_no_worker_survives_is_put_aside(database: Database, world: World, clock: Clock) -> None:
    await put(database, world)
    for _ in range(MOST_LOST):
        await database.write(lambda: queue.take("test.work", {"": 1}, "lost", clock.now, 1000))
        clock.now += 1000
    record = Record()
    await workers(database, world, kind(record)).until_idle()
    assert record.ran == []
    (dead,) = await database.read(lambda: listing(clock.now, dead=True))
    assert dead.reason == "10 workers were lost while they ran it"


async def test_50_that_take_at_once_get_each_job_once(database: Database, world: World, clock: Clock) -> None:
    for _ in range(40):
        await put(database, world)

    async def take(number: int) -> list[Job]:
        return await database.write(lambda: queue.take("test.work", {"": 3}, f"worker {number}", clock.now, 30_000))

    taken = [job.job_id for jobs in await asyncio.gather(*map(take, range(50))) for job in jobs]
    assert len(taken) == len(set(taken))
    for job in await take(51):
        taken.append(job.job_id)


async def test_a_long_job_is_held_until_it_ends(database: Database, world: World, clock: Clock) -> None:
    await put(database, world)
    (job,) = await database.write(lambda: queue.take("test.work", {"": 1}, "one", clock.now, 1000))
    clock.now += 900
    assert await database.write(lambda: queue.renew([job], clock.now + 1000)) == []
    clock.now += 900
    assert await database.write(lambda: queue.take("test.work", {"": 1}, "two", clock.now, 1000)) == []
    clock.now += 100
    assert len(await database.write(lambda: queue.take("test.work", {"": 1}, "two", clock.now, 1000))) == 1
    assert await database.write(lambda: queue.renew([job], clock.now + 1000)) == [job]


async def test_a_slow_lane_starves_no_other_however_much_waits_in_it(database: Database, world: World) -> None:
    gate, order = asyncio.Event(), []

    async def run(job: Job) -> Outcome:
        order.append(job.lane)
        if job.lane == "slow":
            await gate.wait()
        return Done()

    def many() -> Transaction[None]:
        for _ in range(300):
            yield from queue.enqueue("test.work", ORG, {}, None, None, world, lane="slow")

    await database.write(many)
    await put(database, world, lane="quick")
    running = workers(database, world, Kind("test.work", run, PLAN, Bounds(8, (2,))))
    await running.look()
    await running.look()
    for _ in range(200):
        if "quick" in order:
            break
        await asyncio.sleep(0.001)
    assert sorted(order) == ["quick", "slow", "slow"]
    gate.set()
    await running.until_idle()
    assert order.count("slow") == 300


async def test_a_commit_wakes_the_workers_of_its_process(database: Database) -> None:
    world, ran = World(), asyncio.Event()

    async def run(_job: Job) -> Outcome:
        ran.set()
        return Done()

    running = workers(database, world, Kind("test.work", run))
    task = asyncio.create_task(running.run())
    await asyncio.sleep(0)
    await put(database, world)
    await asyncio.wait_for(ran.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_stopping_leaves_what_ran_to_others_at_once(database: Database, world: World) -> None:
    started = asyncio.Event()

    async def run(_job: Job) -> Outcome:
        started.set()
        await asyncio.Event().wait()
        return Done()

    await put(database, world)
    task = asyncio.create_task(workers(database, world, Kind("test.work", run)).run())
    await asyncio.wait_for(started.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    record = Record()
    await workers(database, world, kind(record)).until_idle()
    assert [job.attempt for job in record.ran] == [1]


async def test_what_comes_back_always_is_there_once_and_survives_its_failures(
    database: Database, world: World, clock: Clock
) -> None:
    record = Record([failed("away"), Done()])
    always = Kind("test.sweep", record.run, RetryPlan(), every_ms=60_000)
    await database.write(lambda: queue.ensure(always, world))
    await database.write(lambda: queue.ensure(always, world))
    running = workers(database, world, always)
    for expected in (1, 2, 3):
        await running.until_idle()
        assert len(record.ran) == expected
        (left,) = await database.read(lambda: listing(clock.now))
        assert left.due_at == clock.now + 60_000
        clock.now += 60_000


async def test_a_dead_job_is_tried_again_or_dropped_by_command(database: Database, world: World, clock: Clock) -> None:
    record = Record([failed(final=True), failed(final=True)])
    job_id, other = await put(database, world), await put(database, world)
    assert job_id is not None
    assert other is not None
    running = workers(database, world, kind(record))
    await running.until_idle()
    assert await database.write(lambda: retry(job_id, clock.now)) is not None
    assert await database.write(lambda: drop(other, clock.now)) is not None
    assert await database.write(lambda: drop(other, clock.now)) is None
    await running.until_idle()
    assert [job.job_id for job in record.ran[2:]] == [job_id]
    assert await database.read(lambda: listing(clock.now, dead=True)) == []


async def test_a_job_that_runs_is_left_alone_by_commands_and_a_dead_one_takes_nobodys_place(
    database: Database, world: World, clock: Clock
) -> None:
    job_id = await put(database, world, unique_key="k")
    assert job_id is not None
    (job,) = await database.write(lambda: queue.take("test.work", {"": 1}, "one", clock.now, 1000))
    for change in (retry, drop):
        assert await database.write(lambda do=change: do(job_id, clock.now)) is None
    assert await database.write(lambda: queue.bury(kind(Record()), job, "no luck", clock.now)) == "dead"
    other = await put(database, world, unique_key="k")
    assert other is not None
    assert await database.write(lambda: retry(job_id, clock.now)) is None
    assert [each.job_id for each in await database.read(lambda: listing(clock.now, dead=True))] == [job_id]
    assert await database.write(lambda: drop(other, clock.now)) is not None
    # Who had it before has no say in its second life.
    assert await database.write(lambda: retry(job_id, clock.now)) is not None
    (again,) = await database.write(lambda: queue.take("test.work", {"": 1}, "two", clock.now, 1000))
    assert again.fence > job.fence
    clock.now += 1000
    assert await database.write(lambda: drop(job_id, clock.now)) is not None


async def test_old_dead_jobs_are_forgotten(database: Database, world: World, clock: Clock) -> None:
    await put(database, world)
    await workers(database, world, kind(Record([failed(final=True)]))).until_idle()
    assert await database.write(lambda: queue.forget_dead(clock.now)) == 0
    assert await database.write(lambda: queue.forget_dead(clock.now + 1)) == 1
