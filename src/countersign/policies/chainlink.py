"""What an aggregator contract of Chainlink is asked over JSON-RPC, and what its answers say: values in, values out.

``latestRoundData()`` is (round, answer, started, updated, answered in), five words; ``decimals()`` one. A feed has one
currency, which is the dollar here.
"""

from __future__ import annotations

import re
from decimal import Decimal, Inexact, InvalidOperation, Overflow

import msgspec

from countersign.policies.prices import EXACT, Quote

LATEST_ROUND_DATA, DECIMALS = "0xfeaf968c", "0x313ce567"
_WORD = 64
_RESULT = re.compile(r"0x(?:[0-9a-f]{64}){1,5}", re.ASCII | re.IGNORECASE)
_MOST_DECIMALS = 77


def call(aggregator: str, selector: str) -> bytes:
    """The body of a request that reads one of the two at the newest block."""
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "eth_call",
        "params": [{"to": aggregator, "data": selector}, "latest"],
    }
    return msgspec.json.encode(body)


def answer(source: str, round_data: bytes, decimals: bytes) -> Quote:
    """The price out of the bodies of both answers, exactly; ``fault`` says what else they were."""
    words, digits = _words(round_data), _words(decimals)
    if words is None or digits is None or len(words) != 5 or len(digits) != 1:
        return Quote(source, None, None, "its answer can't be read")
    round_id, value, _, updated, answered_in = words
    if value >= 1 << 255 or digits[0] > _MOST_DECIMALS:
        return Quote(source, None, None, "its price is no positive number")
    if answered_in < round_id or not 0 < updated < 1 << 40:
        return Quote(source, None, None, "its round has no answer yet")
    try:
        return Quote(source, EXACT.scaleb(Decimal(value), -digits[0]), updated * 1000)
    except (Inexact, InvalidOperation, Overflow):
        return Quote(source, None, None, "its price is no positive number")


class _Answer(msgspec.Struct):
    result: str | None = None


def _words(body: bytes) -> list[int] | None:
    """The words of the result; nothing for an error or any other text."""
    try:
        result = msgspec.json.decode(body, type=_Answer).result
    except (msgspec.MsgspecError, ValueError):
        return None
    if result is None or not _RESULT.fullmatch(result):
        return None
    return [int(result[at : at + _WORD], 16) for at in range(2, len(result), _WORD)]
