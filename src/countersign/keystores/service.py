"""What the signer does with an order, as a function of bytes: no socket and no clock of its own.

One instance serves one key store in one process, one order at a time. It holds the store root keys and, while an order
lasts, one private key, both in the locked page only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Final, Literal, TypeVar

import msgspec

from countersign.keystores import derivation, record, roots, roster_orders, schemes, transfer
from countersign.keystores.grants import GrantBook, payload_hash
from countersign.keystores.kek import KekProvider, MoreShares
from countersign.keystores.ledger import Ledger
from countersign.keystores.memory import MAX_ROOTS, LockedPage
from countersign.keystores.open_roots import OpenRoots
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import MALFORMED, Buffer, Generated, Order, State, read_order, reply_to
from countersign.keystores.recovery_copy import seal_copy
from countersign.keystores.registrar import Registrar
from countersign.keystores.roster_keys import Roots
from countersign.keystores.secret_kinds import SECRET_BYTES

log = logging.getLogger("countersign.signer")

T = TypeVar("T")

GrantLevel = Literal["G0", "G1", "G2", "G3"]
"""G0: permission on the socket is enough (tests). G1: every use of a key needs a grant by a pinned authoriser.

G2: the same, and that authoriser is a process of its own: a store whose newest root does not say so stays sealed.

