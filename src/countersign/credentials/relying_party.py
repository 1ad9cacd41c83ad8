"""Relying parties of passkeys and the origins where they may be used (WebAuthn Level 3, sections 5.1.2 and 13.4.9).

Everything is compared as exact text: no wildcards, no matching of suffixes.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from countersign.credentials.outcome import Refused

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_WEB_ORIGIN = re.compile(r"(https?)://([^/?#@:\[\]]+)(?::([1-9][0-9]{0,4}))?/?")
_APP_ORIGIN = re.compile(r"android:apk-key-hash:[A-Za-z0-9_-]{43}|ios:bundle-id:[A-Za-z0-9.-]{1,155}")
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """``rp_id``: host name; ``origins``: serialised web origins, and app origins verbatim."""

    rp_id: str
    name: str
    origins: tuple[str, ...]

    @property
    def rp_id_hash(self) -> bytes:
        """SHA-256 of the id, as authenticator data begins with."""
        return hashlib.sha256(self.rp_id.encode("ascii")).digest()


def parse_rp_id(text: str) -> str | Refused:
    """A host name in lower-case ASCII (A-labels): a domain, or ``localhost``.

    Addresses and top-level domains are refused. Suffixes under which strangers register names, such as ``co.uk``, are
    refused by every browser when it is asked to use them; no list of them is kept here.
    """
    if text == "localhost":
        return text
    if len(text) > 253:
        return Refused("the relying party id is longer than a host name")
    if "/" in text or ":" in text:
        return Refused("the relying party id is a host name, without scheme, port or path")
    labels = text.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return Refused("the relying party id is not a host name in lower-case ASCII")
    if len(labels) < 2:
        return Refused("the relying party id is a top-level name; only localhost may be")
    if labels[-1].isdigit() or _is_address(text):
        return Refused("the relying party id is an address; it must be a name")
    return text


def parse_origin(text: str, rp_id: str, *, related: bool = False) -> str | Refused:
    """The origin as browsers write it, for the relying party ``rp_id``: a trailing slash and a default port go.

    ``https``, or ``http`` for ``localhost`` only; the host is ``rp_id`` or below it. ``related`` admits another host,
    which the relying party's host must then name in ``/.well-known/webauthn``. Origins of apps
    (``android:apk-key-hash:…``, ``ios:bundle-id:…``) are taken as they are.
    """
    if text.startswith(("android:", "ios:")):
        return text if _APP_ORIGIN.fullmatch(text) else Refused("the origin of an app is malformed")
    matched = _WEB_ORIGIN.fullmatch(text)
    if matched is None:
        return Refused("the origin must be scheme://host[:port], without a path")
    scheme, host, port = matched.groups()
    if isinstance(refused := parse_rp_id(host), Refused):
        return Refused(f"the host of the origin: {refused.reason}")
    if scheme == "http" and host != "localhost" and not host.endswith(".localhost"):
        return Refused("the origin must be https; http is for localhost only")
    if host != rp_id and not host.endswith(f".{rp_id}") and not related:
        return Refused("the host of the origin is neither the relying party id nor below it")
    if port is None or int(port) == _DEFAULT_PORTS[scheme]:
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{port}" if int(port) <= 65535 else Refused("the port of the origin is out of range")


def resolve(parties: Iterable[RelyingParty], rp_id_hash: bytes, origin: str) -> RelyingParty | None:
    """The relying party with this hash that names this very origin; both must fit the same one."""
    for party in parties:
        if hmac.compare_digest(party.rp_id_hash, rp_id_hash) and origin in party.origins:
            return party
    return None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
