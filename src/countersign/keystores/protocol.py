"""What the API process and the signer say to each other: orders, replies, and the frames they travel in.

A frame is a big-endian u32 length and that many bytes of msgpack, at most ``MAX_FRAME``. Every message is a msgpack
array, so fields are never reordered or removed, and new ones come last with a default. Orders are pipelined; a reply
carries the id of its order. The sealed record travels with the order, so that the signer needs no database.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from countersign.keystores.memory import wipe
from countersign.keystores.outcome import Code, Refusal

MAX_FRAME: Final = 1 << 20
"""Longest body of a frame in bytes (1 MiB)."""

MAX_MESSAGE: Final = 384 * 1024
MAX_REQUEST_BODY: Final = 512 * 1024
MAX_APPROVALS: Final = 16
"""How many decisions of others travel with an order."""
MAX_APPROVAL: Final = 8 * 1024
"""How long each of them is at most, encoded, in bytes."""
_MAX_CLIENT_DATA: Final = 16 * 1024
_MAX_FIELD: Final = 4 * 1024
_FIRST_BUFFER: Final = 16 * 1024

DIGEST32: Final = "digest32"
MESSAGE: Final = "message"

_LENGTH = struct.Struct(">I")

Buffer = bytes | bytearray | memoryview

MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError)
"""What decoding raises for bytes that are not the message expected (msgspec passes on faults in UTF-8 as they are)."""


class ConsentEvidence(msgspec.Struct, array_like=True, frozen=True):
    """The proof that someone agreed to exactly this request; enough to check it again without the API process.

    ``path`` and ``query`` are in canonical form (``query`` empty or with its leading ``?``), ``payload`` is the
    canonical request body. ``credential_public_key`` is SPKI PEM. ``kind`` is the credential kind (``Key``, ``Fido2``,
    ...); ``client_data`` and ``signature`` are raw bytes, ``authenticator_data`` and ``relying_party_id`` only for
    ``Fido2``; ``algorithm`` is the digest the client named, if it did. ``approvals``: msgpack of the same of each
    decision by which somebody else let the request go on; those have none of their own.
    """

    installation_id: str
    org_id: str
    user_id: str
    method: str
    path: str
    query: str
    payload: bytes
    credential_uuid: str
    credential_public_key: str
    kind: str
    client_data: bytes
    signature: bytes
    authenticator_data: bytes | None = None
    algorithm: str | None = None
    relying_party_id: str | None = None
    approvals: tuple[bytes, ...] = ()

    def defect(self) -> str | None:
        """What is wrong with its shape, or None. The signature itself is not judged here."""
        if not (self.installation_id and self.org_id and self.user_id and self.credential_uuid and self.kind):
            return "consent evidence lacks an identity"
        if not (self.method and self.path.startswith("/") and (not self.query or self.query.startswith("?"))):
            return "consent evidence names no request"
        if not (self.client_data and self.signature and self.credential_public_key):
            return "consent evidence holds no signature"
        if len(self.payload) > MAX_REQUEST_BODY:
            return f"request body in the consent evidence is longer than {MAX_REQUEST_BODY} bytes"
        if len(self.client_data) > _MAX_CLIENT_DATA:
            return f"client data in the consent evidence is longer than {_MAX_CLIENT_DATA} bytes"
        fields = (self.path, self.query, self.credential_public_key, self.signature, self.authenticator_data or b"")
        if any(len(field) > _MAX_FIELD for field in fields):
            return f"a field of the consent evidence is longer than {_MAX_FIELD} bytes"
        if len(self.approvals) > MAX_APPROVALS or any(len(one) > MAX_APPROVAL for one in self.approvals):
            return f"more than {MAX_APPROVALS} approvals, or one longer than {MAX_APPROVAL} bytes"
        return None


class Order(msgspec.Struct, array_like=True):
    """One order to the signer.

    ``op`` is sign | generate | verify | load | unseal | seal | status | shutdown. ``payload`` is what to sign, the
    msgpack list of wrapped roots (load), or the passphrase (unseal); it is a view into the receive buffer and dies
    with it. ``tweak`` is for Schnorr keys. The fields from ``org_id`` on are what the record is bound to.
    ``arguments`` is msgpack of what only one kind of order has.
    """

    id: int
    op: str
    key_id: str = ""
    scheme: str = ""
    payload: memoryview = memoryview(b"")
    tweak: bytes | None = None
    grant: bytes = b""
    record: bytes = b""
    payload_kind: str = ""
    org_id: str = ""
    curve: str = ""
    secret_kind: str = ""
    public_key: bytes = b""
    root_version: int = 0
    generation: int = 0
    evidence: ConsentEvidence | None = None
    arguments: bytes = b""


class NotAnOrder(Exception):
    """A frame that is no order at all: the peer does not speak this protocol."""


class Reply(msgspec.Struct, array_like=True):
    """``data`` is the result, or the reason in UTF-8 when ``code`` is not ``ok``."""

    id: int
    code: Code
    data: bytes = b""


class Generated(msgspec.Struct, array_like=True, frozen=True):
    """Data of a reply to ``generate``; ``recovery_copy`` is empty where the store has no recovery recipients."""

    public_key: bytes
    record: bytes
    root_version: int
    generation: int
    secret_kind: str
    recovery_copy: bytes = b""


class State(msgspec.Struct, array_like=True, frozen=True):
    """Data of a reply to ``status``, ``load``, ``unseal`` and ``seal``.

    ``boot_id`` is new with each start of the signer. ``now`` is the signer's own clock in milliseconds since the
    epoch, by which it judges grants. ``notes`` are health notes: protections this host could not give.
    ``roster_records`` and ``roster_head`` (hash of the last record) say how far the signer's roster is;
    ``statement_key`` is the Ed25519 public key of its statements. ``authorisers`` are the public keys under which it
    takes grants.
    """

    state: str
    reason: str
    notes: tuple[str, ...]
    boot_id: bytes
    now: int
    grant_level: str
    store_id: str
    root_versions: tuple[int, ...]
    roster_records: int = 0
    roster_head: bytes = b""
    statement_key: bytes = b""
    authorisers: tuple[bytes, ...] = ()


class AuthoriserState(msgspec.Struct, array_like=True, frozen=True):
    """Data of an authoriser's reply to ``status``: who it is, its Ed25519 public key, health notes, and its roster."""

    authoriser_id: str
    public_key: bytes
    notes: tuple[str, ...]
    roster_records: int
    roster_head: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_order = msgspec.msgpack.Decoder(Order).decode


