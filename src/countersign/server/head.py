"""Station 1, the part before the body: header lines to values, with nothing ambiguous left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from countersign.api import ApiError

#: Headers that decide about authority: each at most once, never as a list.
_SECURITY = frozenset(
    {
        "authorization",
        "x-dfns-useraction",
        "x-dfns-appid",
        "x-dfns-nonce",
        "x-dfns-appsecret",
        "x-dfns-apisignature",
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
    }
)
#: Of those, the ones whose proper values hold no comma, so that a joined pair is seen.
_NO_COMMA = frozenset({"authorization", "x-dfns-useraction", "x-dfns-appid", "x-dfns-appsecret", "x-dfns-apisignature"})
#: The same as they mostly arrive, to spare their decoding.
_NAMES = {name.encode(): name for name in (*_SECURITY, "accept", "user-agent", "connection", "accept-encoding")}


class Head(msgspec.Struct, frozen=True):
    """A request before its body. ``path`` and ``query`` are the raw bytes of the target."""

    method: str
    path: bytes
    query: bytes
    headers: Iterable[tuple[bytes, bytes]]
    client_address: str
    has_query: bool = False


def read_headers(lines: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lower-case names to values; an empty or blank value counts as absent.

    Raises 400 ``BAD_HEADER`` when a security header occurs twice, also joined by a comma.
    """
    headers: dict[str, str] = {}
    seen: set[str] = set()
    for raw_name, raw_value in lines:
        name = _NAMES.get(raw_name) or raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1").strip()
        if name in _SECURITY:
            if name in seen:
                raise _bad(name, "occurs more than once")
            seen.add(name)
            if "," in value and name in _NO_COMMA:
                raise _bad(name, "holds a list; send one value")
        if value:
            headers[name] = value
        else:
            headers.pop(name, None)
    return headers


def bearer(headers: Mapping[str, str]) -> str | None:
    """The bearer token, ``None`` without one. A malformed header is no token."""
    value = headers.get("authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer" or not token or " " in token:
        return None
    return token


def check_media_type(headers: Mapping[str, str]) -> None:
    """415 unless the body is plain JSON in UTF-8."""
    if headers.get("content-type") == "application/json" and "content-encoding" not in headers:
        return
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError("MEDIA_TYPE", reason="content encoding")
    kind, _, parameters = headers.get("content-type", "application/json").partition(";")
    if kind.strip().lower() != "application/json":
        raise ApiError("MEDIA_TYPE", reason="media type")
    charset = parameters.strip().lower().replace('"', "")
    if charset not in ("", "charset=utf-8"):
        raise ApiError("MEDIA_TYPE", reason="charset")


def _bad(name: str, what: str) -> ApiError:
    return ApiError("BAD_HEADER", f"Bad Request: header {name} {what}")
