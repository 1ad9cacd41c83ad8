"""The bare HTTP client: posts the same body again and again, so many at a time, over connections that it keeps.

A process of its own, on the server's core. Reads commands as JSON lines; answers the seconds that a command took, and
those of CPU time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import httpx
import uvloop


async def run(command: dict[str, Any]) -> dict[str, float]:
    """Post ``count`` times."""
    url, body, headers = command["url"], command["body"].encode(), command["headers"]
    left = command["count"]
    async with httpx.AsyncClient(trust_env=False) as client:

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                answer = await client.post(url, content=body, headers=headers)
                answer.raise_for_status()

        begun, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*[work() for _ in range(command["clients"])])
        return {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - used}


def main() -> None:
    """Answer commands until standard input ends."""
    os.sched_setaffinity(0, json.loads(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            print(json.dumps(runner.run(run(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
