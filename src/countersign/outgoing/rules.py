"""Which URLs are gone to, by how they are written: decided without looking a name up."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit

from countersign.outgoing.addresses import Allowance, Networks, Refusal, check_address

MAX_LENGTH = 2048
_PORTS = {"https": 443, "http": 80}
_PLAIN = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
#: What inet_aton and browsers read as a number: a host that ends in one is an IPv4 address in some notation.
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator lets URLs of customers be. By default https to public addresses, on its own port.

    ``allowed`` and ``denied`` are networks in CIDR notation, ``allowed_hosts`` names in lower case.
    """

    allow_http: bool = False
    any_port: bool = False
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowance: Allowance = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowance", Allowance(Networks(self.allowed), Networks(self.denied)))

    def allows_host(self, host: str) -> bool:
        """Whether this name is gone to wherever it resolves to."""
        return host.lower().rstrip(".") in self.allowed_hosts


def check_url(text: str, rules: Rules) -> Refusal | None:
    """Why a URL is refused as it is written, or by the address that it spells out; ``None`` when it is not."""
    if len(text) > MAX_LENGTH:
        return Refusal(f"longer than {MAX_LENGTH} characters")
    if not _PLAIN.fullmatch(text):
        return Refusal("holds a space, a control character or a non-ASCII one; write a name in its xn-- form")
    if "\\" in text:
        return Refusal("holds a backslash")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return Refusal("not a URL")
    if url.scheme not in _PORTS or (url.scheme == "http" and not rules.allow_http):
        return Refusal("expected a URL that begins with https://" + (" or http://" if rules.allow_http else ""))
    if "@" in url.netloc:
        return Refusal("holds a user name or password")
    if "#" in text:
        return Refusal("holds a fragment")
    if port == 0 or url.netloc.endswith(":") or (port not in (None, _PORTS[url.scheme]) and not rules.any_port):
        return Refusal(f"expected port {_PORTS[url.scheme]}")
    return _check_host(url, rules)


def _check_host(url: SplitResult, rules: Rules) -> Refusal | None:
    host = url.hostname or ""
    if url.netloc.startswith("["):
        try:
            literal = str(IPv6Address(host)) if "%" not in host else None
        except AddressValueError:
            literal = None
        if literal is None:
            return Refusal("not an IPv6 address; a zone has no meaning here")
        return _check_literal(literal, rules)
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return _check_literal(str(IPv4Address(host)), rules)
        except AddressValueError:
            return Refusal("an IPv4 address in an odd notation; expected four decimal numbers")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return Refusal("not a host name")
    return None


def _check_literal(address: str, rules: Rules) -> Refusal | None:
    refused = check_address(address, rules.allowance, any_network=rules.allows_host(address))
    return None if refused is None else Refusal(f"leads to {refused.reason}")


def host_of(url: str) -> str:
    """The host of a checked URL in lower case, without port."""
    return urlsplit(url).hostname or ""
