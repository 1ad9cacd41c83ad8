"""A key, a signature request and a signer without a process: everything that the domain needs to be tried."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.api import Caller
from countersign.api.caller import Epochs
from countersign.audit.entry import Action, Credential, Evidence, Outcome, encode
from countersign.consent.action_token import action_id
from countersign.consent.challenge import ActionChallenge
from countersign.consent.digest import action_digest
from countersign.encoding import base64url, strictjson
from countersign.encoding.dates import to_iso
from countersign.keys import keys, signatures
from countersign.keys.rows import NewKey
from countersign.keys.service import Keys
from countersign.keys.signatures import NewSignature, Started
from countersign.keys.types import SignatureRequest
from countersign.keystores import GeneratedKey, KeyRecord, SignatureValue, SignOrder
from countersign.storage import Database, Statement, Transaction
from countersign.world import World

ORG = "or-00000-00001-0000000000000001"
STORE = "ks-00000-00001-0000000000000001"
INSTALLATION = "in-00000-00001-0000000000000001"
START = 1_790_000_000_000
HASH = {"kind": "Hash", "hash": f"0x{'ab' * 32}"}
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

CALLER = Caller(
    org_id=ORG,
    user_id="us-00000-00001-0000000000000001",
    username="ada@example.org",
    user_kind="CustomerEmployee",
    is_service_account=False,
    token_id="uj-00000-00001-0000000000000001",
    token_kind="Token",
    app_id=None,
    epochs=Epochs(0, 0, 0),
    permission_revision=0,
    operations=None,
    expires_at=START * 2,
)


@dataclass
class Clock:
    """A world whose time is moved by hand and whose chance is counted."""

    now: int = START
    _drawn: Any = field(default_factory=itertools.count)

    def world(self) -> World:
        return World(lambda: self.now, lambda length: next(self._drawn).to_bytes(length, "big"))


@dataclass
class FakeSigner:
    """Stands for ``SignerClient``: ``answers`` are given in turn (the last one for good), errors are raised.

    ``together``: this many orders are answered at the same moment.
    """

    answers: list[SignatureValue | Exception]
    available: bool = True
    together: int = 1
    orders: list[SignOrder] = field(default_factory=list)
    _all_here: asyncio.Event = field(default_factory=asyncio.Event)

    async def sign(self, order: SignOrder) -> SignatureValue:
        self.orders.append(order)
        answer = self.answers[min(len(self.orders), len(self.answers)) - 1]
        if len(self.orders) >= self.together:
            self._all_here.set()
        await self._all_here.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


def value(byte: int) -> SignatureValue:
    """A signature that can be told from another."""
    return SignatureValue(bytes([byte]) * 32, bytes([byte]) * 32, 0)


def service(signer: FakeSigner) -> Keys:
    """The domain's service over that signer."""
    return Keys({STORE: signer}, STORE, INSTALLATION)


async def make_key(database: Database, key_id: str = "key-00000-00001-0000000000000001") -> KeyRecord:
    """An active ECDSA key."""
    made = GeneratedKey(b"\2" + hashlib.sha256(key_id.encode()).digest(), b"record", 1, 1, "scalar")
    new = NewKey(ORG, key_id, "ECDSA", "secp256k1", STORE)
    await database.write(lambda: keys.insert(new, made, START))
    record = await database.read(lambda: keys.to_sign_with(ORG, key_id))
    assert record is not None
    return record


def new_signature(key: KeyRecord, number: int = 1, **members: Any) -> NewSignature:
    """A request for a signature over ``HASH``; keyword arguments replace members."""
    values: dict[str, Any] = {
        "signature_id": f"sig-00000-00001-{number:016d}",
        "key_id": key.key_id,
        "body": HASH,
        "external_id": None,
        "action_id": action_id(challenge_id(number)),
    }
    values |= members
    values.setdefault("payload_hash", hashlib.sha256(strictjson.canonical(values["body"])).hexdigest())
    return NewSignature(**values)


def challenge_id(number: int) -> str:
    """Of the challenge that was answered for the request of this number."""
    return f"ch-00000-00002-{number:016d}"


def payload(new: NewSignature) -> bytes:
    """The canonical body that was consented to."""
    return strictjson.canonical(new.body)


async def start(database: Database, new: NewSignature, now: int = START) -> Started:
    """The first transaction of a signature."""
    return (await database.write(lambda: signatures.start(CALLER, new, World(clock=lambda: now)))).value


async def stored(database: Database, new: NewSignature) -> SignatureRequest:
    """The request as it is now."""
    found = await database.read(lambda: signatures.get(ORG, new.key_id, new.signature_id))
    assert found is not None
    return found


async def count(database: Database, table: str) -> int:
    """How many rows a table has."""

    def transaction() -> Transaction[int]:
        rows = yield Statement("count", f"SELECT count(*) FROM {table}"), ()
        return int(rows[0][0])

    return await database.read(transaction)


async def execute(database: Database, sql: str) -> None:
    """One statement."""

    def transaction() -> Transaction[None]:
        yield Statement("of_a_test", sql), ()

    await database.write(transaction)


def action(new: NewSignature) -> Action:
    """The audit entry of the action that asked for the signature, with evidence that holds."""
    path = f"/keys/{new.key_id}/signatures"
    hashed = hashlib.sha256(payload(new)).digest()
    digest = action_digest(INSTALLATION, ORG, CALLER.user_id, "POST", path, "", hashed)
    challenge = ActionChallenge(
        challenge_id(int(new.signature_id[-16:])), "no-00000-00002-0000000000000001", START // 1000 + 900, digest
    )
    client_data = json.dumps({"type": "key.get", "challenge": challenge.text}).encode()
    spki = SIGNER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Action(
        installation_id=INSTALLATION,
        org_id=ORG,
        id=new.action_id,
        date_performed=to_iso(START),
        entity_ids=(new.signature_id,),
        user_id=CALLER.user_id,
        username=CALLER.username,
        token_id=CALLER.token_id,
        token_kind=CALLER.token_kind,
        app_id=None,
        delegated_by=None,
        method="POST",
        path=path,
        query="",
        actual_query="",
        query_signed=True,
        payload_sha256=hashed.hex(),
        digest=digest,
        credential=Credential(uuid="cr-1", kind="Key", public_key=spki.decode()),
        evidence=Evidence(
            client_data=base64url.encode(client_data), signature=base64url.encode(SIGNER.sign(client_data))
        ),
        date_signed=to_iso(START),
        response=Outcome(status=200),
        client_address=None,
    )


def entry_text(new: NewSignature) -> str:
    """The same as it is stored."""
    return encode(action(new)).decode()
