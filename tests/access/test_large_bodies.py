"""What is large is read on another thread, and what is small at once."""

from __future__ import annotations

import threading

import pytest

from countersign.access.large_bodies import LARGE, apart
from countersign.encoding import strictjson


async def test_only_what_is_large_leaves_the_thread_of_the_event_loop() -> None:
    here = threading.current_thread()
    assert await apart(LARGE - 1, threading.current_thread) is here
    assert await apart(LARGE, threading.current_thread) is not here


async def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(strictjson.BadJson, match="top level"):
        await apart(LARGE, lambda: strictjson.parse_object(b"[]"))
