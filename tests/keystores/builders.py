"""A key store in one line: an unsealed service with a clock to move, or a real signer process with its client."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from countersign.keystores import (
    Authoriser,
    ConsentEvidence,
    KeyRecord,
    SignerClient,
    SignerSupervisor,
    create_root,
    roots,
)
from countersign.keystores.grants import Grant, payload_hash
from countersign.keystores.kek import open_provider
from countersign.keystores.orders import about
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import DIGEST32, MESSAGE, Generated, Order, Reply, State
from countersign.keystores.service import GrantLevel, SignerService
from countersign.world import World

DATA = Path(__file__).parents[1] / "data"
ORG, KEY, STORE = "or-00000-00001-0000000000000001", "ke-00000-00001-0000000000000001", "ks-00000-00001"
PAIRS = (("ECDSA", "secp256k1"), ("EdDSA", "ed25519"), ("Schnorr", "secp256k1"))


def next_root(blob: bytes, kek: Any, secret: bytes = b"", **changed: Any) -> bytes:
    """The root that a rotation makes after this one."""
    wrapped = roots.parse_root(blob)
    assert isinstance(wrapped, roots.WrappedRoot), wrapped
    made = roots.next_root(wrapped, kek, secret, **changed)
    assert isinstance(made, bytes), made
    return made


def vectors(name: str) -> Any:
    return json.loads((DATA / name).read_text("utf-8"))


@dataclass(frozen=True)
class FixedKek:
    """A key-encryption key held in the test."""

    secret: bytes = b"k" * 32
    name: str = "fixed"
    needs_secret: bool = False
    note: str | None = None
    needs_network: bool = False
    needs_driver: bool = False

    def create(self, root: object, secret: object) -> tuple[list[Any], bytearray]:
        return [], bytearray(self.secret)

    def key(self, root: object, parameters: Sequence[Any], secret: object) -> bytearray | Refusal:
        return bytearray(self.secret)

    def forget(self) -> None:
        pass


def evidence(org_id: str = ORG) -> ConsentEvidence:
    return ConsentEvidence(
        installation_id="in-00000-00001",
        org_id=org_id,
        user_id="us-00000-00001",
        method="POST",
        path=f"/keys/{KEY}/signatures",
        query="",
        payload=b'{"kind":"Hash"}',
        credential_uuid="cr-00000-00001",
        credential_public_key="-----BEGIN PUBLIC KEY-----\n...\n-----END PUBLIC KEY-----\n",
        kind="Key",
        client_data=b'{"type":"key.get","challenge":"..."}',
        signature=b"s" * 64,
    )


@dataclass
class Bench:
    """A signer without its process: orders in, replies out, and the clock in the test's hand."""

    level: GrantLevel = "G1"
    kek: Any = field(default_factory=FixedKek)
    authoriser: Authoriser = field(default_factory=lambda: Authoriser(os.urandom(32)))
    now: int = 1_700_000_000_000

    def __post_init__(self) -> None:
        self.service = SignerService(self.kek, clock=lambda: self.now, grant_level=self.level)
        if not self.kek.needs_secret:
            self.root = create_root(self.kek, STORE, self.authoriser.public_key)
            self.load([self.root])

    def load(self, blobs: list[bytes]) -> State:
        reply = self.ask(Order(1, "load", payload=memoryview(msgspec.msgpack.encode(blobs))))
        assert reply.code == "ok", reply
        return msgspec.msgpack.decode(reply.data, type=State)

    def state(self) -> State:
        return msgspec.msgpack.decode(self.ask(Order(1, "status")).data, type=State)

    def ask(self, order: Order) -> Reply:
        frame = memoryview(bytearray(msgspec.msgpack.encode(order)))
        return msgspec.msgpack.decode(self.service.handle(frame), type=Reply)

    def grant(self, order: Order, **changed: Any) -> Grant:
        """The grant this order needs, with single fields changed."""
        right: dict[str, Any] = {
            "version": 1,
            "store_id": STORE,
            "org_id": order.org_id,
            "key_id": order.key_id,
            "op": order.op,
            "scheme": order.scheme,
            "payload_hash": payload_hash(order.payload_kind, order.payload, order.tweak),
            "request_id": "si-1",
            "policy_decision_id": "",
            "boot_id": self.service.boot_id,
            "not_before": self.now - 1000,
            "not_after": self.now + 15_000,
            "nonce": os.urandom(16),
        }
        return Grant(**{**right, **changed})

    def granted(self, order: Order, **changed: Any) -> Order:
        order.grant = self.authoriser.sign(self.grant(order, **changed))
        return order

    def generate(
        self, scheme: str = "ECDSA", curve: str = "secp256k1", *, master: bool = False, key_id: str = KEY
    ) -> KeyRecord:
        kind = "generate_master" if master else "generate"
        order = Order(1, "generate", key_id, scheme, payload=memoryview(curve.encode()), payload_kind=kind)
        order.org_id, order.curve = ORG, curve
        reply = self.ask(self.granted(order))
        assert reply.code == "ok", reply
        made = msgspec.msgpack.decode(reply.data, type=Generated)
        return KeyRecord(
            ORG,
            key_id,
            scheme,
            curve,
            made.public_key,
            made.secret_kind,
            made.root_version,
            made.generation,
            made.record,
        )

    def sign_order(self, key: KeyRecord, payload: bytes, tweak: bytes | None = None) -> Order:
        """An order to sign, complete but for its grant."""
        order = about("sign", key)
        order.payload, order.tweak, order.evidence = memoryview(payload), tweak, evidence()
        order.payload_kind = MESSAGE if key.scheme == "EdDSA" else DIGEST32
        return order

    def sign(self, key: KeyRecord, payload: bytes, tweak: bytes | None = None) -> bytes:
        reply = self.ask(self.granted(self.sign_order(key, payload, tweak)))
        assert reply.code == "ok", reply
        return reply.data


@dataclass
class Running:
    """A signer process under its supervisor, and the client of an API process."""

    supervisor: SignerSupervisor
    client: SignerClient
    socket: Path
    directory: Path
    root: bytes
    authoriser: Authoriser

    @property
    def pid(self) -> int:
        assert self.supervisor.pid is not None
        return self.supervisor.pid


@asynccontextmanager
async def running(
    kek: str | None = None, *extra: str, passphrase: bytes = b"", store: str = "sealed"
) -> AsyncIterator[Running]:
    """A signer process; its directory is short, because socket paths are limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ks") as name:
        directory = Path(name)
        kek = kek or f"dev:{directory / 'kek'}"
        authoriser = Authoriser(os.urandom(32))
        root = create_root(open_provider(kek), STORE, authoriser.public_key, passphrase)
        socket = directory / "run" / "signer.sock"
        supervisor = SignerSupervisor(str(socket), kek, store=store, environment="sandbox", extra=extra)

        async def roots() -> list[bytes]:
            return [root]

        client = SignerClient(str(socket), authoriser, roots, store_id=STORE, world=World())
        await supervisor.start()
        try:
            await client.start(wait=20)
            yield Running(supervisor, client, socket, directory, root, authoriser)
        finally:
            await client.close()
            await supervisor.stop()
