"""Times as the API writes them: ISO 8601 in UTC with milliseconds, from and to milliseconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))",
    re.ASCII,
)


def to_iso(ms: int) -> str:
    """``2023-04-14T20:41:28.715Z`` for milliseconds since the epoch (years 1 to 9999)."""
    seconds, fraction = divmod(ms, 1000)
    return f"{_to_second(seconds)}.{fraction:03d}Z"


@lru_cache(maxsize=1024)
def _to_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def from_iso(text: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time with ``Z`` or a numeric offset.

    Seconds and a fraction of up to nine digits may be absent; what is finer than a millisecond is cut
    off. Raises ``ValueError`` for anything else: no offset, a week date, a 60th second, a day that does
    not exist.
    """
    # The form that we write, which all but a few are.
    if len(text) == 24 and text[19] == "." and text[23] == "Z" and text[20:23].isascii() and text[20:23].isdigit():
        return _from_second(text[:19]) + int(text[20:23])
    return _parse(text)


@lru_cache(maxsize=1024)
def _from_second(text: str) -> int:
    return _parse(f"{text}Z")


def _parse(text: str) -> int:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError("not an ISO 8601 time with Z or an offset")
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=UTC)
    ms = (moment - _EPOCH) // timedelta(milliseconds=1) + int((fraction or "")[:3].ljust(3, "0"))
    if sign is None:
        return ms
    if int(offset_hours) > 23 or int(offset_minutes) > 59:
        raise ValueError("the offset of the time is out of range")
    offset = (int(offset_hours) * 60 + int(offset_minutes)) * 60_000
    return ms - offset if sign == "+" else ms + offset
