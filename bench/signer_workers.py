"""``python -m bench.signer_workers``: rate, CPU and memory of a signer with 0, 1 and 2 worker processes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
from pathlib import Path

from countersign.keystores import (
    Authoriser,
    ConsentEvidence,
    KeyRecord,
    SignerClient,
    SignerSupervisor,
    SignOrder,
    create_root,
)
from countersign.keystores.kek import open_provider
from countersign.world import World

_ORDERS = 4000
_AT_ONCE = 64
_TICKS = os.sysconf("SC_CLK_TCK")
_IDS = {"organisation": "or-bench", "store": "ks-bench", "key": "ke-bench"}


def _family(pid: int) -> list[int]:
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def _cpu_seconds(pids: list[int]) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / _TICKS


def _megabytes(pids: list[int]) -> float:
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _evidence() -> ConsentEvidence:
    return ConsentEvidence(
        *("in-bench", _IDS["organisation"], "us-bench", "POST", "/keys/ke-bench/signatures", "", b"{}"),
        *("cr-bench", "-----BEGIN PUBLIC KEY-----", "Key", b"{}", b"s" * 64),
    )


async def _measure(workers: int, scheme: str, curve: str) -> str:
    with tempfile.TemporaryDirectory(prefix="ks") as name:
        kek, socket = f"dev:{name}/kek", f"{name}/run/s"
        authoriser = Authoriser(os.urandom(32))
        root = create_root(open_provider(kek), _IDS["store"], authoriser.public_key)
        extra = ("--grant-level", "G1", "--workers", str(workers))
        supervisor = SignerSupervisor(socket, kek, environment="sandbox", extra=extra)

        async def roots() -> list[bytes]:
            return [root]

        client = SignerClient(socket, authoriser, roots, store_id=_IDS["store"], world=World())
        await supervisor.start()
        try:
            await client.start(wait=20)
            while len(_family(supervisor.pid or 0)) != (workers + 2 if workers else 1):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
            org, key_id = _IDS["organisation"], _IDS["key"]
            made = await client.generate(org, key_id, scheme, curve, "bench", _evidence())
            place = (made.public_key, made.secret_kind, made.root_version, made.generation, made.record)
            key = KeyRecord(org, key_id, scheme, curve, *place)
            kind = "message" if scheme == "EdDSA" else "digest32"
            order = SignOrder(key, kind, hashlib.sha256(b"").digest(), "bench", _evidence())
            room = asyncio.Semaphore(_AT_ONCE)

            async def sign() -> None:
                async with room:
                    await client.sign(order)

            await asyncio.gather(*(sign() for _ in range(200)))
            pids = _family(supervisor.pid or 0)
            cpu, started = _cpu_seconds(pids), time.perf_counter()
            await asyncio.gather(*(sign() for _ in range(_ORDERS)))
            seconds = time.perf_counter() - started
            each = (_cpu_seconds(pids) - cpu) / _ORDERS * 1e6
            line = f"{_ORDERS / seconds:6.0f}/s {each:6.0f} us CPU {_megabytes(pids):6.1f} MB"
            return f"{scheme} {curve:<10} {workers} workers {line}"
        finally:
            await client.close()
            await supervisor.stop()


def main() -> None:
    """Print a line for each number of workers and scheme."""
    for scheme, curve in (("ECDSA", "secp256k1"), ("EdDSA", "ed25519")):
        for workers in (0, 1, 2):
            print(asyncio.run(_measure(workers, scheme, curve)))


if __name__ == "__main__":
    main()
