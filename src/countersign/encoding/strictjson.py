"""JSON with exactly one meaning, and its canonical form.

A signed request is compared as a JSON value, so the reader refuses every text that two parsers could
read differently (I-JSON, RFC 7493, and a bit more), and the canonical form gives equal values equal
bytes. It differs from RFC 8785 in two points that matter for money: members are sorted by code point,
and numbers are exact decimals that never pass through binary floating point.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from json.scanner import make_scanner
from typing import Any, NoReturn, cast

import msgspec

MAX_DEPTH = 64
"""Nesting of objects and arrays, the outermost object being level 1."""
MAX_DIGITS = 64
"""Digits of one number as written, and the largest absolute exponent."""


class BadJson(ValueError):
    """A text that is not strict JSON; ``reason`` says what is wrong, for the error message."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_object(data: bytes | str, *, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """The JSON object that ``data`` holds; raises ``BadJson`` for anything else.

    Refused: bytes that are not UTF-8, a byte order mark, any top level but an object, a member named
    twice in one object, ``NaN`` and ``Infinity``, lone surrogates, nesting beyond ``max_depth``, trailing
    data, and a number with more than 64 digits or an exponent beyond 64. Numbers with an integral value
    become ``int`` however they are written (``1.0``, ``1e3``), all others exact ``Decimal``.
    """
    plain = _plainly_written(data, max_depth)
    if plain is not None:
        return plain
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise BadJson("the text is not valid UTF-8") from None
    else:
        text = data
    if text.startswith("\ufeff"):
        raise BadJson("the text starts with a byte order mark")
    try:
        value = _read(text)
    except json.JSONDecodeError as error:
        raise BadJson(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise BadJson(f"nested deeper than {max_depth} levels") from None
    if type(value) is not dict:
        raise BadJson("the top level must be an object")
    # Only a text with that many brackets can be too deep, and only an escape (or a text that was never
    # UTF-8) can hold a surrogate, so ordinary bodies are not walked.
    if text.count("{") + text.count("[") > max_depth or "\\u" in text or not isinstance(data, bytes):
        _check_depth_and_strings(value, max_depth)
    return value


def _plainly_written(data: bytes | str, max_depth: int) -> dict[str, Any] | None:
    """The object that ``data`` holds, if these very bytes are how it is written: no reader can take them for another.

    A second member of a name, white space, a fraction, an escape that need not be: all of it is lost on the way to the
    value and back. ``None``: read it with care. Most bodies come this way, in a quarter of the time.
    """
    try:
        raw = data if isinstance(data, bytes) else data.encode("utf-8")
        if raw.count(b"{") + raw.count(b"[") > max_depth:
            return None
        value: dict[str, Any] = _PLAIN_DECODER.decode(raw)
        if _PLAIN_ENCODER.encode(value) != raw or _holds_long_number(value):
            return None
    except (msgspec.MsgspecError, UnicodeError, ArithmeticError):
        return None
    return value


def _holds_long_number(value: dict[str, Any]) -> bool:
    """Whether an integer inside has more digits than are read."""
    pending: list[Any] = [value]
    while pending:
        container = pending.pop()
        for item in container.values() if type(container) is dict else container:
            kind = type(item)
            if kind is dict or kind is list:
                pending.append(item)
            elif kind is int and not -_TOO_LARGE < item < _TOO_LARGE:
                return True
    return False


def _read(text: str) -> Any:
    # Most texts are an object and nothing around it; the decoder's own way looks for white space at both ends.
    if text.startswith("{"):
        try:
            value, end = _SCAN(text, 0)
        except StopIteration:
            end = -1  # the decoder says what is wrong
        if end == len(text):
            return value
    return _DECODER.decode(text)


def parse_payload(data: bytes | str, *, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Like ``parse_object``, but no text at all is the empty object, as in the body of a request."""
    return parse_object(data, max_depth=max_depth) if data else {}


