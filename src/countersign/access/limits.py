"""Station 0 and what public operations add to it: how often someone may ask, before any work is done for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

from countersign.api import ApiError
from countersign.api.limits import TokenBuckets
from countersign.world import World

_HOUR_MS = 3_600_000


@lru_cache(maxsize=4096)
def _place(address: str) -> str:
    """Who is counted as one: an IPv6 client has the 2^64 addresses of its network, so that network (RFC 4291)."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests a minute: of an organisation, of an address without a known token, of an address at public operations.

    Also about one username from one address, and tries of a code from one address; tries of codes an hour in all.
    """

    organisation: int
    address: int
    public: int
    username: int
    code: int
    codes_an_hour: int


class RateLimits:
    """The buckets of one process. Each method raises 429 ``RATE_LIMITED`` with ``Retry-After`` in seconds."""

    def __init__(self, rates: Rates, world: World) -> None:
        self._world = world
        self._organisations = TokenBuckets(rates.organisation)
        self._addresses = TokenBuckets(rates.address)
        self._public = TokenBuckets(rates.public)
        self._origins = TokenBuckets(rates.public)
        self._usernames = TokenBuckets(rates.username)
        self._codes = TokenBuckets(rates.code)
        self._all_codes = TokenBuckets(rates.codes_an_hour, window_ms=_HOUR_MS)

    def admit(self, organisation: str | None, address: str) -> None:
        """Count a request: of the organisation (or its end users) that a token known to be good names, else of the
        address.
        """
        if organisation is not None:
            self._take(self._organisations, organisation)
        else:
            self._take(self._addresses, _place(address))

    def public(self, address: str) -> None:
        """Count a request of an operation that takes no authentication."""
        self._take(self._public, _place(address))

    def origin(self, address: str) -> bool:
        """Count a look-up of a web page's origin that is not known; false when the address had too many."""
        return self._origins.take(_place(address), self._world.now()) is None

    def username(self, org_id: str, username_key: str, address: str) -> None:
        """Count a public request about this user from this address: ``username_key`` as names are compared.

        Not of all addresses together: whoever keeps asking about somebody must not keep that person out.
        """
        self._take(self._usernames, f"{org_id} {username_key} {_place(address)}")

    def code(self, address: str) -> None:
        """Count a try of a one-time code: from the address, and against guessing from many, all of this process."""
        self._take(self._codes, _place(address))
        self._take(self._all_codes, "")

    def mailed_code(self, address: str) -> None:
        """Count a try of a code too long to be guessed: of the address alone, so that nobody uses up others' tries."""
        self._take(self._codes, _place(address))

    def _take(self, buckets: TokenBuckets, key: str) -> None:
        wait = buckets.take(key, self._world.now())
        if wait is not None:
            raise ApiError("RATE_LIMITED", headers={"Retry-After": str(wait)})
