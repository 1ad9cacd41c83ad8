"""The API process's side of the signer: one pipelined connection that comes back by itself.

It never holds a private key. It hands the wrapped roots over when it connects, signs a grant for every order, and
turns the signer's answers into values or one of three exceptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import msgspec

from countersign.keystores import protocol
from countersign.keystores.grants import Authoriser, Grant, payload_hash
from countersign.keystores.outcome import SignerError, SignerRefused, SignerSealed, SignerUnavailable
from countersign.keystores.protocol import ConsentEvidence, Generated, Order, Reply, State
from countersign.keystores.roster_orders import RosterPage, SignedStatement
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

_GRANT_LIFE_MS = 15_000
_ORDER_TIMEOUT_S = 10.0
_WATCH_S = 1.0
_FOLLOW_S = 5.0
_BACKOFF_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

_encode = msgspec.msgpack.Encoder().encode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode
_decode_state = msgspec.msgpack.Decoder(State).decode
_decode_roster_page = msgspec.msgpack.Decoder(RosterPage).decode
_decode_statement = msgspec.msgpack.Decoder(SignedStatement).decode
_decode_generated = msgspec.msgpack.Decoder(Generated).decode


@dataclass(frozen=True, slots=True)
class SignerStatus:
    """``state`` is sealed | unsealed | down; ``notes`` name protections the signer's host could not give."""

    state: str
    reason: str
    notes: tuple[str, ...] = ()
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class GeneratedKey:
    """A new key: canonical public key bytes and the sealed record that holds the private one.

    ``recovery_copy``: the same for the store's recovery recipients, empty where it has none.
    """

    public_key: bytes
    record: bytes
    root_version: int
    generation: int
    secret_kind: str
    recovery_copy: bytes = b""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A stored key as the signer needs it: the sealed record and everything it is bound to.

    ``store_id`` says which key store holds it, and so which signer it goes to.
    """

    org_id: str
    key_id: str
    scheme: str
    curve: str
    public_key: bytes
    secret_kind: str
    root_version: int
    generation: int
    record: bytes
    store_id: str = ""


class EndedKey(msgspec.Struct, array_like=True, frozen=True):
    """A key that was archived or destroyed, as the signer is told of it; ``public_key`` as bytes."""

    key_id: str
    scheme: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class SignOrder:
    """What to sign, with which key, for which signature request, and who agreed to it.

    ``kind`` is ``digest32`` (ECDSA and Schnorr: 32 bytes, already hashed) or ``message`` (EdDSA: the whole message).
    ``tweak`` is for Schnorr keys: None = none, empty = default taproot tweak, 32 bytes = merkle root.
    """

    key: KeyRecord
    kind: str
    payload: bytes
    request_id: str
    evidence: ConsentEvidence
    tweak: bytes | None = None
    policy_decision_id: str = ""


@dataclass(frozen=True, slots=True)
class SignatureValue:
    """``r`` and ``s``: 32 bytes each, as the scheme encodes them; ``recid`` 0 to 3 for ECDSA only."""

    r: bytes
    s: bytes
    recid: int | None


class SignerClient:
    """Talks to the signer behind ``socket_path``.

    ``roots`` fetches the wrapped roots of ``store_id`` from the database; it is called at each connection.
    ``authoriser`` may be None for a tool that only asks for the state, unseals or seals.
    """

    def __init__(
        self,
        socket_path: str,
        authoriser: Authoriser | None,
        roots: Callable[[], Awaitable[list[bytes]]],
        *,
        store_id: str,
        world: World,
    ) -> None:
        self._socket_path = socket_path
        self._authoriser = authoriser
        self._roots = roots
        self._store_id = store_id
        self._world = world
        self._link: _Link | None = None
        self._state: State | None = None
        self._handed_over: list[bytes] = []
        self._clock_offset = 0.0
        self._trouble = "not connected yet"
        self._connected_once = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def available(self) -> bool:
        """Whether an order would reach an unsealed store right now."""
        return self._connected and self._state is not None and self._state.state == "unsealed"

    @property
    def sealed(self) -> bool:
        """Whether the signer is there and its store is sealed, as far as is known here."""
        return self._connected and self._state is not None and self._state.state == "sealed"

    @property
    def _connected(self) -> bool:
        # A link that was cut is dropped a moment later only: until then a consent would be spent for nothing.
        return self._link is not None and not self._link.closed.is_set()

    async def start(self, wait: float = 5.0) -> None:
        """Connect, at most ``wait`` seconds long, and keep connecting afterwards; never fails."""
        self._task = asyncio.create_task(self._run())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connected_once.wait(), wait)

    async def close(self) -> None:
        """Give up the connection; orders in flight end as unavailable."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def status(self) -> SignerStatus:
        """The signer's state, asked now."""
        if self._link is None:
            return SignerStatus("down", self._trouble)
        try:
            state = self._note(_decode_state(await self._order(Order(0, "status"))))
        except SignerUnavailable as gone:
            return SignerStatus("down", str(gone))
        return SignerStatus(state.state, state.reason, state.notes, state.boot_id.hex())

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
        order.grant = self._grant(order, request_id, "")
        return _generated(await self._order(order))

    async def sign(self, order: SignOrder) -> SignatureValue:
        """Sign; raises SignerUnavailable, SignerSealed or SignerRefused."""
        wire = _about("sign", order.key)
        wire.payload, wire.payload_kind, wire.tweak = memoryview(order.payload), order.kind, order.tweak
        wire.evidence = order.evidence
        wire.grant = self._grant(wire, order.request_id, order.policy_decision_id)
        value = await self._order(wire)
        return SignatureValue(value[:32], value[32:64], value[64] if len(value) > 64 else None)

    async def make_signers(self, request_id: str) -> tuple[SealedSigner, ...]:
        """Make the signers that shares of imported keys are encrypted to; nothing is stored by the signer."""
        order = Order(0, "signers", payload_kind=SIGNERS_KIND)
        order.grant = self._grant(order, request_id, "")
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
        wire.grant = self._grant(wire, request_id, "")
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
        wire = _about("export", key)
        wire.payload, wire.payload_kind = memoryview(encode(payload)), "export"
        wire.arguments, wire.evidence = encode(signer_ids), evidence
        wire.grant = self._grant(wire, request_id, "")
        return decode_shares(await self._order(wire))

    async def derive_child(
        self, master: KeyRecord, child_key_id: str, path: str, request_id: str, evidence: ConsentEvidence | None = None
    ) -> GeneratedKey:
        """Make the child of a master key at ``path`` (``m/0/1``); its scheme and curve are the master's.

        Like ``generate``, nothing is stored by the signer, and the same path gives the same public key again.
        """
        wire = _about("derive_child", master)
        wire.payload, wire.payload_kind = memoryview(_encode((child_key_id, path))), "derive_child"
        wire.evidence = evidence
        wire.grant = self._grant(wire, request_id, "")
        return _generated(await self._order(wire))

    async def derive(
        self, key: KeyRecord, domain: bytes, seed: bytes, request_id: str, evidence: ConsentEvidence | None = None
    ) -> bytes:
        """The 32-byte output of a DH key for ``seed`` under ``domain`` (not empty); neither is secret."""
        wire = _about("derive", key)
        wire.payload, wire.payload_kind = memoryview(_encode((domain, seed))), "derive"
        wire.evidence = evidence
        wire.grant = self._grant(wire, request_id, "")
        return await self._order(wire)

    async def verify(self, key: KeyRecord) -> None:
        """Open the record and recompute its public key; raises SignerRefused (``Integrity``) if they differ."""
        await self._order(_about("verify", key))

    async def rewrap(self, key: KeyRecord) -> GeneratedKey:
        """The same key sealed anew under the newest root, one generation on; the stored record is not touched."""
        return _generated(await self._order(_about("rewrap", key)))

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
    def roster_mark(self) -> tuple[int, str] | None:
        """Records and head (hex) of the signer's roster as last heard of; None while its store is sealed."""
        state = self._state
        if state is None or state.state != "unsealed" or not state.roster_records:
            return None
        return state.roster_records, state.roster_head.hex()

    async def change_roster(self, op: str, arguments: bytes, evidence: ConsentEvidence | None = None) -> bytes:
        """Enrol, endorse, retire or adopt; ``arguments`` is msgpack as ``roster_orders`` says. Gives the outcome."""
        order = Order(0, op)
        order.arguments, order.evidence = arguments, evidence
        return await self._order(order)

    async def roster_page(self, offset: int) -> RosterPage:
        """Credentials of the signer's roster, from an offset on."""
        order = Order(0, "roster")
        order.arguments = _encode(offset)
        return _decode_roster_page(await self._order(order))

    async def end_key(
        self, op: str, org_id: str, key: EndedKey, request_id: str, evidence: ConsentEvidence
    ) -> SignedStatement:
        """``archive`` or ``destroy``: the signer refuses the key from then on and states so, signed."""
        order = Order(0, op, key.key_id, key.scheme, payload_kind=op)
        order.org_id, order.public_key, order.evidence = org_id, key.public_key, evidence
        order.grant = self._grant(order, request_id, "")
        return _decode_statement(await self._order(order))

    async def destroy(self, key: KeyRecord, request_id: str, evidence: ConsentEvidence) -> SignedStatement:
        """The same for a key whose record is still there, so that what a store keeps outside of it ends as well."""
        order = _about("destroy", key)
        order.payload_kind, order.evidence = "destroy", evidence
        order.grant = self._grant(order, request_id, "")
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

    def _grant(self, order: Order, request_id: str, policy_decision_id: str) -> bytes:
        if self._authoriser is None:
            return b""
        if self._state is None:
            # Connected a moment ago. An order without a grant would be refused for good, and this one can wait.
            raise SignerUnavailable("the signer did not say its state yet")
        # The signer judges by its own clock, so that a clock that was moved here (sandbox, NTP) stops no signature.
        now = int(asyncio.get_running_loop().time() * 1000 + self._clock_offset)
        return self._authoriser.sign(
            Grant(
                1,
                self._store_id,
                order.org_id,
                order.key_id,
                order.op,
                order.scheme,
                payload_hash(order.payload_kind, order.payload, order.tweak),
                request_id,
                policy_decision_id,
                self._state.boot_id,
                now - 1000,
                now + _GRANT_LIFE_MS,
                self._world.randomness(16),
            )
        )

    async def _order(self, order: Order) -> bytes:
        link = self._link
        if link is None:
            raise SignerUnavailable(self._trouble)
        if order.record and self.root_versions and order.root_version > max(self.root_versions):
            # Sealed under a root that was made a moment ago, elsewhere.
            await self.load_roots()
        reply = await link.send(order)
        if reply.code == "ok":
            return reply.data
        reason = reply.data.decode(errors="replace")
        if reply.code == "Sealed":
            if self._state is not None:
                self._state = msgspec.structs.replace(self._state, state="sealed", reason=reason)
            raise SignerSealed(reason)
        if reply.code in ("Busy", "Unavailable"):
            raise SignerUnavailable(reason)
        raise SignerRefused(reply.code, reason)

    def _note(self, state: State) -> State:
        if state.store_id and state.store_id != self._store_id:
            state = msgspec.structs.replace(state, state="sealed", reason="the signer serves another key store")
        self._state = state
        self._clock_offset = state.now - asyncio.get_running_loop().time() * 1000
        return state

    async def _run(self) -> None:
        """Connect, hand over the roots, watch; and again, with a growing pause while it fails."""
        failures = 0
        while True:
            try:
                await self._connect()
                failures = 0
                self._connected_once.set()
                await self._watch()
                self._trouble = "the signer closed the connection"
            except (OSError, SignerUnavailable, SignerSealed, SignerRefused) as trouble:
                self._trouble = f"signer not reachable: {trouble}"
            except Exception as trouble:  # the roots come from the database, which fails in its own ways
                log.warning("key store roots can't be handed over: %s", trouble)
                self._trouble = "the roots of the key store can't be read"
            finally:
                self._drop()
            await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
            failures += 1

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(_Link, self._socket_path)
        self._link = link
        await self.load_roots()
        if self._state is not None:
            log.info("signer connected: %s %s", self._state.state, self._state.reason)

    async def _watch(self) -> None:
        """Until the connection ends: cut it off when an order hangs, learn when others seal or unseal the store."""
        link, loop = self._link, asyncio.get_running_loop()
        followed = loop.time()
        while link is not None and not link.closed.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(link.closed.wait(), _WATCH_S)
            if link.overdue():
                link.abort()
            else:
                await self.status()
            if loop.time() - followed >= _FOLLOW_S:
                followed = loop.time()
                await self._follow_roots()

    async def _follow_roots(self) -> None:
        """Hand over roots that were rotated elsewhere, and try again where a key service was away."""
        try:
            if self.sealed or await self._roots() != self._handed_over:
                await self.load_roots()
        except SignerError as trouble:
            log.warning("key store roots were not taken: %s", trouble)
        except Exception as trouble:  # the database's own ways to fail: no reason to give up the signer
            log.warning("key store roots can't be read: %s", trouble)

    def _drop(self) -> None:
        if self._link is not None:
            self._link.abort()
        self._link = None
        self._state = None


