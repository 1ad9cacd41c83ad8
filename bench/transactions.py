"""The transaction of a ceremony without the ceremony: the same statements through the same driver, on PostgreSQL.

A process of its own, on the server's core. Reads commands as JSON lines; answers the rate.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import asyncpg
import uvloop

from countersign.access.store import RECHECK
from countersign.audit.store import INSERT_ENTRY, INSERT_UNSEQUENCED
from countersign.keys.store import INSERT_KEY, RENAME_KEY
from countersign.world import World

#: About as long as the audit entry and the sealed payload of a rename.
_ENTRY, _PAYLOAD = "e" * 1500, os.urandom(1500)


async def run(command: dict[str, Any]) -> dict[str, float]:
    """Transactions by so many connections for some seconds."""
    url, org = command["url"], command["org"]
    world = World()
    connections = [await asyncpg.connect(url, statement_cache_size=1024) for _ in range(command["clients"])]
    token = await connections[0].fetchrow("SELECT token_id, user_id FROM tokens WHERE org_id = $1", org)
    credential = await connections[0].fetchval("SELECT credential_uuid FROM credentials WHERE org_id = $1", org)
    keys = [world.new_id("key") for _ in range(50)]
    for key in keys:
        made = (org, key, "EdDSA", "ed25519", world.randomness(32).hex(), "a", 1, "ks", world.now())
        await connections[0].execute(INSERT_KEY.numbered, *made, 0, None, None, 0, None, 0)
    begun = time.perf_counter()
    end = begun + command["seconds"]
    done = 0

    async def work(connection: asyncpg.Connection) -> None:
        nonlocal done
        while time.perf_counter() < end:
            entry = world.new_id("uj")
            await connection.execute("BEGIN")
            await connection.fetch(RECHECK.numbered, credential, org, token["token_id"])
            await connection.fetch(RENAME_KEY.numbered, f"treasury {done}", org, keys[done % len(keys)])
            row = (org, entry, token["user_id"], world.now(), _ENTRY, _PAYLOAD)
            await connection.fetch(INSERT_ENTRY.numbered, *row)
            await connection.fetch(INSERT_UNSEQUENCED.numbered, org, entry)
            await connection.execute("COMMIT")
            done += 1

    await asyncio.gather(*[work(connection) for connection in connections])
    seconds = time.perf_counter() - begun
    for connection in connections:
        await connection.close()
    return {"count": done, "seconds": seconds}


def main() -> None:
    """Answer commands until standard input ends."""
    os.sched_setaffinity(0, json.loads(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            print(json.dumps(runner.run(run(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
