"""The API process's side of an authoriser in a process of its own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from countersign.keystores.grants import Asked
from countersign.keystores.orders import SignerStatus
from countersign.keystores.outcome import SignerUnavailable
from countersign.keystores.protocol import AuthoriserState, Order
from countersign.keystores.roster_line import Mark, RosterLine

log = logging.getLogger("countersign.keystores")

_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(AuthoriserState).decode


class AuthoriserClient(RosterLine):
    """Asks the authoriser ``authoriser_id`` behind ``socket_path`` for grants; another one there gets nothing to do."""

    def __init__(
        self, socket_path: str, authoriser_id: str, marks: Callable[[], Awaitable[Mark | None]] | None = None
    ) -> None:
        super().__init__(socket_path, "authoriser", marks)
        self._id = authoriser_id
        self._state: AuthoriserState | None = None

    @property
    def public_key(self) -> bytes:
        """Under which its grants verify; empty while it is not known."""
        return b"" if self._state is None else self._state.public_key

    @property
    def trouble(self) -> str | None:
        """Why it is not asked for grants right now."""
        return self._absence() or self.roster_trouble

    def _absence(self) -> str | None:
        if not self._connected or self._state is None:
            return f"the authoriser is away: {self._trouble}"
        if self._state.authoriser_id != self._id:
            return f"authoriser {self._state.authoriser_id} answers, the installation's is {self._id}"
        return None

    @property
    def open(self) -> bool:
        """Whether its roster can be read and changed now."""
        return self._absence() is None

    @property
    def roster_mark(self) -> Mark | None:
        """How far its roster was as last heard of."""
        return (
            None
            if self._state is None or not self.open
            else (self._state.roster_records, self._state.roster_head.hex())
        )

    async def grant(self, order: Order, asked: Asked) -> bytes:
        """A grant for this order; raises SignerUnavailable, and SignerRefused where nobody consented to it."""
        if (trouble := self.trouble) is not None:
            raise SignerUnavailable(trouble)
        # The record is nothing to it, and would take it over the limit of a frame.
        wanted = msgspec.structs.replace(order, record=b"")
        return await self._order(Order(0, "authorise", payload=memoryview(_encode(wanted)), arguments=_encode(asked)))

    async def status(self) -> SignerStatus:
        """Its state, asked now: up or down."""
        if self._link is None:
            return SignerStatus("down", self._trouble)
        try:
            await self._look()
        except SignerUnavailable as gone:
            return SignerStatus("down", str(gone))
        notes = () if self._state is None else self._state.notes
        return SignerStatus("up", self.trouble or "", notes)

    async def _greet(self) -> None:
        await self._look()
        if self.trouble is None:
            log.info("authoriser connected")
        else:
            log.error("%s", self.trouble)

    async def _look(self) -> None:
        self._state = _decode_state(await self._order(Order(0, "status")))
        await self._compare_first()

    async def _follow(self) -> None:
        await self._compare()

    def _forget(self) -> None:
        super()._forget()
        self._state = None
