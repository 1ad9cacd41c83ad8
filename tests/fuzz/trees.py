"""Changes of structured messages: JSON and CBOR by their values and by how these are written, and our tokens."""

from __future__ import annotations

import hmac
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fuzz.mutations import Base64, Bytes, Codec, Text, write64
from tests.fuzz.readers import read64, read_cbor


class Pairs(list[tuple[Any, Any]]):
    """The members of an object, of which a name may occur twice."""


class Written(str):
    """A number, or something that passes for one, as it shall be written in JSON."""

    __slots__ = ()


_NUMBERS = (
    *("0", "-0", "1", "-1", "1.0", "1e0", "0.1", "1e64", "1e400", "-1e-400", "NaN", "Infinity", "01", "+1", "0x1"),
    *map(str, (2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**63, 10**70)),
)
_INTEGERS = (0, 1, -1, 23, 24, 255, 256, -256, 2**31, 2**32 - 1, 2**63, 2**64 - 1, -(2**64), 10)


def _deep(rng: Random, value: Any) -> Any:
    for _ in range(rng.choice((1, 2, 9, 65, 200))):
        value = [value] if rng.random() < 0.7 else Pairs([("a", value)])
    return value


def _scalar(rng: Random, binary: bool) -> Any:
    if binary:
        return rng.choice(
            (None, True, False, rng.choice(_INTEGERS), "", "none", b"", rng.randbytes(4), 1.5, Pairs(), [])
        )
    return rng.choice(
        (None, True, False, Written(rng.choice(_NUMBERS)), "", "0", "none", Pairs(), [], Pairs([("", "")]))
    )


def _slots(value: Any) -> list[tuple[list[Any], int]]:
    """Every member and item inside, as its container and index."""
    found: list[tuple[list[Any], int]] = []
    pending = [value]
    while pending:
        container = pending.pop()
        for at, item in enumerate(container):
            found.append((container, at))
            inner = item[1] if isinstance(container, Pairs) else item
            if isinstance(inner, list):
                pending.append(inner)
    return found


def _get(slot: tuple[list[Any], int]) -> Any:
    container, at = slot
    return container[at][1] if isinstance(container, Pairs) else container[at]


def _set(slot: tuple[list[Any], int], value: Any) -> None:
    container, at = slot
    container[at] = (container[at][0], value) if isinstance(container, Pairs) else value


def change_tree(rng: Random, tree: Any, other: Any, *, binary: bool) -> Any:
    """One change to the values of a tree of lists and ``Pairs``; the tree itself is changed."""
    slots = _slots(tree) if isinstance(tree, list) else []
    others = _slots(other) if isinstance(other, list) else []
    if not slots:
        return _scalar(rng, binary)
    slot = rng.choice(slots)
    container, at = slot
    value = _get(slot)
    match rng.randrange(12):
        case 0 | 1:
            _set(slot, _scalar(rng, binary))
        case 2:
            del container[at]
        case 3:
            new = _scalar(rng, binary)
            container.insert(rng.randint(0, len(container)), ("extra", new) if isinstance(container, Pairs) else new)
        case 4:
            twin = container[at] if rng.random() < 0.5 else _twin(container, at, _scalar(rng, binary))
            container.insert(rng.randint(0, len(container)), twin)
        case 5:
            if isinstance(container, Pairs):
                container[at] = (_renamed(rng, container[at][0]), value)
        case 6:
            another = rng.choice(slots)
            mine, theirs = value, _get(another)
            if not (isinstance(mine, list) or isinstance(theirs, list)):
                _set(slot, theirs)
                _set(another, mine)
        case 7:
            if others:
                _set(slot, _get(rng.choice(others)))
        case 8:
            _set(slot, _deep(rng, value))
        case 9:
            rng.shuffle(container)
        case 10:
            _set(slot, value if isinstance(value, list) else str(value))
        case _:
            _set(slot, _changed_leaf(rng, value))
    return tree


def _twin(container: list[Any], at: int, value: Any) -> Any:
    return (container[at][0], value) if isinstance(container, Pairs) else value


def _renamed(rng: Random, name: Any) -> Any:
    if isinstance(name, str):
        return rng.choice(
            (name.upper(), name + " ", name + "\u200b", "", name.replace("a", "\u0430"), f"_{name}", name * 2)
        )
    if isinstance(name, int):
        return rng.choice((str(name), name + 1, -name, 0, bytes([name % 256])))
    return rng.choice((str(name), 0))


