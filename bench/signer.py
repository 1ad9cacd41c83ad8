"""What an order through the signer's socket costs, beside opening the record and signing in one process.

Signers at each grant level and the process without a socket take turns on one core, in rounds, with the same keys and
like orders; every order carries the consent of a credential to a digest of its own. Where the signer gets one order at
a time, the process pauses before each as well, unpaid: work that starts after a pause finds its caches cold, with a
socket and without.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from bench.processes import cores, cpu_seconds
from bench.report import machine
from countersign.keystores import (
    Authoriser,
    KeyRecord,
    Refusal,
    SignerClient,
    SignerRefused,
    SignerSupervisor,
    SignOrder,
    create_root,
)
from countersign.keystores.kek import open_provider
from countersign.keystores.protocol import DIGEST32, MESSAGE, Order
from countersign.keystores.schemes import SCHEMES, sign
from countersign.keystores.service import SignerService
from countersign.world import World
from tests.keystores.builders import about
from tests.keystores.people import INSTALLATION, Person, digest
from tests.support.softhsm import MODULES, softhsm_token

#: Orders on their way at once: one caller who waits for each, and as many as a busy server has.
AT_ONCE = (1, 16)
#: How many times the cost in one process an order may have at each level.
LIMITS = {"G1": 3.0, "G3": 5.0}
PAIRS = (("ECDSA", "secp256k1"), ("EdDSA", "ed25519"))
_STORE = "ks-bench"
_ORDERS_A_SECOND = 2000
_PAUSE_S = 0.0002
_IN_PROCESS = "in one process"
_MODES = ("resident", "wrapped")


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of one order in microseconds."""

    signer: float
    client: float


@dataclass
class _Place:
    """What the signers share: a key-encryption key, an authoriser, and somebody who consents."""

    directory: Path
    core: set[int]
    client_core: set[int]
    person: Person = field(default_factory=Person)
    authoriser: Authoriser = field(default_factory=lambda: Authoriser(os.urandom(32)))
    root: bytes = b""

    def __post_init__(self) -> None:
        founders = (self.person.founder,)
        provider = open_provider(self.kek)
        self.root = create_root(
            provider, _STORE, self.authoriser.public_key, installation_id=INSTALLATION, founders=founders
        )

    @property
    def kek(self) -> str:
        return f"dev:{self.directory / 'kek'}"

    @contextmanager
    def on_core(self) -> Iterator[None]:
        """Work where the signers do."""
        os.sched_setaffinity(0, self.core)
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.client_core)

    @asynccontextmanager
    async def signer(self, name: str, level: str, store: str = "sealed") -> AsyncIterator[_Signer]:
        """A signer process, and the client of it."""
        socket = str(self.directory / name / "s")
        extra = ("--grant-level", level, "--state", str(self.directory / f"{name}-state"), "--workers", "0")
        supervisor = SignerSupervisor(socket, self.kek, store=store, environment="sandbox", extra=extra)

        async def roots() -> list[bytes]:
            return [self.root]

        client = SignerClient(socket, self.authoriser, roots, store_id=_STORE, world=World())
        with self.on_core():
            await supervisor.start()
        try:
            await client.start(wait=30)
            assert supervisor.pid is not None
            yield _Signer(client, supervisor.pid)
        finally:
            await client.close()
            await supervisor.stop()

    async def key(self, signer: _Signer, scheme: str, curve: str) -> KeyRecord:
        """A new key, consented to."""
        org, key_id = self.person.org_id, World().new_id("key")
        evidence = self.person.consents("POST", "/keys", {"scheme": scheme, "curve": curve})
        made = await signer.client.generate(org, key_id, scheme, curve, "bench", evidence)
        place = (made.public_key, made.secret_kind, made.root_version, made.generation, made.record)
        return KeyRecord(org, key_id, scheme, curve, *place)

    def orders(self, key: KeyRecord, count: int) -> list[SignOrder]:
        """Orders that somebody consented to, each over a digest of its own."""
        path, kind = f"/keys/{key.key_id}/signatures", MESSAGE if key.scheme == "EdDSA" else DIGEST32
        made = []
        for _ in range(count):
            value = digest()
            evidence = self.person.consents("POST", path, {"kind": "Hash", "hash": f"0x{value}"})
            made.append(SignOrder(key, kind, bytes.fromhex(value), "bench", evidence))
        return made


@dataclass(frozen=True, slots=True)
class _Signer:
    client: SignerClient
    pid: int

    async def cost(self, orders: list[SignOrder], at_once: int) -> Cost:
        """CPU of an order, of ``at_once`` that are on their way together."""
        waiting = iter(orders)

        async def caller() -> None:
            for order in waiting:
                await self.client.sign(order)

        signer, client = cpu_seconds(self.pid), time.process_time()
        await asyncio.gather(*(caller() for _ in range(at_once)))
        client, signer = time.process_time() - client, cpu_seconds(self.pid) - signer
        return Cost(signer / len(orders) * 1e6, client / len(orders) * 1e6)


