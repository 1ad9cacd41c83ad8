"""Base64 with the URL-safe alphabet and no padding (RFC 4648 section 5, as RFC 7515 section 2 uses it)."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def encode(data: bytes) -> str:
    """Unpadded base64url text of ``data``."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL_SAFE).decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of a canonical, unpadded base64url text.

    Exactly one text decodes to given bytes: padding, the standard alphabet, white space and non-zero
    spare bits all raise ``ValueError``.
    """
    raw = text.encode("ascii")
    data = a2b_base64(raw.translate(_TO_STANDARD) + b"=" * (-len(raw) % 4))
    # The decoder of the standard library skips what it does not know; encoding again shows it.
    if encode(data) != text:
        raise ValueError("not canonical unpadded base64url")
    return data


def decode_tolerant(text: str) -> bytes:
    """The bytes of a base64 text in either alphabet, with or without padding.

    For the binary members of credential assertions, which clients send in all four forms. White space,
    any other character, wrong padding and non-zero spare bits raise ``ValueError``.
    """
    raw = text.encode("ascii")
    bare = raw.rstrip(b"=")
    if len(raw) != len(bare) and len(raw) % 4:
        raise ValueError("base64 padding of the wrong length")
    if len(raw) - len(bare) > 2:
        raise ValueError("base64 padding of the wrong length")
    return decode(bare.translate(_TO_URL_SAFE).decode("ascii"))