def _changed_leaf(rng: Random, value: Any) -> Any:
    if isinstance(value, Written):
        return Written(rng.choice((value + ".0", value + "e0", value + "e1", f"-{value}", value + "0", value + ".5")))
    if isinstance(value, str):
        return Text().mutate(rng, value, "")
    if isinstance(value, bytes):
        return Bytes().mutate(rng, value, b"")
    if isinstance(value, bool) or value is None:
        return not value
    return value + rng.choice((1, -1)) if isinstance(value, int) else value


@dataclass(frozen=True)
class Json:
    """JSON text in UTF-8; ``fields`` are the encodings of members, wherever they stand."""

    fields: Mapping[str, Codec[str]] = field(default_factory=dict)

    def mutate(self, rng: Random, value: bytes, other: bytes) -> bytes:
        chance = rng.random()
        try:
            tree, another = parse_json(value), parse_json(other)
        except (ValueError, RecursionError):
            chance = 1.0
        if chance < 0.6 and self.fields:
            return write_json(rng, self._change_field(rng, tree, another))
        if chance < 0.85:
            return write_json(rng, change_tree(rng, tree, another, binary=False))
        if chance < 0.9:
            return write_json(rng, tree, respell=True)
        if chance < 0.905:
            return rng.choice((b"[", b'{"a":', b'[{"a":')) * rng.choice((100, 10_000)) + value
        return Bytes().mutate(rng, value, other)

    def _change_field(self, rng: Random, tree: Any, other: Any) -> Any:
        slots = [slot for slot in _named(tree) if slot[0][slot[1]][0] in self.fields and isinstance(_get(slot), str)]
        if not slots:
            return change_tree(rng, tree, other, binary=False)
        slot = rng.choice(slots)
        name = slot[0][slot[1]][0]
        swaps = [_get(each) for each in _named(other) if each[0][each[1]][0] == name and isinstance(_get(each), str)]
        value = _get(slot)
        _set(slot, self.fields[name].mutate(rng, value, rng.choice(swaps) if swaps else value))
        return tree


def _named(tree: Any) -> list[tuple[list[Any], int]]:
    return [slot for slot in _slots(tree) if isinstance(slot[0], Pairs)] if isinstance(tree, list) else []


def parse_json(data: bytes) -> Any:
    """A tree of lists and ``Pairs`` with numbers as they were written."""
    return json.loads(data.decode("utf-8"), object_pairs_hook=Pairs, parse_int=Written, parse_float=Written)


def write_json(rng: Random, value: Any, *, respell: bool = False) -> bytes:
    """JSON text, which need not be valid. ``respell``: with white space and escapes that mean nothing."""
    ascii_only = rng.random() < 0.5
    gaps = rng.choice((" ", "\n", "\t", "\r\n  ")) if respell else ""

    def text(item: Any) -> str:
        if isinstance(item, Pairs):
            return "{" + ("," + gaps).join(f"{text(name)}:{gaps}{text(member)}" for name, member in item) + gaps + "}"
        if isinstance(item, list):
            return "[" + ("," + gaps).join(map(text, item)) + gaps + "]"
        if isinstance(item, Written):
            return str.__str__(item)
        if isinstance(item, str) and respell and rng.random() < 0.3:
            return '"' + "".join(f"\\u{unit:04x}" for unit in _units(item)) + '"'
        return json.dumps(item, ensure_ascii=ascii_only)

    return text(value).encode("utf-8", "surrogatepass")


def _units(text: str) -> tuple[int, ...]:
    encoded = text.encode("utf-16-be", "surrogatepass")
    return struct.unpack(f">{len(encoded) // 2}H", encoded)


@dataclass(frozen=True)
class Cbor:
    """One CBOR item; ``fields`` are the encodings of byte strings that are members of maps, by their names."""

    fields: Mapping[str, Codec[bytes]] = field(default_factory=dict)

    def mutate(self, rng: Random, value: bytes, other: bytes) -> bytes:
        chance = rng.random()
        try:
            tree, another = _pairs(read_cbor(value)), _pairs(read_cbor(other))
        except ValueError:
            chance = 1.0
        if chance < 0.5 and self.fields:
            slots = [
                slot for slot in _named(tree) if slot[0][slot[1]][0] in self.fields and isinstance(_get(slot), bytes)
            ]
            if slots:
                slot = rng.choice(slots)
                name = slot[0][slot[1]][0]
                swaps = [_get(each) for each in _named(another) if each[0][each[1]][0] == name]
                swap = swaps[0] if swaps and isinstance(swaps[0], bytes) else _get(slot)
                _set(slot, self.fields[name].mutate(rng, _get(slot), swap))
                return write_cbor(tree)
        if chance < 0.75:
            return write_cbor(change_tree(rng, tree, another, binary=True))
        if chance < 0.85:
            return write_cbor(tree, rng)
        return Bytes().mutate(rng, value, other)


