"""The signer of a store whose private keys a hardware module keeps: same orders, same permission, other hands.

The store has roots like any other: they pin whose grants count and begin the roster, and they seal each key's *handle*
(its name in the token, or the key as the token wrapped it) as a record bound to its row. So a handle moved to another
row or organisation does not open, before the token is asked.
"""

from __future__ import annotations

import os
from typing import Any, Final

import msgspec

from countersign.keystores import record
from countersign.keystores.kek import KekProvider
from countersign.keystores.outcome import Refusal
from countersign.keystores.pkcs11_token import Token, TokenTrouble, Unsupported
from countersign.keystores.protocol import DIGEST32, MAX_MESSAGE, MESSAGE, Generated, Order, State
from countersign.keystores.service import SignerService

PAIRS: Final = {("ECDSA", "secp256k1"): DIGEST32, ("EdDSA", "ed25519"): MESSAGE}
"""What a token can hold, and the kind of payload each signs. There are no mechanisms for the other schemes."""

_SIGNS_NOTHING_ELSE: Final = ("derive", "derive_child", "signers", "import", "export")
_FIRST_GENERATION: Final = 1
_MAX_NAME: Final = 256

_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(State).decode


class Pkcs11Service(SignerService):
    """Everything that does not touch a private key is as in ``SignerService``, whose further arguments it takes."""

    def __init__(self, token: Token, kek: KekProvider, **others: Any) -> None:
        super().__init__(kek, **others)
        self._token = token
        self._secret_kind = f"pkcs11.{token.place.mode}"

    def seal(self) -> None:
        """Wipe every secret and log out of the token."""
        super().seal()
        self._token.close()

    def _carry_out(self, order: Order) -> bytes | Refusal:
        try:
            if order.op in _SIGNS_NOTHING_ELSE:
                return Refusal("Unsupported", f"a pkcs11 store can't {order.op}: its keys never leave the token")
            if order.op == "rewrap":
                return self._rewrap(order)
            if order.op == "destroy":
                return self._destroy(order)
            return super()._carry_out(order)
        except Unsupported as unsupported:
            return Refusal("Unsupported", str(unsupported))
        except TokenTrouble as trouble:
            return Refusal("Unavailable", str(trouble))

    def _sign(self, order: Order) -> bytes | Refusal:
        refusal = _payload_defect(order) or self.permit(order)
        if refusal is not None:
            return refusal
        handle = self._handle(order)
        if isinstance(handle, Refusal):
            return handle
        return self._token.sign(handle, order.curve, order.public_key, order.payload)

    def _generate(self, order: Order) -> bytes | Refusal:
        if (order.scheme, order.curve) not in PAIRS:
            return _unsupported(order)
        if not (0 < len(order.org_id) <= _MAX_NAME and 0 < len(order.key_id) <= _MAX_NAME):
            return Refusal("Unsupported", "a key needs an organisation and an id")
        if order.payload_kind != "generate" or bytes(order.payload) != order.curve.encode():
            return Refusal("Unsupported", "a pkcs11 store has no master keys; the payload of generate is the curve")
        if (refusal := self.permit(order)) is not None:
            return refusal
        handle, public_key = self._token.generate(order.key_id, order.curve)
        # Before anybody is told of the key: what the token says is its public key has to be.
        if isinstance(tried := self._token.sign(handle, order.curve, public_key, os.urandom(32)), Refusal):
            return tried
        order.secret_kind, order.public_key = self._secret_kind, public_key
        return self._sealed(order, handle, _FIRST_GENERATION)

    def _verify(self, order: Order) -> bytes | Refusal:
        if (order.scheme, order.curve) not in PAIRS:
            return _unsupported(order)
        handle = self._handle(order)
        if isinstance(handle, Refusal):
            return handle
        tried = self._token.sign(handle, order.curve, order.public_key, os.urandom(32))
        return tried if isinstance(tried, Refusal) else b""

    def _rewrap(self, order: Order) -> bytes | Refusal:
        handle = self._handle(order)
        return handle if isinstance(handle, Refusal) else self._sealed(order, handle, order.generation + 1)

    def _destroy(self, order: Order) -> bytes | Refusal:
        handle = self._handle(order) if order.record else b""
        if isinstance(handle, Refusal) and handle.code != "Denied":
            return handle
        outcome = super()._carry_out(order)
        if isinstance(outcome, bytes) and isinstance(handle, bytes) and handle:
            self._token.destroy(handle, order.curve)
        return outcome

    def _handle(self, order: Order) -> bytes | Refusal:
        """What the order's record says of the key."""
        if order.secret_kind != self._secret_kind:
            return Refusal(
                "NotFound", f"the key is of kind {order.secret_kind[:32]!r}, the store is {self._secret_kind}"
            )
        slot = self.slot_of(order)
        if isinstance(slot, Refusal):
            return slot
        return record.unseal_handle(self.page, self.page.root(slot), self.binding(order), order.record)

    def _sealed(self, order: Order, handle: bytes, generation: int) -> bytes:
        version = self.roots.newest
        order.root_version, order.generation = version, generation
        sealed = record.seal_handle(self.page, self.page.root(self.roots.slots[version]), self.binding(order), handle)
        return _encode(Generated(order.public_key, sealed, version, generation, self._secret_kind))

    def _before_opening_a_root(self) -> None:
        """The key-encryption key may be in the same token, where a second login would be refused."""
        self._token.close()

    def _state(self) -> bytes:
        """As if sealed while the token can't be used, so that no consent is spent for nothing."""
        encoded = super()._state()
        if not self.roots.slots:
            return encoded
        try:
            self._token.ready()
        except TokenTrouble as trouble:
            return _encode(msgspec.structs.replace(_decode_state(encoded), state="sealed", reason=str(trouble)))
        return encoded


def _payload_defect(order: Order) -> Refusal | None:
    kind = PAIRS.get((order.scheme, order.curve))
    if kind is None:
        return _unsupported(order)
    if order.payload_kind != kind:
        return Refusal("Unsupported", f"{order.scheme} signs payloads of kind {kind}, not {order.payload_kind!r}")
    if kind == DIGEST32 and len(order.payload) != 32:
        return Refusal("Unsupported", f"a digest has 32 bytes, not {len(order.payload)}")
    if len(order.payload) > MAX_MESSAGE:
        return Refusal("Unsupported", f"a message has at most {MAX_MESSAGE} bytes")
    return None if order.tweak is None else Refusal("Unsupported", "a taproot tweak is for Schnorr keys")


def _unsupported(order: Order) -> Refusal:
    return Refusal("Unsupported", f"a pkcs11 store has no {order.scheme[:32]} keys on {order.curve[:32]}")