def _generated(data: bytes) -> GeneratedKey:
    made = _decode_generated(data)
    return GeneratedKey(
        made.public_key, made.record, made.root_version, made.generation, made.secret_kind, made.recovery_copy
    )


def _about(op: str, key: KeyRecord) -> Order:
    order = Order(0, op, key.key_id, key.scheme, record=key.record)
    order.org_id, order.curve, order.secret_kind = key.org_id, key.curve, key.secret_kind
    order.public_key, order.root_version, order.generation = key.public_key, key.root_version, key.generation
    return order


class _Link(asyncio.BufferedProtocol):
    """One connection: numbers the orders, matches the replies."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._buffer = protocol.FrameBuffer()
        self._pending: dict[int, tuple[asyncio.Future[Reply], float]] = {}
        self._last_id = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports share no base class with asyncio's
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer.writable()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            frames = self._buffer.received(nbytes)
            for view in frames:
                reply = _decode_reply(view)
                waiting = self._pending.pop(reply.id, None)
                if waiting is not None and not waiting[0].done():
                    waiting[0].set_result(reply)
            self._buffer.compact(frames)
        except (protocol.FrameOverflow, *protocol.MALFORMED):
            log.exception("signer sent something that is no reply")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.closed.set()
        for future, _ in self._pending.values():
            if not future.done():
                future.set_exception(SignerUnavailable("the signer went away with the order"))
        self._pending.clear()

    async def send(self, order: Order) -> Reply:
        if self._transport is None:
            raise SignerUnavailable("the signer went away")
        self._last_id += 1
        order.id = self._last_id
        body = _encode(order)
        if len(body) > protocol.MAX_FRAME:
            raise SignerRefused("Unsupported", f"order is longer than {protocol.MAX_FRAME} bytes")
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._pending[order.id] = (future, self._loop.time() + _ORDER_TIMEOUT_S)
        self._transport.write(protocol.frame(body))
        return await future

    def overdue(self) -> bool:
        """Whether the oldest order has waited too long (orders are numbered, so the first is the oldest)."""
        oldest = next(iter(self._pending.values()), None)
        return oldest is not None and oldest[1] < self._loop.time()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
