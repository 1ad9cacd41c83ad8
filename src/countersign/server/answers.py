"""Answers as bytes, and when they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus

import structlog

from countersign.api import Response

log = structlog.get_logger("countersign.http")


class Outbox:
    """Has the answers that one round of the event loop made written right after each other.

    One by one, as they are made, each finds its reader asleep again: to wake a client on the same machine costs more
    than all else that the system does for an answer.
    """

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: list[Callable[[], None]] = []

    def add(self, write: Callable[[], None]) -> None:
        """Call ``write`` when all that is at hand in this round has been done."""
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._flush)
        self._ready.append(write)

    def _flush(self) -> None:
        ready, self._ready = self._ready, []
        for write in ready:
            try:
                write()
            except Exception:
                # The others have nothing to do with it.
                log.exception("an answer could not be written")


#: Without a body, a length would be that of another answer (RFC 9110 section 8.6).
_BODILESS = {204: b"HTTP/1.1 204 No Content\r\n", 304: b"HTTP/1.1 304 Not Modified\r\n"}


@lru_cache(maxsize=256)
def _status_and_type(status: int, media_type: str) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {media_type}\r\ncontent-length: ".encode()


def serialise(response: Response, headers: tuple[tuple[bytes, bytes], ...], *, close: bool, head: bool) -> bytes:
    """The bytes of an answer. ``head``: to a HEAD request, which is told the length of a body it does not get."""
    parts: list[bytes]
    bodiless = _BODILESS.get(response.status)
    if bodiless is not None:
        parts = [bodiless]
    else:
        parts = [_status_and_type(response.status, response.media_type), b"%d\r\n" % len(response.content)]
    if response.headers:
        parts.append(_named(response.headers))
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    if not head:
        parts.append(response.content)
    return b"".join(parts)


def _named(headers: Mapping[str, str]) -> bytes:
    return "".join([f"{name.lower()}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")
