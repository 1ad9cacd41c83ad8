"""A signer in several processes is one signer: once-only, sealed at once, and whole again after a worker died."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from countersign.keystores import Refusal, SignerSealed, SignerUnavailable, SignOrder, workers
from countersign.keystores.client import SignerClient
from countersign.keystores.kek import open_provider
from countersign.keystores.orders import KeyRecord, SignatureValue, about
from countersign.keystores.protocol import MAX_FRAME, Order, Reply, State, frame
from countersign.keystores.roots import next_root, parse_root
from countersign.keystores.service import SignerService
from countersign.keystores.workers import Front
from tests.keystores.builders import KEY, ORG, PAIRS, Running, evidence, running
from tests.keystores.test_confinement import FILTERS
from tests.support.aio import until

WORKERS = ("--grant-level", "G1", "--workers", "2")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def core_limit(pid: int) -> list[str]:
    limits = Path(f"/proc/{pid}/limits").read_text()
    return next(line for line in limits.splitlines() if "core file" in line).split()[4:6]


def open_sockets(pid: int) -> int:
    return sum(str(link.readlink()).startswith("socket:") for link in Path(f"/proc/{pid}/fd").iterdir())


async def crew(signer: Running) -> tuple[int, list[int]]:
    """Process ids of the front and of its workers, once all are there."""
    await until(lambda: len(children(signer.pid)) == 3)
    front, *workers = children(signer.pid)
    return front, workers


async def new_key(client: SignerClient, scheme: str = "ECDSA", curve: str = "secp256k1") -> KeyRecord:
    made = await client.generate(ORG, KEY, scheme, curve, "ke-request", evidence())
    return KeyRecord(
        ORG, KEY, scheme, curve, made.public_key, made.secret_kind, made.root_version, made.generation, made.record
    )


def order(key: KeyRecord) -> SignOrder:
    return SignOrder(key, "message" if key.scheme == "EdDSA" else "digest32", b"d" * 32, "si-1", evidence())


async def test_workers_sign_and_verify_keys_of_every_scheme() -> None:
    async with running(None, *WORKERS) as signer:
        await crew(signer)
        for scheme, curve in PAIRS:
            key = await new_key(signer.client, scheme, curve)
            await signer.client.verify(key)
            await asyncio.gather(*(signer.client.sign(order(key)) for _ in range(50)))


async def test_each_process_is_confined_and_closed_to_others() -> None:
    async with running(None, *WORKERS) as signer:
        front, workers = await crew(signer)
        for pid in (signer.pid, front, *workers):
            assert "NoNewPrivs:\t1" in status_of(pid)
            assert f"Seccomp:\t{2 if FILTERS else 0}" in status_of(pid)
            assert core_limit(pid) == ["0", "0"]
        assert [open_sockets(pid) for pid in workers] == [1, 1]


async def raw(signer: Running, *orders: Order) -> list[Reply]:
    """Orders over a connection of their own, in one write, and the replies by their order."""
    reader, writer = await asyncio.open_unix_connection(str(signer.socket))
    writer.write(b"".join(frame(msgspec.msgpack.encode(each)) for each in orders))
    replies = [
        msgspec.msgpack.decode(await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big")), type=Reply)
        for _ in orders
    ]
    writer.close()
    return sorted(replies, key=lambda reply: reply.id)


async def test_a_grant_works_once_whichever_worker_would_be_next() -> None:
    async with running(None, *WORKERS) as signer:
        await crew(signer)
        key = await new_key(signer.client)
        wire = about("sign", key)
        wire.payload, wire.payload_kind, wire.evidence = memoryview(b"d" * 32), "digest32", evidence()
        wire.grant = await signer.client._grant(wire, "si-1", "")
        same = [msgspec.structs.replace(wire, id=number) for number in range(1, 21)]
        codes = [reply.code for reply in await raw(signer, *same)]
        assert codes == ["ok"] + ["Denied"] * 19


async def test_a_worker_that_died_is_replaced_and_its_orders_are_unavailable() -> None:
    async with running(None, *WORKERS) as signer:
        front, workers = await crew(signer)
        key = await new_key(signer.client)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)  # so that orders are with them when they die
        pending = [asyncio.create_task(signer.client.sign(order(key))) for _ in range(20)]
        status = asyncio.create_task(signer.client.status())
        assert (await status).state == "unsealed"
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        results = await asyncio.gather(*pending, return_exceptions=True)
        assert {type(result) for result in results} == {SignerUnavailable}
        assert "died with the order" in str(results[0])
        await until(lambda: len(children(signer.pid)) == 3 and not set(workers) & set(children(signer.pid)))
        assert front in children(signer.pid)
        assert isinstance(await signer.client.sign(order(key)), SignatureValue)


async def test_sealing_wipes_the_roots_of_all_at_once() -> None:
    async with running(None, *WORKERS) as signer:
        await crew(signer)
        key = await new_key(signer.client)
        await signer.client.seal()
        with pytest.raises(SignerSealed):
            await signer.client.sign(order(key))
        await signer.client.unseal(None)
        await signer.client.sign(order(key))


async def test_orders_under_way_when_the_store_is_sealed_are_no_integrity_alarm(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with running(None, *WORKERS) as signer:
        _, workers = await crew(signer)
        key = await new_key(signer.client)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        pending = [asyncio.create_task(signer.client.sign(order(key))) for _ in range(10)]
        await signer.client.status()
        await signer.client.seal()
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        results = await asyncio.gather(*pending, return_exceptions=True)
        assert {type(result) for result in results} == {SignerUnavailable}
    assert "integrity alarm" not in capfd.readouterr().err


async def test_a_new_root_reaches_the_workers_and_a_retired_one_opens_nothing() -> None:
    async with running(None, *WORKERS) as signer:
        await crew(signer)
        old = await new_key(signer.client)
        kek = open_provider(f"dev:{signer.directory / 'kek'}")
        second = next_root(parse_root(signer.root), kek, b"")
        assert isinstance(second, bytes)
        both, newest = msgspec.msgpack.encode([signer.root, second]), msgspec.msgpack.encode([second])

        async def load(blobs: bytes) -> State:
            reply = (await raw(signer, Order(1, "load", payload=memoryview(blobs))))[0]
            return msgspec.msgpack.decode(reply.data, type=State)

        assert (await load(both)).root_versions == (1, 2)
        new = await new_key(signer.client)
        assert (old.root_version, new.root_version) == (1, 2)
        await signer.client.sign(order(old))
        await signer.client.sign(order(new))
        assert (await load(newest)).root_versions == (2,)
        with pytest.raises(SignerUnavailable, match="retired"):
            await signer.client.sign(order(old))
        await signer.client.sign(order(new))


async def test_no_process_outlives_the_others() -> None:
    async with running(None, *WORKERS) as signer:
        front, workers = await crew(signer)
        keeper = signer.pid
        os.kill(front, signal.SIGKILL)
        await until(lambda: not any(alive(pid) for pid in (keeper, front, *workers)))
        await until(lambda: signer.client.available)
        front, workers = await crew(signer)
        keeper = signer.pid
        os.kill(keeper, signal.SIGKILL)
        await until(lambda: not any(alive(pid) for pid in (front, *workers)))
        await until(lambda: signer.client.available)
        front, workers = await crew(signer)
        child = signer.supervisor._child
        assert child is not None
        await signer.supervisor.stop()
        assert child.returncode == 0
        await until(lambda: not any(alive(pid) for pid in (front, *workers)))


class _Permitting:
    """A service that permits everything and answers by itself what no worker is given."""

    store_id = "ks-1"

    def guarded(self, order: Order, act: Any) -> int | Refusal:
        return 0

    def reply(self, order: Order, outcome: bytes | Refusal) -> bytes:
        return outcome.code.encode() if isinstance(outcome, Refusal) else outcome

    def handle(self, view: memoryview) -> bytes:
        return b"by itself"


class _Line(workers._Line):
    """The front's end of a worker, which counts what it is given."""

    sent = 0

    def send(self, *_: Any) -> None:
        self.sent += 1


@pytest.mark.parametrize(
    ("orders", "length", "answer"),
    [(0, 200, None), (workers._MAX_PENDING, 200, b"Busy"), (0, MAX_FRAME, b"by itself")],
    ids=["passed-on", "too-many", "no-room-for-its-header"],
)
def test_orders_that_a_worker_has_no_room_for_are_not_passed_on(orders: int, length: int, answer: bytes | None) -> None:
    """More than so many are refused; one that fills its frame would cut the worker off."""
    near, far = socket.socketpair()
    with near, far:
        service = cast("SignerService", _Permitting())
        front = Front(service, near)
        line = _Line(front, service)
        line._pending = dict.fromkeys(range(orders), (Order(1, "sign"), lambda _reply: None, 0))
        front._lines.append(line)
        order = Order(1, "sign")
        order.arguments = bytes(length)
        order.arguments = bytes(2 * length - len(msgspec.msgpack.encode(order)))
        view = memoryview(msgspec.msgpack.encode(order))
        assert len(view) == length
        assert front.handle(view, lambda _reply: None) == answer
        assert line.sent == (answer is None)