G3: G1, and the consent of a credential in the signer's own roster to exactly that use. An installation whose store root
names no first credentials is served as G1 until its operator begins the roster, and never again once it is begun.
"""

_FIRST_GENERATION: Final = 1
_MAX_NAME: Final = 256

_encode = msgspec.msgpack.Encoder().encode
_decode_roots = msgspec.msgpack.Decoder(list[bytes]).decode


class SignerService:
    """``clock`` gives milliseconds since the epoch and never goes back; ``notes`` are added to the health notes."""

    def __init__(
        self,
        kek: KekProvider,
        *,
        clock: Callable[[], int],
        grant_level: GrantLevel = "G1",
        ledger: Ledger | None = None,
        endorses_by_itself: bool = False,
        notes: tuple[str, ...] = (),
        on_shutdown: Callable[[], None] = lambda: None,
        page: LockedPage | None = None,
    ) -> None:
        self.boot_id = os.urandom(16)
        self._kek = kek
        self._clock = clock
        self._grant_level = grant_level
        self._on_shutdown = on_shutdown
        self.page = page or LockedPage()
        provider_note = (kek.note,) if kek.note else ()
        self._notes = (*notes, *self.page.notes, *provider_note)
        self._grants = GrantBook(self.boot_id)
        self._registrar = Registrar(ledger or Ledger(None), clock, endorses_by_itself=endorses_by_itself)
        self.roots = OpenRoots(
            self.page, kek, only_apart=grant_level == "G2", before_opening=self._before_opening_a_root
        )
        self._reason = "no store root was handed over yet"
        self._sealed_by_order = False
        self._usable: Order | None = None

    def handle(self, frame: memoryview) -> bytes:
        """Carry out one order and give the encoded reply. Raises NotAnOrder for a frame that is none."""
        order = read_order(frame)
        return self.reply(order, self.guarded(order, self._carry_out))

    def guarded(self, order: Order, act: Callable[[Order], T]) -> T | Refusal:
        """What ``act`` makes of the order; a fault of its own is a refusal, and the working part of the page wiped."""
        try:
            return act(order)
        except Exception:
            # One bad order must not end the process for everybody; the trace goes to the operator only.
            log.exception("order %.64r failed", order.op)
            return Refusal("Internal", "the signer failed; its log says why")
        finally:
            self._usable = None
            self.page.wipe_work()

    def reply(self, order: Order, outcome: bytes | Refusal) -> bytes:
        """The encoded reply; an integrity failure is an alarm in the log."""
        if isinstance(outcome, Refusal) and outcome.code == "Integrity":
            # In quotes and short: what an order says of itself is whatever its sender likes.
            log.error("integrity alarm: org %.64r key %.64r: %s", order.org_id, order.key_id, outcome.reason)
        return reply_to(order, outcome)

    @property
    def store_id(self) -> str:
        """Of the store that is unsealed; empty before."""
        return self.roots.store_id

    def seal(self) -> None:
        """Wipe every secret."""
        self.page.wipe_all()
        self._kek.forget()
        self.roots.close()
        self._registrar.close()

    def _carry_out(self, order: Order) -> bytes | Refusal:
        match order.op:
            case "sign":
                return self._sign(order)
            case "generate":
                return self._generate(order)
            case "derive_child":
                return derivation.derive_child(self, order)
            case "derive":
                return derivation.derive_output(self, order)
            case "verify":
                return self._verify(order)
            case "signers":
                return transfer.make_signers(self, order)
            case "import":
                return transfer.import_key(self, order)
            case "export":
                return transfer.export_key(self, order)
            case "rewrap":
                return self.open(order) or self.seal_again(order)
            case "load":
                return self._load(order)
            case "unseal":
                return self._unseal(order)
            case "seal":
                self._sealed_by_order, self._reason = True, "sealed by order"
                self.seal()
                log.info("sealed by order")
                return self._state()
            case op if op in roster_orders.OPS:
                return self._change_roster(order)
            case "archive" | "destroy":
                return self.permit(order) or roster_orders.end_key(self._registrar, order)
            case "status":
                return self._state()
            case "shutdown":
                self._on_shutdown()
                return b""
            case unknown:
                return Refusal("Unsupported", f"unknown order {unknown[:32]!r}")

    def _sign(self, order: Order) -> bytes | Refusal:
        scheme = schemes.SCHEMES.get((order.scheme, order.curve))
        if scheme is None:
            return _unsupported(order)
        defect = schemes.payload_defect(scheme, order.payload_kind, order.payload, order.tweak)
        refusal = defect or self.permit(order) or self.open(order)
        if refusal is not None:
            return refusal
        return schemes.sign(scheme, self.page, order.secret_kind, order.public_key, order.payload, order.tweak)

    def _generate(self, order: Order) -> bytes | Refusal:
        scheme = schemes.SCHEMES.get((order.scheme, order.curve))
        if scheme is None:
            return _unsupported(order)
        if not (0 < len(order.org_id) <= _MAX_NAME and 0 < len(order.key_id) <= _MAX_NAME):
            return Refusal("Unsupported", "a key needs an organisation and an id")
        master = order.payload_kind == "generate_master"
        if not (master or order.payload_kind == "generate") or bytes(order.payload) != order.curve.encode():
            return Refusal("Unsupported", "the payload of generate is the curve")
        kind = scheme.master_kind if master else scheme.secret_kind
        if kind is None:
            return Refusal("Unsupported", f"there are no {scheme.name} master keys")
        if (refusal := self.permit(order)) is not None:
            return refusal
        return self.seal_new(order, kind, schemes.generate(scheme, self.page, master=master))

    def _verify(self, order: Order) -> bytes | Refusal:
        scheme = schemes.SCHEMES.get((order.scheme, order.curve))
        if scheme is None:
            return _unsupported(order)
        if (refusal := self.open(order)) is not None:
            return refusal
        if schemes.public_key(scheme, self.page, order.secret_kind) != order.public_key:
            return Refusal("Integrity", "the secret does not belong to the stored public key")
        return b""

    def seal_new(self, order: Order, secret_kind: str, public_key: bytes) -> bytes:
        """Seal the secret in the page as the first generation of the key that ``order`` names; data of the reply."""
        version = self.roots.newest
        order.secret_kind, order.public_key = secret_kind, public_key
        order.root_version, order.generation = version, _FIRST_GENERATION
        return self._seal(order)

    def seal_again(self, order: Order) -> bytes:
        """Seal the secret of the order's record, open in the page, under the newest root; data of the reply.

        It takes no grant: what comes out opens for the same key only, here only, as what went in did.
        """
        version = self.roots.newest
        order.root_version, order.generation = version, order.generation + 1
        return self._seal(order)

    def _seal(self, order: Order) -> bytes:
        binding = self.binding(order)
        copy = b""
        if self.roots.recovery_recipients:
            secret = self.page.secret_area[: SECRET_BYTES[order.secret_kind]]
            copy = seal_copy(binding, secret, self.roots.recovery_recipients)
        sealed = record.seal(self.page, self.page.root(self.roots.slots[order.root_version]), binding)
        made = Generated(order.public_key, sealed, order.root_version, order.generation, order.secret_kind, copy)
        return _encode(made)

    def permit(self, order: Order) -> Refusal | None:
        """Whether the order may use a key: an unsealed store, a key that has not ended, consent, a fresh grant."""
        if (refusal := self._unusable(order)) is not None:
            return refusal
        if order.evidence is not None and (defect := order.evidence.defect()) is not None:
            return Refusal("Denied", defect)
        if order.evidence is not None and order.evidence.org_id != order.org_id:
            return Refusal("Denied", "consent evidence is of another organisation than the key")
        if self._grant_level == "G0":
            return None
        if order.op == "sign" and order.evidence is None:
            return Refusal("Denied", "an order to sign carries the evidence of consent")
        if self.grant_level == "G3" and (refusal := self._registrar.judge(order, self.roots.store_id)) is not None:
            return refusal
        expected = payload_hash(order.payload_kind, order.payload, order.tweak)
        return self._grants.accept(
            order.grant, order, expected, self.roots.store_id, self.roots.authorisers, self._clock()
        )

    def _unusable(self, order: Order) -> Refusal | None:
        """Why nothing is done with the order's key: a sealed store, or an ended key. Looked up once for each order."""
        if not self.roots.slots:
            return Refusal("Sealed", self._reason)
        if self._usable is order:
            return None
        refusal = self._registrar.catch_up() or self._registrar.ended(order)
        if refusal is None:
            self._usable = order
        return refusal

    @property
    def grant_level(self) -> GrantLevel:
        """The level that is enforced now."""
        return "G1" if self._grant_level == "G3" and not self._registrar.adopted else self._grant_level

    def _change_roster(self, order: Order) -> bytes | Refusal:
        if not self.roots.slots:
            return Refusal("Sealed", self._reason)
        if order.evidence is not None and (defect := order.evidence.defect()) is not None:
            return Refusal("Denied", defect)
        return roster_orders.carry_out(self._registrar, order)

    def open(self, order: Order) -> Refusal | None:
        """Open the order's record into the page."""
        slot = self.slot_of(order)
        if isinstance(slot, Refusal):
            return slot
        return record.unseal(self.page, self.page.root(slot), self.binding(order), order.record)

    def slot_of(self, order: Order) -> int | Refusal:
        """Where in the page the root of the order's record is; a refusal if it is not open or the key has ended."""
        if (refusal := self._unusable(order)) is not None:
            return refusal
        return self.roots.slot_of(order.root_version, self._reason)

    def binding(self, order: Order) -> record.Binding:
        """What the order's record is bound to."""
        return record.Binding(
            self.roots.store_id,
            order.org_id,
            order.key_id,
            order.scheme,
            order.curve,
            order.secret_kind,
            order.public_key,
            order.root_version,
            order.generation,
        )

    def _load(self, order: Order) -> bytes | Refusal:
        """Take over wrapped roots; open them at once unless a human has to, or has sealed the store."""
        try:
            blobs = _decode_roots(order.payload)
        except MALFORMED:
            return Refusal("Unsupported", "the payload of load is a list of wrapped roots")
        # Two of each version while the key-encryption key is exchanged.
        if not 0 < len(blobs) <= 2 * MAX_ROOTS:
            return Refusal("Unsupported", f"load takes 1 to {2 * MAX_ROOTS} wrapped roots")
        listed = self.roots.hand_over(blobs)
        if isinstance(listed, Refusal):
            return listed
        if self._sealed_by_order:
            return self._state()
        if (refusal := self._open_roots(b"")) is not None:
            self._reason = refusal.reason
            if not self._kek.needs_secret:
                log.error("store can't be unsealed: %s", refusal.reason)
        self.roots.retire(listed)
        return self._state()

    def _unseal(self, order: Order) -> bytes | Refusal:
        if not self.roots.handed_over:
            return Refusal("Sealed", "no store root was handed over yet; start the API process first")
        refusal = self._open_roots(order.payload)
        if isinstance(refusal, MoreShares):
            self._reason = refusal.reason
            return self._state()
        if refusal is not None:
            log.warning("unseal refused: %s", refusal.reason)
            if not self.roots.slots:
                self._reason = refusal.reason
            return refusal
        self._sealed_by_order = False
        return self._state()

    def _open_roots(self, secret: Buffer) -> Refusal | None:
        """Open the roots that were handed over, and with new ones the roster; without it the store stays sealed."""
        opened = self.roots.open(secret)
        if isinstance(opened, Refusal):
            return opened
        self._reason = ""
        if opened and (refusal := self._open_roster(opened.get(self.roots.newest))) is not None:
            log.error("store stays sealed: %s", refusal.reason)
            self.seal()
            self._reason = refusal.reason
            return refusal
        self._kek.forget()
        return None

    def _before_opening_a_root(self) -> None:
        """For those whose key-encryption key may be where they have a login of their own."""

    def _open_roster(self, newest: roots.OpenedRoot | None) -> Refusal | None:
        installation_id, founders = (newest.installation_id, newest.founders) if newest is not None else ("", ())
        return self._registrar.open(Roots(self.page, self.roots.slots, self.roots.store_id), installation_id, founders)

    def _roster_notes(self) -> tuple[str, ...]:
        if self._grant_level != "G3" or not self.roots.slots:
            return ()
        if not self._registrar.adopted:
            return ("grants alone are checked (G1): begin the roster with 'countersign keystore roster adopt'",)
        return () if self._registrar.ledger.lasting else ("the roster is forgotten when the signer stops: no --state",)

    def _state(self) -> bytes:
        state = "unsealed" if self.roots.slots else "sealed"
        versions = tuple(sorted(self.roots.slots))
        return _encode(
            State(
                state,
                self._reason,
                (*self._notes, *self._roster_notes()),
                self.boot_id,
                self._clock(),
                self.grant_level,
                self.roots.store_id,
                versions,
                self._registrar.ledger.count,
                self._registrar.ledger.head,
                roster_orders.statement_key(self._registrar) if self.roots.slots else b"",
                self.roots.authorisers,
            )
        )


def _unsupported(order: Order) -> Refusal:
    return Refusal("Unsupported", f"this store has no {order.scheme[:32]} keys on {order.curve[:32]}")
