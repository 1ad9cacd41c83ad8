"""Large texts are read on a thread of their own, one at a time: nobody else waits while a megabyte of JSON is parsed.

That much JSON, made to be costly, takes a tenth of a second and more. On another thread it gives the interpreter lock
back every few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

#: Bytes from which on a text is large: what is smaller is read within a few milliseconds, whatever it holds.
LARGE = 64 << 10
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")


async def apart(size: int, work: Callable[[], T]) -> T:
    """Do work on a text of so many bytes; its value, or what it raises."""
    if size < LARGE:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_THREAD, work)
