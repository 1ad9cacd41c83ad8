"""JSON text that is byte for byte what JavaScript makes of it: ``JSON.stringify(JSON.parse(text)) === text``.

Receivers verify the signature of a webhook over their own re-serialisation of the body they parsed, so the body must be
written as ECMAScript writes it (ECMA-262, SerializeJSONProperty and Number::toString).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

#: Integers up to here are exact in JavaScript; larger ones are written as strings, so that no digit is lost.
MAX_SAFE = 2**53 - 1
#: Keys below that are array indices, which JavaScript moves to the front.
_MAX_INDEX = 2**32 - 1

_SURROGATE = re.compile("[\ud800-\udfff]")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")

Value = Any


def dumps(value: Value) -> str:
    """The text of a value made of what JSON has: ``dict``, ``list``, ``str``, numbers, ``bool`` and ``None``.

    Members keep their order, but those whose names are array indices come first, in ascending order. Integers beyond
    2^53 - 1 become strings; other numbers take the nearest double. Raises ``TypeError`` for any other type.
    """
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts)


def _write(value: Value, parts: list[str]) -> None:
    if value is None:
        parts.append("null")
    elif value is True:
        parts.append("true")
    elif value is False:
        parts.append("false")
    elif isinstance(value, str):
        parts.append(string(value))
    elif isinstance(value, int):
        parts.append(str(value) if -MAX_SAFE <= value <= MAX_SAFE else f'"{value}"')
    elif isinstance(value, float | Decimal):
        parts.append(number(float(value)))
    elif isinstance(value, Mapping):
        _write_object(value, parts)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        _write_array(value, parts)
    else:
        raise TypeError(f"{type(value).__name__} has no form in JSON")


def _write_object(value: Mapping[str, Value], parts: list[str]) -> None:
    separator = "{"
    for name in _ordered(value):
        parts.append(separator)
        parts.append(string(name))
        parts.append(":")
        _write(value[name], parts)
        separator = ","
    parts.append("{}" if separator == "{" else "}")


def _write_array(value: Sequence[Value], parts: list[str]) -> None:
    separator = "["
    for item in value:
        parts.append(separator)
        _write(item, parts)
        separator = ","
    parts.append("[]" if separator == "[" else "]")


def _ordered(value: Mapping[str, Value]) -> Iterator[str]:
    indices = [name for name in value if name[:1].isdigit() and _is_index(name)]
    if not indices:
        yield from value
        return
    yield from sorted(indices, key=int)
    found = set(indices)
    yield from (name for name in value if name not in found)


def _is_index(name: str) -> bool:
    return _INDEX.fullmatch(name) is not None and int(name) < _MAX_INDEX


def string(text: str) -> str:
    """A string with its quotes; lone surrogates escaped, everything else beyond U+001F as it is."""
    quoted = encode_basestring(text)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def number(value: float) -> str:
    """A double as ECMAScript writes it: the shortest digits that give it back; ``null`` for what JSON has no number."""
    if not math.isfinite(value):
        return "null"
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0") if exponent == "" else ("" if fraction == "0" else fraction)
    digits = (whole + fraction).lstrip("0")
    # The value is 0.digits times ten to the power of `point`.
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    return sign + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    """Digits with the decimal point after ``point`` of them, as Number::toString places it."""
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    power = point - 1
    shown = f"{'+' if power > 0 else '-'}{abs(power)}"
    return f"{digits}e{shown}" if count == 1 else f"{digits[0]}.{digits[1:]}e{shown}"
