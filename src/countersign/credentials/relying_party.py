"""Relying parties: for whom passkeys are made, and from which pages and apps they may be used."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from countersign.credentials.outcome import Refused

MAX_RP_ID = 253
MAX_ORIGIN = 512

_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+|localhost", re.ASCII)
_APP = re.compile(r"android:apk-key-hash:[A-Za-z0-9_-]{43}|ios:bundle-id:[A-Za-z0-9.-]{1,155}", re.ASCII)
_DEFAULT_PORTS = {"https": 443, "http": 80}


def parse_rp_id(text: str) -> str | Refused:
    """A relying party id: a lower-case ASCII host name (A-labels) of two labels or more, or ``localhost``.

    IP addresses are none. Which names are public suffixes is known to browsers, which refuse those.
    """
    # No top-level domain is all digits, so this sets host names apart from IPv4 addresses.
    if len(text) > MAX_RP_ID or not _HOST.fullmatch(text) or text.rpartition(".")[2].isdigit():
        return Refused("a relying party id is a host name in lower-case ASCII")
    return text


def parse_origin(text: str, rp_id: str, *, related: bool = False) -> str | Refused:
    """An origin in the one form that clients sign (RFC 6454 section 6.2), for the relying party ``rp_id``.

    ``https://host[:port]``, or ``http`` for ``localhost`` alone, or ``android:apk-key-hash:`` and
    ``ios:bundle-id:`` for apps. One trailing slash is taken off. The host must be ``rp_id`` or below it,
    unless the origin is ``related``: then the host of ``rp_id`` must list it under ``/.well-known/webauthn``.
    """
    if len(text) > MAX_ORIGIN:
        return Refused(f"an origin has at most {MAX_ORIGIN} characters")
    if _APP.fullmatch(text):
        return text
    text = text.removesuffix("/")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return Refused("the origin is no URL")
    if not _HOST.fullmatch(host) or parts.scheme not in _DEFAULT_PORTS:
        return Refused("an origin is https://host[:port], or that of an app")
    if parts.scheme == "http" and host != "localhost":
        return Refused("an origin with http is only possible for localhost")
    origin = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
    if origin != text or port == _DEFAULT_PORTS[parts.scheme]:
        return Refused("an origin is scheme, host and port (if not the default) in lower case, and nothing else")
    if not related and host != rp_id and not host.endswith("." + rp_id):
        return Refused("the origin's host is neither the relying party id nor below it")
    return origin
