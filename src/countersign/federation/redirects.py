"""Where a person may be sent back to from a provider: an exact list, of URIs that do not leak what they carry."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from countersign.credentials.outcome import Refused

MAX_LENGTH = 2048
_PLAIN = re.compile(r"[!-~]+")
#: Private-use schemes of apps are reversed domain names (RFC 8252 section 7.1).
_PRIVATE_USE = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def redirect_refusal(uri: str) -> Refused | None:
    """Why this URI is put on no list: not https, nor http on loopback, nor an app's own scheme; or with a fragment."""
    if len(uri) > MAX_LENGTH or not _PLAIN.fullmatch(uri) or "\\" in uri:
        return Refused("expected a URI of printable ASCII characters without spaces")
    if "#" in uri:
        return Refused("a redirect URI has no fragment (RFC 6749 section 3.1.2)")
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return Refused("not a URI")
    if _PRIVATE_USE.fullmatch(parts.scheme):
        return None
    if parts.scheme not in ("https", "http") or not host or "@" in parts.netloc:
        return Refused("expected https://host/..., or the scheme of an app, which is a reversed domain name")
    if parts.scheme == "http" and host not in _LOOPBACK:
        return Refused("plain http is for this host alone: localhost, 127.0.0.1 or [::1]")
    return None