def _pairs(value: Any) -> Any:
    if isinstance(value, dict):
        # The library makes times and numbers of tagged items.
        return Pairs(
            (name if isinstance(name, int | str | bytes) else str(name), _pairs(member))
            for name, member in value.items()
        )
    return [_pairs(item) for item in value] if isinstance(value, list) else value


def write_cbor(value: Any, rng: Random | None = None) -> bytes:
    """CBOR; with ``rng`` in other forms: long heads, indefinite lengths, tags."""
    if rng is not None and rng.random() < 0.1:
        return b"\xc1" + write_cbor(value)
    if isinstance(value, bool) or value is None:
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, int):
        return _head(0, value, rng) if value >= 0 else _head(1, -1 - value, rng)
    if isinstance(value, bytes | str):
        raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        return _head(2 if isinstance(value, bytes) else 3, len(raw), rng) + raw
    if not isinstance(value, list):
        return b"\xf7"
    if isinstance(value, Pairs):
        parts, major = [write_cbor(part, rng) for pair in value for part in pair], 5
    else:
        parts, major = [write_cbor(item, rng) for item in value], 4
    if rng is not None and rng.random() < 0.1:
        return bytes([major << 5 | 31]) + b"".join(parts) + b"\xff"
    return _head(major, len(value), rng) + b"".join(parts)


def _head(major: int, argument: int, rng: Random | None) -> bytes:
    argument %= 1 << 64
    sizes = [size for size in (0, 1, 2, 4, 8) if argument < (24 if size == 0 else 1 << 8 * size)]
    size = rng.choice(sizes) if rng is not None and rng.random() < 0.2 else sizes[0]
    if size == 0:
        return bytes([major << 5 | argument])
    return bytes([major << 5 | 23 + size.bit_length()]) + argument.to_bytes(size, "big")


#: A key that an attacker has.
_ATTACKER = Ed25519PrivateKey.from_private_bytes(b"attacker" * 4)


@dataclass(frozen=True)
class Jwt:
    """A compact token. ``public``: what an attacker may know of the keys, and may try as a MAC secret."""

    public: bytes = b""

    def mutate(self, rng: Random, value: str, other: str) -> str:
        segments, others = value.split("."), other.split(".")
        if len(segments) != 3 or len(others) != 3 or rng.random() < 0.15:
            return Text().mutate(rng, value, other)
        at = rng.randrange(3)
        chance = rng.random()
        if chance < 0.5:
            segments[at] = Base64(Bytes() if at == 2 else Json()).mutate(rng, segments[at], others[at])
        elif chance < 0.6:
            segments[at] = others[at]
        elif chance < 0.65:
            rng.shuffle(segments)
        elif chance < 0.95:
            return self._forged(rng, segments, others)
        else:
            segments = rng.choice((segments[:2], [*segments, ""], [*segments[:2], ""], [*segments, segments[2]]))
        return ".".join(segments)

    def _forged(self, rng: Random, segments: list[str], others: list[str]) -> str:
        """Another header or other claims, under a key that is not the server's."""
        try:
            header = json.loads(read64(segments[0]))
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict):
            return ".".join(others)
        header.update(
            rng.choice(
                (
                    *(
                        {"alg": "none"},
                        {"alg": "None"},
                        {"alg": "HS256"},
                        {"alg": "EdDSA"},
                        {"alg": "RS256"},
                        {"alg": None},
                    ),
                    *({"kid": "../../dev/null"}, {"kid": ""}, {"kid": None}, {"kid": ["a"]}, {"crit": ["exp"]}),
                    *({"jku": "https://attacker.example/jwks"}, {"jwk": _JWK}, {"x5c": ["AAAA"]}, {"typ": "jwt"}, {}),
                    *(
                        {"typ": "JWT"},
                        {"typ": "action+jwt"},
                        {"typ": "challenge+jwt"},
                        {"typ": "at+jwt"},
                        {"b64": False},
                    ),
                )
            )
        )
        head = write64(json.dumps(header, separators=(",", ":")).encode())
        claims = segments[1] if rng.random() < 0.5 else Base64(Json()).mutate(rng, segments[1], others[1])
        signed = f"{head}.{claims}".encode("utf-8", "surrogatepass")
        secret = rng.choice((b"", self.public, self.public.hex().encode(), b"attacker" * 4))
        forged = (b"", hmac.digest(secret, signed, "sha256"), _ATTACKER.sign(signed), read64(others[2]))
        return f"{head}.{claims}.{write64(rng.choice(forged))}"


_JWK = {"kty": "OKP", "crv": "Ed25519", "x": write64(_ATTACKER.public_key().public_bytes_raw())}
