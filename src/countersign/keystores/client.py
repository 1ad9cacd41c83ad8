"""The API process's side of the signer: one pipelined connection that comes back by itself.

It never holds a private key. It hands the wrapped roots over when it connects, gets a grant for every order, and
turns the signer's answers into values or one of three exceptions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from countersign.keystores.grants import Asked, Grants
from countersign.keystores.orders import (
    EndedKey,
    GeneratedKey,
    KeyRecord,
    SignatureValue,
    SignerStatus,
    SignOrder,
    about,
)
from countersign.keystores.outcome import SignerError, SignerSealed, SignerUnavailable
from countersign.keystores.protocol import ConsentEvidence, Generated, Order, State
from countersign.keystores.roster_line import Mark, RosterLine
from countersign.keystores.statements import SignedStatement
from countersign.keystores.transfer_messages import (
    SIGNERS_KIND,
    ExportPayload,
    ImportPayload,
    SealedSigner,
    decode_shares,
    decode_signers,
    encode,
)
from countersign.world import World

log = logging.getLogger("countersign.keystores")

_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(State).decode
_decode_statement = msgspec.msgpack.Decoder(SignedStatement).decode
_decode_generated = msgspec.msgpack.Decoder(Generated).decode


class SignerClient(RosterLine):
    """Talks to the signer behind ``socket_path``.

    ``roots`` fetches the wrapped roots of ``store_id`` from the database; it is called at each connection.
    ``authoriser`` gives the grants; it may be None for a tool that only asks for the state, unseals or seals.
    ``marks`` as for a ``RosterLine``.
    """

    def __init__(
        self,
        socket_path: str,
        authoriser: Grants | None,
        roots: Callable[[], Awaitable[list[bytes]]],
        *,
        store_id: str,
        world: World,
        marks: Callable[[], Awaitable[Mark | None]] | None = None,
    ) -> None:
        super().__init__(socket_path, "signer", marks)
        self._authoriser = authoriser
        self._roots = roots
        self._store_id = store_id
        self._world = world
        self._state: State | None = None
        self._handed_over: list[bytes] = []
        self._clock_offset = 0.0

    @property
    def available(self) -> bool:
        """Whether an order would reach an unsealed store with a roster to judge by, and with a grant that it takes."""
        return self.open and self.roster_trouble is None and self._grant_trouble() is None

    @property
    def open(self) -> bool:
        """Whether the store is there and unsealed, whoever gives grants."""
        return self._connected and self._state is not None and self._state.state == "unsealed"

    @property
    def sealed(self) -> bool:
        """Whether the signer is there and its store is sealed, as far as is known here."""
        return self._connected and self._state is not None and self._state.state == "sealed"

    def _grant_trouble(self) -> str | None:
        """Why no grant can be had that the signer takes, as far as is known here; None when one can."""
        if self._authoriser is None or self._state is None:
            return None
        trouble, taken = self._authoriser.trouble, self._state.authorisers
        if trouble is None and taken and self._authoriser.public_key not in taken:
            trouble = "the store root names another authoriser than the one that the server asks"
        return trouble

    async def status(self) -> SignerStatus:
        """The signer's state, asked now."""
        if self._link is None:
            return SignerStatus("down", self._trouble)
        try:
            state = await self._ask_state()
            await self._compare_first()
        except SignerUnavailable as gone:
            return SignerStatus("down", str(gone))
        name, reason = state.state, state.reason
        if name == "unsealed" and (trouble := self.roster_trouble) is not None:
            name, reason = "behind", trouble
        elif name == "unsealed" and (trouble := self._grant_trouble()) is not None:
            name, reason = "ungranted", trouble
        return SignerStatus(name, reason, state.notes, state.boot_id.hex())

    async def generate(
        self,
        org_id: str,
        key_id: str,
        scheme: str,
        curve: str,
        request_id: str,
        evidence: ConsentEvidence | None = None,
        *,
        master: bool = False,
    ) -> GeneratedKey:
        """Make a key, with ``master`` one to derive others from.

        Nothing is stored by the signer, so the record must be stored before the key is announced.
        """
        kind = "generate_master" if master else "generate"
        order = Order(0, "generate", key_id, scheme, payload=memoryview(curve.encode()), payload_kind=kind)
        order.org_id, order.curve, order.evidence = org_id, curve, evidence
        order.grant = await self._grant(order, request_id)
        return _generated(await self._order(order))

    async def sign(self, order: SignOrder) -> SignatureValue:
        """Sign; raises SignerUnavailable, SignerSealed or SignerRefused."""
        wire = about("sign", order.key)
        wire.payload, wire.payload_kind, wire.tweak = memoryview(order.payload), order.kind, order.tweak
        wire.evidence = order.evidence
        wire.grant = await self._grant(wire, order.request_id, order.policy_decision_id)
        value = await self._order(wire)
        return SignatureValue(value[:32], value[32:64], value[64] if len(value) > 64 else None)

    async def make_signers(self, request_id: str) -> tuple[SealedSigner, ...]:
        """Make the signers that shares of imported keys are encrypted to; nothing is stored by the signer."""
        order = Order(0, "signers", payload_kind=SIGNERS_KIND)
        order.grant = await self._grant(order, request_id)
        return decode_signers(await self._order(order))

    async def import_key(
        self,
        org_id: str,
        key_id: str,
        scheme: str,
        payload: ImportPayload,
        signers: tuple[SealedSigner, ...],
        request_id: str,
        evidence: ConsentEvidence,
        *,
        master: bool,
    ) -> GeneratedKey:
        """Have a key put together from its shares; SignerRefused (``Unsupported``) says what is wrong with them."""
        wire = Order(0, "import", key_id, scheme, payload=memoryview(encode(payload)))
        wire.payload_kind = "import_master" if master else "import"
        wire.org_id, wire.curve, wire.evidence, wire.arguments = org_id, payload.curve, evidence, encode(signers)
        wire.grant = await self._grant(wire, request_id)
        return _generated(await self._order(wire))

    async def export_key(
        self,
        key: KeyRecord,
        payload: ExportPayload,
        signer_ids: tuple[bytes, ...],
        request_id: str,
        evidence: ConsentEvidence,
    ) -> tuple[tuple[bytes, bytes], ...]:
        """Have a key shared anew; pairs of signer id and envelope."""
        wire = about("export", key)
        wire.payload, wire.payload_kind = memoryview(encode(payload)), "export"
        wire.arguments, wire.evidence = encode(signer_ids), evidence
        wire.grant = await self._grant(wire, request_id)
        return decode_shares(await self._order(wire))

    async def derive_child(
        self, master: KeyRecord, child_key_id: str, path: str, request_id: str, evidence: ConsentEvidence | None = None
    ) -> GeneratedKey:
        """Make the child of a master key at ``path`` (``m/0/1``); its scheme and curve are the master's.

        Like ``generate``, nothing is stored by the signer, and the same path gives the same public key again.
        """
        wire = about("derive_child", master)
        wire.payload, wire.payload_kind = memoryview(_encode((child_key_id, path))), "derive_child"
        wire.evidence = evidence
        wire.grant = await self._grant(wire, request_id)
        return _generated(await self._order(wire))

    async def derive(
        self, key: KeyRecord, domain: bytes, seed: bytes, request_id: str, evidence: ConsentEvidence | None = None
    ) -> bytes:
        """The 32-byte output of a DH key for ``seed`` under ``domain`` (not empty); neither is secret."""
        wire = about("derive", key)
        wire.payload, wire.payload_kind = memoryview(_encode((domain, seed))), "derive"
        wire.evidence = evidence
        wire.grant = await self._grant(wire, request_id)
        return await self._order(wire)

    async def verify(self, key: KeyRecord) -> None:
        """Open the record and recompute its public key; raises SignerRefused (``Integrity``) if they differ."""
        await self._order(about("verify", key))

    async def rewrap(self, key: KeyRecord) -> GeneratedKey:
        """The same key sealed anew under the newest root, one generation on; the stored record is not touched."""
        return _generated(await self._order(about("rewrap", key)))

    async def load_roots(self) -> None:
        """Hand over the roots as the database has them now: new ones are opened, retired ones wiped."""
        self._handed_over = await self._roots()
        payload = memoryview(msgspec.msgpack.encode(self._handed_over))
        self._note(_decode_state(await self._order(Order(0, "load", payload=payload))))

    @property
    def root_versions(self) -> tuple[int, ...]:
        """Versions of the roots that are open in the signer, as far as is known here."""
        return () if self._state is None else self._state.root_versions

    @property
    def roster_mark(self) -> Mark | None:
        """How far the signer's roster was as last heard of; None while its store is sealed."""
        state = self._state
        if state is None or state.state != "unsealed" or not state.roster_records:
            return None
        return state.roster_records, state.roster_head.hex()

    async def end_key(
        self, op: str, org_id: str, key: EndedKey, request_id: str, evidence: ConsentEvidence
    ) -> SignedStatement:
        """``archive`` or ``destroy``: the signer refuses the key from then on and states so, signed."""
        order = Order(0, op, key.key_id, key.scheme, payload_kind=op)
        order.org_id, order.public_key, order.evidence = org_id, key.public_key, evidence
        order.grant = await self._grant(order, request_id)
        return _decode_statement(await self._order(order))

    async def destroy(self, key: KeyRecord, request_id: str, evidence: ConsentEvidence) -> SignedStatement:
        """The same for a key whose record is still there, so that what a store keeps outside of it ends as well."""
        order = about("destroy", key)
        order.payload_kind, order.evidence = "destroy", evidence
        order.grant = await self._grant(order, request_id)
        return _decode_statement(await self._order(order))

    async def unseal(self, secret: bytearray | None) -> None:
        """Open the store root with ``secret`` (a passphrase, wiped here) or the signer's own key-encryption key."""
        try:
            self._note(_decode_state(await self._order(Order(0, "unseal", payload=memoryview(secret or b"")))))
        finally:
            if secret is not None:
                secret[:] = bytes(len(secret))

    async def seal(self) -> None:
        """Wipe the store root from the signer; it stays sealed until ``unseal`` or a restart of the signer."""
        self._note(_decode_state(await self._order(Order(0, "seal"))))

    async def _grant(self, order: Order, request_id: str, policy_decision_id: str = "") -> bytes:
        if self._authoriser is None:
            return b""
        if self._state is None:
            # Connected a moment ago. An order without a grant would be refused for good, and this one can wait.
            raise SignerUnavailable("the signer did not say its state yet")
        # The signer judges by its own clock, so that a clock that was moved here (sandbox, NTP) stops no signature.
        now = int(asyncio.get_running_loop().time() * 1000 + self._clock_offset)
        asked = Asked(
            self._store_id, request_id, policy_decision_id, self._state.boot_id, now, self._world.randomness(16)
        )
        return await self._authoriser.grant(order, asked)

    async def _order(self, order: Order) -> bytes:
        if order.record and self.root_versions and order.root_version > max(self.root_versions):
            # Sealed under a root that was made a moment ago, elsewhere.
            await self.load_roots()
        try:
            return await super()._order(order)
        except SignerSealed as sealed:
            if self._state is not None:
                self._state = msgspec.structs.replace(self._state, state="sealed", reason=str(sealed))
            raise

    async def _ask_state(self) -> State:
        return self._note(_decode_state(await self._order(Order(0, "status"))))

    def _note(self, state: State) -> State:
        if state.store_id and state.store_id != self._store_id:
            state = msgspec.structs.replace(state, state="sealed", reason="the signer serves another key store")
        self._state = state
        self._clock_offset = state.now - asyncio.get_running_loop().time() * 1000
        return state

    async def _greet(self) -> None:
        await self.load_roots()
        if self._state is not None:
            log.info("signer connected: %s %s", self._state.state, self._state.reason)
        await self._compare()
        if (trouble := self._grant_trouble()) is not None:
            log.error("no grants for the signer: %s", trouble)

    async def _look(self) -> None:
        """Learn when others seal or unseal the store."""
        await self._ask_state()
        await self._compare_first()

    async def _follow(self) -> None:
        """Hand over roots that were rotated elsewhere, and try again where a key service was away."""
        await self._compare()
        try:
            if self.sealed or await self._roots() != self._handed_over:
                await self.load_roots()
        except SignerError as trouble:
            log.warning("key store roots were not taken: %s", trouble)
        except Exception as trouble:  # the database's own ways to fail: no reason to give up the signer
            log.warning("key store roots can't be read: %s", trouble)

    def _forget(self) -> None:
        super()._forget()
        self._state = None


def _generated(data: bytes) -> GeneratedKey:
    made = _decode_generated(data)
    return GeneratedKey(
        made.public_key, made.record, made.root_version, made.generation, made.secret_kind, made.recovery_copy
    )
