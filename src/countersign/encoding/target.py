"""The request target: decoded once, compared and routed by the same list of segments.

What arrives on the wire and what a client signed may spell one path in different ways (``%2D`` or ``-``,
a raw space or ``%20``); both are decoded to the same segments. Everything that some proxy or server might
read as another path is refused: dot segments, empty segments, encoded slashes, double encoding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

import msgspec

# The usual target: nothing to decode and nothing to refuse but dot segments.
_PLAIN = re.compile(r"((?:/[A-Za-z0-9\-_~.]+)+)(?:(\?)([!\"$-~]*))?", re.ASCII)
_UNRESERVED = re.compile(r"[A-Za-z0-9\-_~.]+", re.ASCII)
_DOTS = re.compile(r"/\.\.?(?:/|\Z)")
_QUERY = re.compile(r"[!\"$-~]*", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FORBIDDEN_IN_SEGMENT = re.compile(r"[/\\%\x00-\x1f\x7f-\x9f]")


class BadPath(ValueError):
    """A request target or signed path that is refused; ``reason`` says why, for the error message."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Target(msgspec.Struct, frozen=True):
    """A decoded path and the raw query.

    ``segments`` are decoded exactly once; the root path has none. ``query`` is the raw text behind the
    first ``?``, which ``has_query`` tells apart from no ``?`` at all.
    """

    segments: tuple[str, ...]
    query: str = ""
    has_query: bool = False


def parse_target(raw: bytes) -> Target:
    """The target of a request as it stood on the wire (origin form, RFC 9112 section 3.2.1).

    Raises ``BadPath``, also for bytes outside visible ASCII, which a client has to percent-encode.
    """
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise BadPath("characters outside ASCII must be percent-encoded") from None
    if " " in text:
        raise BadPath("spaces must be percent-encoded")
    return parse_signed_path(text)


def parse_signed_path(text: str) -> Target:
    """The path that a client signed, which may hold raw spaces and characters outside ASCII.

    The query is compared as raw text with what arrives on the wire, so it must be visible ASCII.
    Raises ``BadPath``.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None and _DOTS.search(plain[1]) is None:
        return Target(tuple(plain[1][1:].split("/")), plain[3] or "", plain[2] is not None)
    path, mark, query = text.partition("?")
    if not path.startswith("/"):
        raise BadPath("the path must start with / and name no scheme or host")
    if path.startswith("//"):
        raise BadPath("the path must start with a single /")
    if "\\" in path or "#" in text:
        raise BadPath("the path must not contain a backslash or a fragment")
    if _CONTROL.search(path):
        raise BadPath("the path must not contain control characters")
    if _QUERY.fullmatch(query) is None:
        raise BadPath("the query must be percent-encoded visible ASCII")
    segments = tuple([_decode_segment(segment) for segment in path[1:].split("/")]) if path != "/" else ()
    return Target(segments, query, bool(mark))


def canonical_path(segments: Sequence[str]) -> str:
    """The path with everything but ``A-Z a-z 0-9 - . _ ~`` percent-encoded (upper-case hex of UTF-8)."""
    joined = "".join(segments)
    if not joined or _UNRESERVED.fullmatch(joined):
        return "/" + "/".join(segments)
    return "/" + "/".join([quote(segment, safe="") for segment in segments])


def canonical_query(target: Target) -> str:
    """Empty if the target has no ``?``, else ``?`` and the raw query."""
    return "?" + target.query if target.has_query else ""


def _decode_segment(raw: str) -> str:
    if not raw:
        raise BadPath("the path has an empty segment (a double or trailing slash)")
    if _BAD_ESCAPE.search(raw):
        raise BadPath("the path has a malformed percent escape")
    try:
        segment = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeError:
        raise BadPath("the path is not valid UTF-8") from None
    if segment in {".", ".."}:
        raise BadPath("the path has a dot segment")
    if _FORBIDDEN_IN_SEGMENT.search(segment):
        raise BadPath("a segment decodes to a slash, a backslash, a percent sign or a control character")
    return segment
