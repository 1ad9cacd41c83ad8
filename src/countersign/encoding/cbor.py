"""The part of CBOR (RFC 8949) that authenticators write: WebAuthn's attestation objects, keys and extensions.

Integers, byte and text strings, arrays, maps, booleans and null. Tags, floats, other simple values and
indefinite lengths are refused: CTAP2 does not allow authenticators to write them, and a decoder that
knows them is a larger target.
"""

from __future__ import annotations

from typing import TypeAlias

Value: TypeAlias = "int | bytes | str | bool | list[Value] | dict[int | str, Value] | None"

MAX_DEPTH = 8
"""Nesting of arrays and maps, the outermost being level 1. CTAP2 permits four."""

_SIMPLE: dict[int, bool | None] = {20: False, 21: True, 22: None}


class BadCbor(ValueError):
    """Bytes that are not CBOR of the kind read here; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(data: bytes) -> Value:
    """The one item that fills ``data``; raises ``BadCbor``."""
    value, end = decode_item(data, 0)
    if end != len(data):
        raise BadCbor("bytes behind the CBOR item")
    return value


def decode_item(data: bytes, start: int) -> tuple[Value, int]:
    """The item that begins at ``start``, and where it ends; raises ``BadCbor``.

    The keys of maps are integers or texts, each once. Members of a map may stand in any order.
    """
    return _item(data, start, MAX_DEPTH)


def _item(data: bytes, start: int, depth: int) -> tuple[Value, int]:
    major, argument, at = _head(data, start)
    if major == 0:
        return argument, at
    if major == 1:
        return -1 - argument, at
    if major in (2, 3):
        end = at + argument
        if end > len(data):
            raise BadCbor("a string ends behind the data")
        if major == 2:
            return data[at:end], end
        try:
            return data[at:end].decode("utf-8"), end
        except UnicodeDecodeError:
            raise BadCbor("a text is not UTF-8") from None
    if major == 7 and argument in _SIMPLE and at == start + 1:
        return _SIMPLE[argument], at
    if major not in (4, 5):
        raise BadCbor("tags, floats and further simple values are not read")
    if depth == 0:
        raise BadCbor(f"nested deeper than {MAX_DEPTH} levels")
    # Every item takes a byte at least, so a claimed size beyond the data is found out before anything is made.
    if argument * (major - 3) > len(data) - at:
        raise BadCbor("an array or map ends behind the data")
    if major == 4:
        items: list[Value] = []
        for _ in range(argument):
            value, at = _item(data, at, depth - 1)
            items.append(value)
        return items, at
    members: dict[int | str, Value] = {}
    for _ in range(argument):
        key, at = _item(data, at, depth - 1)
        if (type(key) is not int and type(key) is not str) or key in members:
            raise BadCbor("a key of a map is no integer or text, or occurs twice")
        members[key], at = _item(data, at, depth - 1)
    return members, at


def _head(data: bytes, start: int) -> tuple[int, int, int]:
    """Major type, argument and the position behind them (RFC 8949 section 3)."""
    if start >= len(data):
        raise BadCbor("the data ends too early")
    major, argument = data[start] >> 5, data[start] & 31
    at = start + 1
    if argument < 24:
        return major, argument, at
    if argument > 27:
        raise BadCbor("indefinite lengths are not read")
    end = at + (1 << (argument - 24))
    if end > len(data):
        raise BadCbor("the data ends too early")
    return major, int.from_bytes(data[at:end], "big"), end
