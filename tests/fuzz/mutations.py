"""Ways to change a message. A codec knows one encoding and changes a value at its own level or at one inside.

``other`` is the value at the same place of another valid message: what an attacker would swap in.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from countersign.credentials.strict_der import der
from tests.fuzz.readers import read64

T = TypeVar("T")

#: Characters that look like others, vanish, or that parsers disagree about.
_UNICODE = (
    *("\u0000", "\u200b", "\u202e", "\ufeff", "\u00a0", "\u0301", "\u0430", "\u0131", "\ufb01", "\uff21", "\uff0e"),
    *("\u2215", "\u212a", "\ud800", "\udfff", "\U0001f511", "\U0010ffff", "\u00e9", "\u00df"),
)
_ASCII = (
    *" \t\r\n\"\\'/.,:;=+-_%{}[]()0aAzZ~",
    *("\r\n", "null", "true", "..", "//", "%00", "%2e", "%2F", "\\u0000", "==", "=", "\\n"),
)


class Codec(Protocol[T]):
    """Changes values of one encoding."""

    def mutate(self, rng: Random, value: T, other: T) -> T:
        """The value, changed; now and then it comes out as it was."""


class Bytes:
    """Bytes of which nothing else is known."""

    def mutate(self, rng: Random, value: bytes, other: bytes) -> bytes:
        if not value:
            return rng.randbytes(rng.randint(1, 8))
        start, end = _span(rng, len(value))
        match rng.randrange(10):
            case 0 | 1 | 2:
                return value[:start] + bytes([value[start] ^ 1 << rng.randrange(8)]) + value[start + 1 :]
            case 3:
                return value[:start] + bytes([rng.choice((0, 0x7F, 0x80, 0xFF))]) + value[start + 1 :]
            case 4:
                return rng.choice((value[:start], value[start:], value[: len(value) // 2], b""))
            case 5:
                return value[:start] + rng.randbytes(rng.randint(1, 8)) + value[start:]
            case 6:
                return value[:end] + value[start:]
            case 7:
                return value[:start] + value[end:]
            case 8:
                return other if rng.random() < 0.5 else value[:start] + other[start:]
            case _:
                return value + rng.choice((b"\x00", b"\n", b" ", other, rng.randbytes(4)))


class Text:
    """A text by its characters."""

    def mutate(self, rng: Random, value: str, other: str) -> str:
        if not value:
            return rng.choice(_ASCII)
        start, end = _span(rng, len(value))
        match rng.randrange(10):
            case 0:
                return value[:start] + rng.choice(_UNICODE) + value[start:]
            case 1:
                return value[:start] + rng.choice(_ASCII) + value[start:]
            case 2:
                return value[:start] + rng.choice((*_ASCII, *_UNICODE)) + value[start + 1 :]
            case 3:
                return value[:start] + chr(ord(value[start]) ^ 1 << rng.randrange(7)) + value[start + 1 :]
            case 4:
                return rng.choice((value[:start], value[start:], ""))
            case 5:
                return value[:end] + value[start:]
            case 6:
                return value[:start] + value[end:]
            case 7:
                return other if rng.random() < 0.5 else value[:start] + other[start:]
            case 8:
                return rng.choice((value.upper(), value.lower(), value.swapcase(), value[::-1], value.title()))
            case _:
                return rng.choice((f" {value}", f"{value} ", f"{value}\n", value * 2, f"{value},{other}", f'"{value}"'))


@dataclass(frozen=True)
class Number:
    """A whole number of a fixed size in bytes, as in binary forms."""

    size: int

    def mutate(self, rng: Random, value: bytes, other: bytes) -> bytes:
        number = int.from_bytes(value, "big") + rng.choice((-256, -2, -1, 1, 2, 256))
        changed = (number % (1 << 8 * self.size)).to_bytes(self.size, "big")
        return rng.choice((changed, bytes(self.size), b"\xff" * self.size, other, rng.randbytes(self.size)))


@dataclass(frozen=True)
class Base64:
    """Base64 text of bytes that have an encoding of their own."""

    inner: Codec[bytes]

    def mutate(self, rng: Random, value: str, other: str) -> str:
        chance = rng.random()
        if chance < 0.75:
            inside = _both(read64, value, other)
            if inside is not None:
                return write64(self.inner.mutate(rng, *inside))
        if chance < 0.9:
            return _respelled64(rng, value)
        return Text().mutate(rng, value, other)


@dataclass(frozen=True)
class Hex:
    """Hexadecimal text of such bytes."""

    inner: Codec[bytes]

    def mutate(self, rng: Random, value: str, other: str) -> str:
        chance = rng.random()
        if chance < 0.7:
            inside = _both(bytes.fromhex, value, other)
            if inside is not None:
                return self.inner.mutate(rng, *inside).hex()
        if chance < 0.85:
            spaced = " ".join(value[at : at + 2] for at in range(0, len(value), 2))
            return rng.choice((value.upper(), f"0x{value}", f"0{value}", spaced))
        return Text().mutate(rng, value, other)


class EcdsaSignature:
    """An ECDSA signature in DER, for groups of one order; other bytes are changed as bytes."""

    def __init__(self, order: int) -> None:
        self._order = order

    def mutate(self, rng: Random, value: bytes, other: bytes) -> bytes:
        try:
            r, s = decode_dss_signature(value)
        except ValueError:
            return Bytes().mutate(rng, value, other)
        order = self._order
        match rng.randrange(10):
            case 0:
                return _pair(r, order - s)
            case 1:
                return _pair(*rng.choice(((0, s), (r, 0), (s, r), (1, 1), (order, s), (r, order), (-r, s), (r, -s))))
            case 2:
                return _pair(*rng.choice(((r + order, s), (r, s + order), (r + 1, s), (r, s - 1))))
            case 3:
                padded = b"\x02" + bytes([len(_integer(r)) - 1]) + b"\x00" + _integer(r)[2:]
                return der(0x30, padded + _integer(s))
            case 4:
                body = _integer(r) + _integer(s)
                long = b"\x30\x81" + bytes([len(body) & 0xFF]) + body
                return rng.choice((long, b"\x30\x80" + body + b"\x00\x00", b"\x31" + der(0x30, body)[1:]))
            case 5:
                size = (order.bit_length() + 7) // 8
                return _raw(r, s, size)
            case 6:
                return rng.choice((value + b"\x00", der(0x30, value), der(0x30, _integer(r) + _integer(s) * 2), other))
            case _:
                return Bytes().mutate(rng, value, other)


class RawEcdsaSignature:
    """The same as two numbers side by side (RFC 7518 section 3.4)."""

    def __init__(self, order: int) -> None:
        self._order = order

    def mutate(self, rng: Random, value: bytes, other: bytes) -> bytes:
        if len(value) != 64 or rng.random() < 0.5:
            return Bytes().mutate(rng, value, other)
        r, s = int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big")
        twins = (r, self._order - s), (r, 0), (0, s), (s, r), (self._order, s), (r, self._order)
        return rng.choice((*(_raw(*twin) for twin in twins), _pair(r, s)))


class Pem:
    """A PEM block."""

    def mutate(self, rng: Random, value: str, other: str) -> str:
        lines, others = value.split("\n"), other.split("\n")
        body, other_body = "".join(lines[1:-2]), "".join(others[1:-2])
        match rng.randrange(8) if len(lines) > 2 else 0:
            case 0:
                return Text().mutate(rng, value, other)
            case 1:
                label = rng.choice(("RSA PUBLIC KEY", "EC PUBLIC KEY", "PRIVATE KEY", "CERTIFICATE", "public key"))
                return value.replace("PUBLIC KEY", label)
            case 2:
                respelled = (
                    *(value.replace("\n", "\r\n"), value.replace("\n", "\\n"), value.rstrip("\n"), value + "\n"),
                    *("\n".join((lines[0], body, lines[-2])), value.replace("\n", ""), value.replace("\n", "\r")),
                )
                return rng.choice(respelled)
            case 3:
                return rng.choice(
                    (value + other, other + value, "x" + value, value + "x", f"\n{value}", f"\ufeff{value}")
                )
            case _:
                changed = Base64(Bytes()).mutate(rng, body, other_body)
                with suppress(ValueError):
                    changed = b2a_base64(read64(changed), newline=False).decode()
                return f"{lines[0]}\n{changed}\n{lines[-2]}\n"


@dataclass(frozen=True)
class Sequenced:
    """Parts of fixed or computed sizes one behind the other: ``split`` gives each part with its codec."""

    split: Callable[[bytes], Sequence[tuple[bytes, Codec[bytes]]]]

    def mutate(self, rng: Random, value: bytes, other: bytes) -> bytes:
        if rng.random() < 0.3:
            return Bytes().mutate(rng, value, other)
        parts = _both(self.split, value, other)
        if parts is None:
            return Bytes().mutate(rng, value, other)
        mine, others = parts
        at = rng.randrange(len(mine))
        part, codec = mine[at]
        changed = codec.mutate(rng, part, others[at][0] if at < len(others) else part)
        return b"".join([changed if number == at else each for number, (each, _) in enumerate(mine)])


def _split_authenticator_data(data: bytes) -> list[tuple[bytes, Codec[bytes]]]:
    from tests.fuzz.trees import Cbor

    parts: list[tuple[bytes, Codec[bytes]]] = [
        (data[:32], Bytes()),
        (data[32:33], Bytes()),
        (data[33:37], Number(4)),
    ]
    if len(data) > 55:
        end = 55 + int.from_bytes(data[53:55], "big")
        parts += [(data[37:53], Bytes()), (data[53:55], Number(2)), (data[55:end], Bytes()), (data[end:], Cbor())]
    elif len(data) > 37:
        parts.append((data[37:], Cbor()))
    return parts


#: Authenticator data of WebAuthn.
AUTHENTICATOR_DATA = Sequenced(_split_authenticator_data)


def _span(rng: Random, size: int) -> tuple[int, int]:
    start = rng.randrange(size)
    return start, min(size, start + rng.randint(1, 16))


def _both(read: Callable[[Any], T], value: Any, other: Any) -> tuple[T, T] | None:
    """What is inside both; a value that an earlier change made unreadable has no inside."""
    try:
        inside = read(value)
    except ValueError:
        return None
    try:
        return inside, read(other)
    except ValueError:
        return inside, inside


def write64(data: bytes) -> str:
    """Base64url without padding."""
    return b2a_base64(data, newline=False).decode().rstrip("=").replace("+", "-").replace("/", "_")


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _respelled64(rng: Random, text: str) -> str:
    """Other texts that lenient decoders take for the same bytes."""
    bare = text.rstrip("=")
    standard = bare.replace("-", "+").replace("_", "/")
    padding = "=" * (-len(bare) % 4)
    spare = bare
    if padding and bare and bare[-1] in _ALPHABET:
        spare = bare[:-1] + _ALPHABET[_ALPHABET.index(bare[-1]) ^ 1]
    middle = len(bare) // 2
    spelled = (
        bare + padding,
        standard,
        standard + padding,
        bare + "=",
        bare + "===",
        spare,
        spare + padding,
        f"{bare}\n",
    )
    broken = [bare[:middle] + between + bare[middle:] for between in "\n= "]
    return rng.choice((*spelled, *broken))


def _integer(value: int) -> bytes:
    return der(0x02, value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "big", signed=True))


def _pair(r: int, s: int) -> bytes:
    return der(0x30, _integer(r) + _integer(s))


def _raw(r: int, s: int, size: int = 32) -> bytes:
    return b"".join((number % (1 << 8 * size)).to_bytes(size, "big") for number in (r, s))
