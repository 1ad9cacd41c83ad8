"""The request nonce header: replay protection that a caller may ask for, or a server demand.

A JSON object with an id (``uuid`` or ``nonce``) and a time (``date`` or ``datetime``), raw or in
base64; forms of several client generations are read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from countersign.access import store
from countersign.encoding import base64url, strictjson
from countersign.storage import Transaction

PAST_MS = 300_000
FUTURE_MS = 60_000
LEAST_LENGTH = 12
STRICT_LEAST_LENGTH = 13
_MAX_HEADER = 512
_MAX_ID = 128


@dataclass(frozen=True, slots=True)
class Nonce:
    """``digest``: hex SHA-256 of the id; ``expires_at``: until when (ms) it must be remembered."""

    digest: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the header is no valid nonce (for the log)."""

    reason: str


def parse(header: str, now_ms: int, *, strict: bool, least_length: int = LEAST_LENGTH) -> Nonce | Refused:
    """Read the header: an id of at least ``least_length`` characters.

    ``strict`` takes only base64url of ``{uuid, date}``, with an id of 13 characters or more.
    """
    if len(header) > _MAX_HEADER:
        return Refused("longer than 512 characters")
    raw_json = header.startswith("{")
    try:
        data = header.encode() if raw_json else base64url.decode_tolerant(header)
        value = strictjson.parse_object(data)
    except ValueError as error:
        return Refused(f"not a JSON object: {error}")
    ids = [name for name in ("uuid", "nonce") if name in value]
    dates = [name for name in ("date", "datetime") if name in value]
    if len(ids) != 1 or len(dates) != 1:
        return Refused("needs exactly one id and one date")
    if strict and (raw_json or ids != ["uuid"] or dates != ["date"]):
        return Refused("not the base64url form of uuid and date")
    identifier, date = value[ids[0]], value[dates[0]]
    least = max(least_length, STRICT_LEAST_LENGTH) if strict else least_length
    if not isinstance(identifier, str) or not least <= len(identifier) <= _MAX_ID:
        return Refused("the id is not a text of permitted length")
    if not all("!" <= character <= "~" for character in identifier):
        return Refused("the id holds other than visible ASCII")
    moment = _milliseconds(date)
    if moment is None or not -PAST_MS <= moment - now_ms <= FUTURE_MS:
        return Refused("the date is not an ISO 8601 time within the window")
    return Nonce(hashlib.sha256(identifier.encode()).hexdigest(), moment + PAST_MS + FUTURE_MS)


def _milliseconds(date: object) -> int | None:
    if not isinstance(date, str) or "T" not in date or len(date) > 40:
        return None
    try:
        moment = datetime.fromisoformat(date)
    except ValueError:
        return None
    return None if moment.tzinfo is None else int(moment.timestamp() * 1000)


def remember(scope: str, nonce: Nonce) -> Transaction[bool]:
    """Take the nonce for good; false when it was taken before."""
    rows = yield store.REMEMBER_NONCE, (scope, nonce.digest, nonce.expires_at)
    return bool(rows)


def forget(now_ms: int) -> Transaction[None]:
    """Drop nonces whose window has long passed."""
    yield store.FORGET_NONCES, (now_ms,)