class _InProcess:
    """The record opened, the signature made and verified, the page wiped: what no signer can do without."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self._service = SignerService(open_provider(place.kek), clock=World().now, grant_level="G0")
        payload = memoryview(msgspec.msgpack.encode([place.root]))
        self._service.handle(memoryview(bytearray(msgspec.msgpack.encode(Order(0, "load", payload=payload)))))

    def cost(self, orders: list[SignOrder], at_once: int) -> Cost:
        """CPU of one, on the core of the signers: each after a pause, or one right after the other."""
        given = []
        for wanted in orders:
            order = about("sign", wanted.key)
            order.payload, order.payload_kind = memoryview(wanted.payload), wanted.kind
            given.append(order)
        taken = 0.0
        with self._place.on_core():
            for order in given:
                if at_once == 1:
                    time.sleep(_PAUSE_S)
                begun = time.thread_time()
                self._sign(order)
                taken += time.thread_time() - begun
        return Cost(taken / len(given) * 1e6, 0.0)

    def _sign(self, order: Order) -> None:
        service = self._service
        assert service.open(order) is None
        scheme = SCHEMES[order.scheme, order.curve]
        signature = sign(scheme, service.page, order.secret_kind, order.public_key, order.payload, order.tweak)
        service.page.wipe_work()
        assert not isinstance(signature, Refusal)


@dataclass
class Results:
    """By what was measured, scheme, and orders at once: the cost in each round."""

    costs: dict[tuple[str, str, int], list[Cost]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, what: str, scheme: str, at_once: int, cost: Cost) -> None:
        self.costs.setdefault((what, scheme, at_once), []).append(cost)

    def ratio(self, what: str, scheme: str, at_once: int, *, with_client: bool = False) -> float:
        """Median over the rounds of the signer's CPU by that in one process in the same round."""
        base = self.costs[_IN_PROCESS, scheme, at_once]
        return statistics.median(
            (each.signer + with_client * each.client) / alone.signer
            for each, alone in zip(self.costs[what, scheme, at_once], base, strict=True)
        )


def run(rounds: int, seconds: float, console: Console, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure, print; what was measured as JSON."""
    results, (core, client_core), all_cores = Results(), cores(), os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="cs-") as name:
        os.sched_setaffinity(0, client_core)
        try:
            place = _Place(Path(name), core, client_core)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_measure(place, results, rounds, int(seconds * _ORDERS_A_SECOND), tell))
        finally:
            os.sched_setaffinity(0, all_cores)
    _show(results, console)
    return _as_dict(results)


async def _measure(place: _Place, results: Results, rounds: int, count: int, tell: Callable[[str], None]) -> None:
    alone = _InProcess(place)
    async with AsyncExitStack() as stack:
        signers = {level: await stack.enter_async_context(place.signer(level, level)) for level in LIMITS}
        keys = {pair: await place.key(signers["G1"], *pair) for pair in PAIRS}
        modules = await _modules(place, stack, results)
        for number in range(rounds + 1):
            tell(f"round {number} of {rounds}" if number else "warming up")
            kept = results if number else Results()
            for (scheme, _), key in keys.items():
                for at_once in AT_ONCE:
                    kept.add(_IN_PROCESS, scheme, at_once, alone.cost(place.orders(key, count), at_once))
                    for level, signer in signers.items():
                        kept.add(level, scheme, at_once, await signer.cost(place.orders(key, count), at_once))
                for (mode, of), (module, its_key) in modules.items():
                    if of == scheme:
                        cost = await module.cost(place.orders(its_key, count // 4), 1)
                        kept.add(f"SoftHSM, {mode}, G1", scheme, 1, cost)


async def _modules(
    place: _Place, stack: AsyncExitStack, results: Results
) -> dict[tuple[str, str], tuple[_Signer, KeyRecord]]:
    """Signers whose keys are in SoftHSM2, by mode and scheme, where that is installed."""
    if not any(path.exists() for path in MODULES):
        results.missing.append("SoftHSM2 is not installed: tools/setup-test says how")
        return {}
    found = {}
    token = stack.enter_context(contextmanager(softhsm_token)(place.directory))
    for mode in _MODES:
        store = f"{token.spec(label='wrapping')}&mode={mode}"
        signer = await stack.enter_async_context(place.signer(f"hsm-{mode}-signer", "G1", store))
        for scheme, curve in PAIRS:
            try:
                found[mode, scheme] = signer, await place.key(signer, scheme, curve)
            except SignerRefused as refused:
                results.missing.append(f"SoftHSM, {mode}, {scheme}: {refused}")
    return found


def _show(results: Results, console: Console) -> None:
    console.print(machine())
    table = Table(title="CPU of one order, median of the rounds", title_justify="left")
    for name in ("scheme", "how", "at once", "signer µs", "client µs", "signer ×", "limit", "", "with client ×"):
        table.add_column(name, justify="left" if name in ("scheme", "how", "") else "right")
    for what, scheme, at_once in sorted(results.costs, key=lambda each: (each[1], each[2], each[0] != _IN_PROCESS)):
        costs = results.costs[what, scheme, at_once]
        signer, client = (statistics.median(getattr(cost, of) for cost in costs) for of in ("signer", "client"))
        ratio, limit = results.ratio(what, scheme, at_once), LIMITS.get(what)
        both = results.ratio(what, scheme, at_once, with_client=True)
        verdict = ["", ""]
        if limit is not None:
            verdict = [f"≤ {limit:g}", "[green]holds" if ratio <= limit else "[bold red]missed"]
        shown = [f"{signer:.0f}", f"{client:.0f}" if client else "", f"{ratio:.2f}"]
        table.add_row(scheme, what, str(at_once), *shown, *verdict, f"{both:.2f}" if client else "")
    console.print(table)
    for why in results.missing:
        console.print(f"not measured: {why}")


def _as_dict(results: Results) -> dict[str, Any]:
    return {
        "machine": machine(),
        "orders": [
            {
                "what": what,
                "scheme": scheme,
                "atOnce": at_once,
                "signerMicroseconds": [round(cost.signer, 1) for cost in costs],
                "clientMicroseconds": [round(cost.client, 1) for cost in costs],
                "ratio": results.ratio(what, scheme, at_once),
                "ratioWithClient": results.ratio(what, scheme, at_once, with_client=True),
                "limit": LIMITS.get(what),
            }
            for (what, scheme, at_once), costs in results.costs.items()
        ],
        "missing": results.missing,
    }
