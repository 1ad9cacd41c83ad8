"""Relying parties: for whom passkeys are made, and from which pages and apps they may be used."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from countersign.credentials.client_data import WebClientData
from countersign.credentials.outcome import Refused

MAX_RP_ID = 253
MAX_ORIGIN = 512

_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+|localhost", re.ASCII)
_APP = re.compile(r"android:apk-key-hash:[A-Za-z0-9_-]{43}|ios:bundle-id:[A-Za-z0-9.-]{1,155}", re.ASCII)
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """A relying party id and the exact origins that may use its passkeys.

    ``origins`` is ``None`` only where the list is not known, as in an offline check of old evidence; then
    neither origin nor framing is judged. ``top_origins``: pages that may frame one of the origins, ``None``
    where framing by another origin is not allowed at all.
    """

    rp_id: str
    origins: frozenset[str] | None
    top_origins: frozenset[str] | None = None

    @property
    def rp_id_hash(self) -> bytes:
        """SHA-256 of the id, as authenticators sign it."""
        return hashlib.sha256(self.rp_id.encode("utf-8")).digest()

    def refusal(self, client_data: WebClientData) -> Refused | None:
        """Why this relying party takes nothing from where the client data comes; ``None`` if it does.

        Origins are compared byte by byte (WebAuthn section 13.4.9): no wildcards, no suffixes.
        """
        if self.origins is None:
            return None
        if client_data.origin not in self.origins:
            return Refused("clientData: the origin is not one of the relying party's", "origin")
        if client_data.cross_origin and self.top_origins is None:
            return Refused("clientData: crossOrigin is not allowed")
        if client_data.top_origin is not None and client_data.top_origin not in (self.top_origins or ()):
            return Refused("clientData: the topOrigin is not allowed")
        return None


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