def canonical(value: Any) -> bytes:
    """The canonical UTF-8 bytes of a value that ``parse_object`` could have made.

    No white space; members sorted by code point; in strings only ``"`` and ``\\`` (each behind a
    backslash) and U+0000-U+001F (as ``\\u00xx``, lower case) are escaped; numbers in plain decimal
    notation without exponent, trailing zeros or ``-0``. Raises ``TypeError`` for other types, floats
    among them, because a float is no longer the number that was written.
    """
    text = _ENCODER.encode(_decimals_as_text(value) if _holds_decimal(value) else value)
    if b"\\" in text:
        text = _SHORT_ESCAPE.sub(_long_escape, text)
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadJson("a member occurs twice in one object")
    return members


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS and len(text.lstrip("-")) > MAX_DIGITS:
        raise BadJson(f"a number has more than {MAX_DIGITS} digits")
    return int(text)


def _fraction(text: str) -> int | Decimal:
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa.lstrip("-").replace(".", "")) > MAX_DIGITS:
        raise BadJson(f"a number has more than {MAX_DIGITS} digits")
    magnitude = exponent.lstrip("+-").lstrip("0")
    if len(magnitude) > 2 or (magnitude and int(magnitude) > MAX_DIGITS):
        raise BadJson(f"a number has an exponent beyond {MAX_DIGITS}")
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number


def _constant(text: str) -> NoReturn:
    raise BadJson(f"{text} is not a JSON value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
_SCAN: Callable[[str, int], tuple[Any, int]] = make_scanner(cast("Any", _DECODER))
_TOO_LARGE = 10**MAX_DIGITS
# What is not an integer is written as text again, and so never plainly.
_PLAIN_DECODER = msgspec.json.Decoder(dict, float_hook=Decimal)
_PLAIN_ENCODER = msgspec.json.Encoder(decimal_format="string")
# Sorting by the UTF-8 bytes of the names is sorting by code point.
_ENCODER = msgspec.json.Encoder(order="sorted")
_SHORT_ESCAPE = re.compile(rb'\\["\\bfnrtu]')
_LONG_ESCAPES = {
    rb"\b": rb"\u0008",
    rb"\t": rb"\u0009",
    rb"\n": rb"\u000a",
    rb"\f": rb"\u000c",
    rb"\r": rb"\u000d",
}


def _long_escape(match: re.Match[bytes]) -> bytes:
    escape = match.group()
    return _LONG_ESCAPES.get(escape, escape)


def _check_depth_and_strings(value: dict[str, Any], max_depth: int) -> None:
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > max_depth:
            raise BadJson(f"nested deeper than {max_depth} levels")
        items: list[Any] = []
        for container in level:
            if type(container) is dict:
                items.extend(container)
                items.extend(container.values())
            else:
                items.extend(container)
        level = []
        for item in items:
            if type(item) is str:
                _check_string(item)
            elif type(item) is dict or type(item) is list:
                level.append(item)


def _check_string(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadJson("a string holds a lone surrogate") from None


def _holds_decimal(value: Any) -> bool:
    """Whether a ``Decimal`` is inside; ``TypeError`` for what JSON text cannot have produced."""
    pending = [value]
    found = False
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind is dict:
            pending.extend(item.values())
        elif kind is list:
            pending.extend(item)
        elif kind is Decimal:
            found = True
        elif kind is not str and kind is not int and kind is not bool and item is not None:
            raise TypeError(f"{kind.__name__} has no canonical JSON form")
    return found


def _decimals_as_text(value: Any) -> Any:
    if type(value) is dict:
        return {name: _decimals_as_text(member) for name, member in value.items()}
    if type(value) is list:
        return [_decimals_as_text(item) for item in value]
    if type(value) is Decimal:
        return msgspec.Raw(_plain(value).encode("ascii"))
    return value


def _plain(number: Decimal) -> str:
    if not number.is_finite():
        raise TypeError("a number that is not finite has no canonical JSON form")
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
