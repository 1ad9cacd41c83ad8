"""Frames as they come in pieces, and what stays in memory of one that held a passphrase."""

from __future__ import annotations

import pytest

from countersign.keystores.memory import wipe
from countersign.keystores.protocol import FrameBuffer, frame

SECRET = b"correct horse battery staple "


@pytest.mark.parametrize("before", [0, 100, 10_000])
@pytest.mark.parametrize("size", [200, 10_000, 60_000])
def test_nothing_stays_behind_of_a_frame_that_came_in_pieces(before: int, size: int) -> None:
    buffer, places, came = FrameBuffer(), [], []
    data = memoryview(frame(b"a" * before) + frame((SECRET * size)[:size]))
    while len(data):
        places.append(buffer._buffer)
        room = buffer.writable()
        piece = data[: min(len(room), 5_000)]
        room[: len(piece)] = piece
        data = data[len(piece) :]
        frames = buffer.received(len(piece))
        came += [bytes(view) for view in frames]
        for view in frames:
            wipe(view)
        buffer.compact(frames)
    assert came == [b"a" * before, (SECRET * size)[:size]]
    assert not any(b"horse" in place for place in (*places, buffer._buffer))


def test_nothing_stays_behind_of_a_frame_that_never_ended() -> None:
    buffer = FrameBuffer()
    piece = frame(SECRET)[:-1]
    buffer.writable()[: len(piece)] = piece
    assert not buffer.received(len(piece))
    buffer.compact([])
    buffer.wipe()
    assert b"horse" not in buffer._buffer
