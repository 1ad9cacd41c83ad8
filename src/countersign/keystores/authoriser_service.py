"""What an authoriser in a process of its own does with an order, as a function of bytes: no socket, no clock.

It judges orders like a signer at level G3 does, by a roster of its own that begins with the credentials in its key
file: it reads the request in the evidence, holds the order to exactly what that asks for, and verifies who signed it.
For an order that passes it makes the grant. It needs no database, and what the API process says proves nothing to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from countersign.keystores import roster_orders
from countersign.keystores.charter import Charter
from countersign.keystores.consented import CONSENTED_OPS, FREE_OPS
from countersign.keystores.grants import Asked, Authoriser, grant_for
from countersign.keystores.ledger import Ledger
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import MALFORMED, AuthoriserState, NotAnOrder, Order, read_order, reply_to
from countersign.keystores.registrar import Registrar

log = logging.getLogger("countersign.authoriser")

_APART_MS: Final = 60_000

_encode = msgspec.msgpack.Encoder().encode
_decode_asked = msgspec.msgpack.Decoder(Asked).decode


class AuthoriserService:
    """``clock`` gives milliseconds since the epoch; ``notes`` are its health notes. Raises ValueError for a bad roster.

    ``endorses_by_itself`` as for a signer: sandbox only.
    """

    def __init__(
        self,
        charter: Charter,
        *,
        clock: Callable[[], int],
        ledger: Ledger | None = None,
        endorses_by_itself: bool = False,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._id = charter.authoriser_id
        self._authoriser = Authoriser(charter.seed)
        self._clock = clock
        self._registrar = Registrar(ledger or Ledger(None), clock, endorses_by_itself=endorses_by_itself)
        lasting = () if self._registrar.ledger.lasting else ("the roster is forgotten at the end: no --state",)
        self._notes = (*notes, *lasting)
        refusal = self._registrar.open(charter.keys, charter.installation_id, charter.founders)
        if refusal is not None:
            raise ValueError(refusal.reason)

    def handle(self, frame: memoryview) -> bytes:
        """Carry out one order and give the encoded reply. Raises NotAnOrder for a frame that is none."""
        order = read_order(frame)
        try:
            outcome = self._carry_out(order)
        except Exception:
            # One bad order must not end the process for everybody; the trace goes to the operator only.
            log.exception("order %.64r failed", order.op)
            outcome = Refusal("Internal", "the authoriser failed; its log says why")
        return reply_to(order, outcome)

    def _carry_out(self, order: Order) -> bytes | Refusal:
        if order.evidence is not None and (defect := order.evidence.defect()) is not None:
            return Refusal("Denied", defect)
        match order.op:
            case "authorise":
                return self._authorise(order)
            case op if op in roster_orders.OPS:
                return roster_orders.carry_out(self._registrar, order)
            case "status":
                ledger = self._registrar.ledger
                key = self._authoriser.public_key
                return _encode(AuthoriserState(self._id, key, self._notes, ledger.count, ledger.head))
            case unknown:
                return Refusal("Unsupported", f"unknown order {unknown[:32]!r}")

    def _authorise(self, order: Order) -> bytes | Refusal:
        """The grant for the order in ``payload``, which goes to a signer; ``arguments`` say for which, and when."""
        try:
            wanted, asked = read_order(order.payload), _decode_asked(order.arguments)
        except (NotAnOrder, *MALFORMED):
            return Refusal("Unsupported", "the order to authorise is malformed")
        if wanted.op not in CONSENTED_OPS | FREE_OPS:
            return Refusal("Unsupported", f"there are no grants for an order {wanted.op[:32]!r}")
        if abs(asked.now - self._clock()) > _APART_MS:
            # A grant for another time would outlast what is decided until then.
            return Refusal("Unavailable", "the clocks of signer and authoriser are apart: start both again")
        if wanted.evidence is not None and (defect := wanted.evidence.defect()) is not None:
            return Refusal("Denied", defect)
        refusal = self._registrar.catch_up() or self._registrar.judge(wanted, asked.store_id)
        if refusal is not None:
            # In quotes and short: what an order says of itself is whatever its sender likes.
            log.warning("no grant for %s of key %.64r: %s", wanted.op, wanted.key_id, refusal.reason)
            return refusal
        return self._authoriser.sign(grant_for(wanted, asked))