def read_order(view: memoryview) -> Order:
    """The order in a frame. Raises NotAnOrder for a frame that is none."""
    try:
        return _decode_order(view)
    except MALFORMED as broken:
        raise NotAnOrder from broken


def reply_to(order: Order, outcome: bytes | Refusal) -> bytes:
    """The encoded reply."""
    if isinstance(outcome, Refusal):
        return _encode(Reply(order.id, outcome.code, outcome.reason.encode()))
    return _encode(Reply(order.id, "ok", outcome))


def frame(body: bytes) -> bytes:
    """``body`` with its length before it."""
    return _LENGTH.pack(len(body)) + body


class FrameOverflow(Exception):
    """A peer announced a frame longer than ``MAX_FRAME``."""


class FrameBuffer:
    """Receive buffer of one connection: the loop reads straight into it, whole frames come out as views.

    It is a ``bytearray`` of ours, so that a frame that held a passphrase can be wiped; what is moved on leaves nothing
    behind.
    """

    __slots__ = ("_buffer", "_end")

    def __init__(self) -> None:
        self._buffer = bytearray(_FIRST_BUFFER)
        self._end = 0

    def writable(self) -> memoryview:
        """Where the next bytes go; never empty."""
        return memoryview(self._buffer)[self._end :]

    def received(self, count: int) -> list[memoryview]:
        """Account for ``count`` new bytes and give the frames they complete; use them before ``compact``.

        Raises FrameOverflow as soon as a length prefix is over the limit.
        """
        self._end += count
        view = memoryview(self._buffer)
        frames: list[memoryview] = []
        start = 0
        while self._end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(view, start)
            if length > MAX_FRAME:
                raise FrameOverflow
            stop = start + _LENGTH.size + length
            if stop > self._end:
                break
            frames.append(view[start + _LENGTH.size : stop])
            start = stop
        return frames

    def compact(self, frames: list[memoryview]) -> bool:
        """Drop ``frames``, make room for the next one; True if part of a frame is waiting for its rest."""
        used = sum(len(view) + _LENGTH.size for view in frames)
        rest = self._end - used
        needed = _FIRST_BUFFER
        if rest >= _LENGTH.size:
            needed = max(needed, _LENGTH.size + _LENGTH.unpack_from(self._buffer, used)[0])
        view = memoryview(self._buffer)
        if needed == len(self._buffer):
            if used and rest:
                view[:rest] = view[used : self._end]
                wipe(view[rest : self._end])
        else:
            grown = bytearray(needed)
            grown[:rest] = view[used : self._end]
            wipe(view[: self._end])
            self._buffer = grown
        self._end = rest
        return rest > 0

    def wipe(self) -> None:
        """Overwrite what came so far: nothing more comes."""
        wipe(memoryview(self._buffer)[: self._end])
        self._end = 0
