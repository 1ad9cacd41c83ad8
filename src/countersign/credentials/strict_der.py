"""The little of DER (X.690) that signatures and public keys need, with one encoding for each value."""

from __future__ import annotations


def der(tag: int, content: bytes) -> bytes:
    """A DER element with the shortest form of its length (contents below 64 KiB)."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes(1 if size < 0x100 else 2, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def ecdsa_signature(encoded: bytes) -> tuple[int, int] | None:
    """``r`` and ``s`` of ``SEQUENCE { INTEGER, INTEGER }`` (RFC 3279 section 2.2.3), or ``None``.

    Refuses everything but the one DER encoding: long-form or indefinite lengths, padded integers,
    trailing bytes. The integers may still be negative or out of range.
    """
    integers: list[int] = []
    body = _content(encoded, 0x30)
    if body is None:
        return None
    for _ in range(2):
        if len(body) < 2 or body[1] >= 0x80:
            return None
        element, body = body[: 2 + body[1]], body[2 + body[1] :]
        content = _content(element, 0x02)
        if not content:
            return None
        integer = int.from_bytes(content, "big", signed=True)
        if len(content) != integer_size(integer):
            return None
        integers.append(integer)
    return None if body else (integers[0], integers[1])


def integer_size(value: int) -> int:
    """Bytes of the shortest two's complement form."""
    return (value if value >= 0 else ~value).bit_length() // 8 + 1


def _content(element: bytes, tag: int) -> bytes | None:
    """The contents of an element that fills ``element`` exactly; at most 255 bytes."""
    if len(element) < 2 or element[0] != tag:
        return None
    start = 2 if element[1] < 0x80 else 3
    content = element[start:]
    return content if len(content) < 0x100 and der(tag, content) == element else None
