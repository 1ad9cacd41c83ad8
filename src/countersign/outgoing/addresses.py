"""Which addresses are public: everything that is not global unicast is refused, and what is wrapped is unwrapped.

The ranges are those of the IANA registries of special-purpose addresses (RFC 6890 and its updates).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a URL or an address is not gone to."""

    reason: str


class Networks:
    """A set of networks, from their usual notation. Raises ``ValueError`` for another."""

    def __init__(self, texts: Iterable[str]) -> None:
        found: tuple[Network, ...] = tuple(ip_network(text) for text in texts)
        self._four = tuple(each for each in found if isinstance(each, IPv4Network))
        self._six = tuple(each for each in found if isinstance(each, IPv6Network))

    def __contains__(self, address: Address) -> bool:
        if isinstance(address, IPv4Address):
            return any(address in network for network in self._four)
        return any(address in network for network in self._six)


_NOT_PUBLIC = Networks(
    (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",  # cloud metadata among them
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
#: All global unicast of IPv6 lies in it; loopback, link-local, unique local and multicast do not.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Allowance:
    """``allowed`` are networks gone to although they are not public; ``denied`` win over everything."""

    allowed: Networks = field(default_factory=lambda: Networks(()))
    denied: Networks = field(default_factory=lambda: Networks(()))


def unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, IPv6Address):
        value = int(address)
        if address in _MAPPED or address in _NAT64:
            return IPv4Address(value & 0xFFFF_FFFF)
        if address in _SIX_TO_FOUR:
            return IPv4Address((value >> 80) & 0xFFFF_FFFF)
    return address


def check_address(text: str, allowance: Allowance, *, any_network: bool = False) -> Refusal | None:
    """Why a connection to this address is refused, ``None`` when it is not. ``text`` as the resolver gave it.

    ``any_network``: the name was allowed, wherever it leads; what is denied stays denied.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return Refusal("not an address")
    inner = unwrapped(address)
    if address in allowance.denied or inner in allowance.denied:
        return Refusal("an address of a denied network")
    if any_network or inner in allowance.allowed or address in allowance.allowed:
        return None
    if inner in _NOT_PUBLIC or (isinstance(inner, IPv6Address) and inner not in _GLOBAL_UNICAST):
        return Refusal("an address that is not public")
    return None
