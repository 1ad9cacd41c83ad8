"""A connection to who keeps a roster: the signer of a key store, or an authoriser.

A roster that is put back from an older copy would bring back credentials that were removed since. So where it is known
how far a roster was, it is compared with that on every new connection, and who keeps an older or another one is not
asked to use a key until the operator has taken it for the newest.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable

import msgspec

from countersign.keystores.link import Line
from countersign.keystores.outcome import SignerError, SignerRefused
from countersign.keystores.protocol import ConsentEvidence, Order
from countersign.keystores.roster_orders import RosterPage

log = logging.getLogger("countersign.keystores")

Mark = tuple[int, str]
"""How far a roster is: its number of records, and its head (hex)."""

_encode = msgspec.msgpack.Encoder().encode
_decode_roster_page = msgspec.msgpack.Decoder(RosterPage).decode


class RosterLine(Line):
    """What is said of rosters over a ``Line``.

    ``marks`` fetches how far the roster was when a server last saw it; a tool that uses no key does without.
    """

    def __init__(self, socket_path: str, peer: str, marks: Callable[[], Awaitable[Mark | None]] | None = None) -> None:
        super().__init__(socket_path, peer)
        self._marks = marks
        self._compared = False
        self._behind: str | None = None

    @property
    @abstractmethod
    def open(self) -> bool:
        """Whether the roster can be read and changed now, as far as is known here."""

    @property
    @abstractmethod
    def roster_mark(self) -> Mark | None:
        """How far the roster was as last heard of; None while it is not open."""

    @property
    def roster_trouble(self) -> str | None:
        """Why it can't be judged by the roster there, as far as is known here; None when it can."""
        if self._compared or self._marks is None:
            return self._behind
        return f"the roster of the {self._peer} was not compared yet"

    async def change_roster(self, op: str, arguments: bytes, evidence: ConsentEvidence | None = None) -> bytes:
        """Enrol, endorse, retire or adopt; ``arguments`` is msgpack as ``roster_orders`` says. Gives the outcome."""
        order = Order(0, op)
        order.arguments, order.evidence = arguments, evidence
        return await self._order(order)

    async def roster_page(self, offset: int) -> RosterPage:
        """Credentials of the roster, from an offset on."""
        order = Order(0, "roster")
        order.arguments = _encode(offset)
        return _decode_roster_page(await self._order(order))

    async def behind(self, known: Mark) -> str | None:
        """Why the roster is older than one seen before, or another; None when it is not, or kept for no restart."""
        order = Order(0, "roster_at")
        order.arguments = _encode(known[0])
        try:
            head = await self._order(order)
        except SignerRefused as refused:
            if refused.code == "Unsupported":
                return None
            raise
        if not head:
            return f"it lacks some of the {known[0]} records that it had: its file was put back or lost"
        if head.hex() != known[1]:
            return f"record {known[0]} is not the one that it had: its file was put back or exchanged"
        return None

    async def _compare(self) -> None:
        """Learn whether the roster is what it was, or more."""
        if self._marks is None or not self.open:
            return
        try:
            known = await self._marks()
        except Exception as trouble:  # the database's own ways to fail: it is tried again
            log.warning("how far the roster of the %s was can't be read: %s", self._peer, trouble)
            return
        try:
            behind = None if known is None else await self.behind(known)
        except SignerError as trouble:
            log.warning("the roster of the %s can't be compared: %s", self._peer, trouble)
            return
        if behind is not None and behind != self._behind:
            log.error("the roster of the %s is behind, no key is used: %s", self._peer, behind)
        self._compared, self._behind = True, behind

    async def _compare_first(self) -> None:
        """The same, where it was not done on this connection."""
        if not self._compared:
            await self._compare()

    def _forget(self) -> None:
        self._compared, self._behind = False, None
