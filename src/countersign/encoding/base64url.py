"""Base64 with the URL-safe alphabet and no padding (RFC 4648 section 5, as RFC 7515 section 2 uses it)."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# By the length's remainder: the last characters whose spare bits are zero (four of them, or two), and the padding.
_ENDS = (b"", b"", _ALPHABET[::16], _ALPHABET[::4])
_PADDING = (b"", b"", b"==", b"=")


def encode(data: bytes) -> str:
    """Unpadded base64url text of ``data``."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL_SAFE).decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of a canonical, unpadded base64url text.

    Exactly one text decodes to given bytes: padding, the standard alphabet, white space and non-zero
    spare bits all raise ``ValueError``.
    """
    return _decode(text.encode("ascii"))


def _decode(raw: bytes) -> bytes:
    # The decoder of the standard library skips what it does not know, and drops the spare bits.
    if raw.translate(None, _ALPHABET):
        raise ValueError("not canonical unpadded base64url")
    odd = len(raw) & 3
    if odd and raw[-1] not in _ENDS[odd]:
        raise ValueError("not canonical unpadded base64url")
    return a2b_base64(raw.translate(_TO_STANDARD) + _PADDING[odd])


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
    return _decode(bare.translate(_TO_URL_SAFE))
