"""Strangers come in one after the other, so that many at once do not hold up those who are known."""

from __future__ import annotations

import asyncio
from collections import deque


class Turnstile:
    """Lets one waiter through each time round the event loop, in order of coming.

    Between two of them the loop serves everybody else who has come meanwhile. Nobody is held while another works: what
    one waits for, such as a commit, all of them wait for together.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turning = False

    async def turn(self) -> None:
        """Wait for one's turn; at once when nobody came in this round."""
        loop = asyncio.get_running_loop()
        if not self._turning:
            self._turning = True
            loop.call_soon(self._next, loop)
            return
        mine: asyncio.Future[None] = loop.create_future()
        self._waiting.append(mine)
        await mine

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            following = self._waiting.popleft()
            # Who went away, because the client did, is passed over.
            if not following.done():
                following.set_result(None)
                loop.call_soon(self._next, loop)
                return
        self._turning = False
