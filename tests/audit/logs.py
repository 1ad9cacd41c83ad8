"""Builds valid audit logs and their exports, with real keys, without a server; tests then break exactly one thing."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coincurve import PrivateKey
from nacl import bindings as sodium

from countersign.audit import lines
from countersign.audit.checkpoint import Checkpoint, Ed25519CheckpointKey, fingerprint, handover_text
from countersign.audit.entry import Action, Credential, Enrolled, Entry, Evidence, Outcome, Signature, System, encode
from countersign.audit.merkle import Builder, leaf_hash
from countersign.consent.action_token import action_id
from countersign.encoding import base64url, dates
from countersign.world import World

INSTALLATION = "in-00000-00000-0000000000000000"
ORG = "or-00000-00000-0000000000000000"
KEY_ID = "key-00000-00000-0000000000000001"
KEY = PrivateKey(bytes(range(1, 33)))
START = 1_790_000_000_000
SPKI = bytes.fromhex("302a300506032b6570032100")


def counting_world() -> World:
    """A clock that goes on by a millisecond at each look, and predictable randomness."""
    ticks = iter(range(START, START + 100_000_000))
    draws = iter(range(1 << 62))
    return World(lambda: next(ticks), lambda count: next(draws).to_bytes(count, "big"))


class Person:
    """A user with an Ed25519 credential."""

    def __init__(self, world: World, seed: bytes, username: str = "ada@example.org") -> None:
        public, self._secret = sodium.crypto_sign_seed_keypair(hashlib.sha256(seed).digest())
        self.user_id = world.new_id("us")
        self.username = username
        self.credential_uuid = world.new_id("cr")
        encoded = base64.b64encode(SPKI + public).decode()
        self.pem = f"-----BEGIN PUBLIC KEY-----\n{encoded}\n-----END PUBLIC KEY-----\n"
        self.fingerprint = fingerprint(public)

    def sign(self, message: bytes) -> bytes:
        return sodium.crypto_sign(message, self._secret)[:64]

    def enrolled(self) -> Enrolled:
        return Enrolled(
            credential_uuid=self.credential_uuid, user_id=self.user_id, kind="Key", fingerprint=self.fingerprint
        )


def digest_of(user_id: str, method: str, path: str, query: str, payload: bytes) -> str:
    """The action digest, written down independently of the package."""
    parts = ["countersign.action.v1", INSTALLATION, ORG, user_id, "Api", method, path, query]
    raw = [part.encode() for part in parts] + [hashlib.sha256(payload).digest()]
    return base64url.encode(hashlib.sha256(b"".join(struct.pack(">I", len(p)) + p for p in raw)).digest())


@dataclass
class Log:
    """A log under construction. ``keys``: checkpoint keys with the handover to each."""

    world: World = field(default_factory=counting_world)
    entries: list[tuple[bytes, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admin = Person(self.world, b"admin")
        self.key = Ed25519CheckpointKey("sk-1", hashlib.sha256(b"checkpoint").digest())
        self.published = [lines.ExportedKey("sk-1", base64url.encode(self.key.public_key), START, None)]
        self._key_from: list[tuple[int, Ed25519CheckpointKey]] = [(0, self.key)]
        self.system("Initialised", enrolled=(self.admin.enrolled(),))

    @property
    def fingerprint(self) -> str:
        """Of the first checkpoint key."""
        return fingerprint(base64url.decode(self.published[0].public_key))

    def add(self, entry: Entry, payload: str | None = None) -> Entry:
        self.entries.append((encode(entry), payload))
        return entry

    def system(self, event: str, enrolled: tuple[Enrolled, ...] = (), **details: str) -> Entry:
        return self.add(
            System(
                installation_id=INSTALLATION,
                org_id=ORG,
                id=self.world.new_id("au"),
                date_performed=dates.to_iso(self.world.now()),
                event=event,
                enrolled=enrolled,
                details=details,
            )
        )

    def action(
        self,
        method: str = "PUT",
        path: str = "/keys/key-00000-00000-0000000000000001",
        payload: str = '{"name":"cold"}',
        *,
        by: Person | None = None,
        enrolled: tuple[Enrolled, ...] = (),
        change: Callable[[dict[str, Any]], None] = lambda members: None,
    ) -> Action:
        """A countersigned request; ``change`` may alter the entry's members after signing."""
        person = by or self.admin
        now = self.world.now()
        digest = digest_of(person.user_id, method, path, "", payload.encode())
        challenge_id = self.world.new_id("ch")
        challenge = {"id": challenge_id, "nonce": self.world.new_id("no"), "exp": now // 1000 + 900, "action": digest}
        text = base64url.encode(json.dumps(challenge, separators=(",", ":")).encode())
        client_data = f'{{"type":"key.get","challenge":"{text}"}}'.encode()
        members: dict[str, Any] = {
            "installation_id": INSTALLATION,
            "org_id": ORG,
            "id": action_id(challenge_id),
            "date_performed": dates.to_iso(now),
            "entity_ids": ("key-00000-00000-0000000000000001",),
            "enrolled": enrolled,
            "request_id": "rq-1",
            "user_id": person.user_id,
            "username": person.username,
            "token_id": "to-00000-00000-0000000000000000",
            "token_kind": "Token",
            "app_id": None,
            "delegated_by": None,
            "method": method,
            "path": path,
            "query": "",
            "actual_query": "",
            "query_signed": True,
            "payload_sha256": hashlib.sha256(payload.encode()).hexdigest(),
            "digest": digest,
            "credential": Credential(uuid=person.credential_uuid, kind="Key", public_key=person.pem),
            "evidence": Evidence(
                client_data=base64url.encode(client_data), signature=base64url.encode(person.sign(client_data))
            ),
            "date_signed": dates.to_iso(now),
            "response": Outcome(status=200),
            "client_address": "192.0.2.1",
        }
        change(members)
        entry = Action(**members)
        self.add(entry, payload)
        return entry

    def signature(self, action: Action, **change: Any) -> Entry:
        """The outcome of a signature request: a real one of the digest in its payload, if there is one."""
        payload = next((payload for data, payload in self.entries if data == encode(action)), None)
        digest = json.loads(payload or "{}").get("hash")
        made = bytes(64) if digest is None else KEY.sign_recoverable(bytes.fromhex(digest), hasher=None)[:64]
        members: dict[str, Any] = {
            "installation_id": INSTALLATION,
            "org_id": ORG,
            "id": self.world.new_id("au"),
            "date_performed": dates.to_iso(self.world.now()),
            "action_id": action.id,
            "signature_id": self.world.new_id("sig"),
            "key_id": KEY_ID,
            "public_key": KEY.public_key.format().hex(),
            "scheme": "ECDSA",
            "curve": "secp256k1",
            "payload_kind": "digest32",
            "payload_sha256": action.payload_sha256,
            "taproot_tweak": None,
            "signature": made.hex(),
            "failure": None,
        }
        return self.add(Signature(**(members | change)))

    def rotate_checkpoint_key(self, *, signed_by: Ed25519CheckpointKey | None = None) -> Ed25519CheckpointKey:
        """Sign later checkpoints with a new key that the old one (or ``signed_by``) hands over to."""
        new = Ed25519CheckpointKey(
            f"sk-{len(self.published) + 1}", hashlib.sha256(bytes([len(self.published)])).digest()
        )
        created_at = self.world.now()
        signer = signed_by or self.key
        signature = signer.sign(handover_text(new.kid, new.public_key, created_at))
        handover = f"{signer.kid}.{base64url.encode(signature)}"
        self.published.append(lines.ExportedKey(new.kid, base64url.encode(new.public_key), created_at, handover))
        self.key = new
        self._key_from.append((len(self.entries), new))
        return new

    def export(self, *, batch: int = 10, tail: int = 0, redact: bool = False) -> list[bytes]:
        """The lines of an export with a checkpoint every ``batch`` entries; the last ``tail`` are unsequenced."""
        header = lines.Header(
            lines.EXPORT_FORMAT, INSTALLATION, ORG, dates.to_iso(START), redact, tuple(self.published)
        )
        result = [lines.encode_line(header)]
        tree = Builder()
        checkpoints = 0
        size = len(self.entries) - tail
        for position, (data, payload) in enumerate(self.entries[:size]):
            leaf = leaf_hash(data)
            tree.append(leaf)
            shown = None if redact else payload
            result.append(lines.encode_line(lines.EntryLine(position, data.decode(), leaf.hex(), shown)))
            if tree.size % batch == 0 or tree.size == size:
                result.append(self.checkpoint_line(tree.size, tree.root()))
                checkpoints += 1
        for data, payload in self.entries[size:]:
            result.append(lines.encode_line(lines.UnsequencedLine(data.decode(), None if redact else payload)))
        return with_trailer(result, size, checkpoints, tail)

    def checkpoint_line(self, size: int, root: bytes, key: Ed25519CheckpointKey | None = None) -> bytes:
        key = key or next(key for start, key in reversed(self._key_from) if start < size)
        note = Checkpoint(INSTALLATION, ORG, size, root, START + size).note()
        return lines.encode_line(lines.CheckpointLine(note, key.kid, base64url.encode(key.sign(note.encode()))))


def with_trailer(body: list[bytes], entries: int, checkpoints: int, unsequenced: int) -> list[bytes]:
    digest = hashlib.sha256(b"".join(body)).hexdigest()
    return [*body, lines.encode_line(lines.Trailer(entries, checkpoints, unsequenced, digest))]


def resealed(body: list[bytes]) -> list[bytes]:
    """The same lines with a trailer that fits them, as a forger would write."""
    kept = [line for line in body if not line.startswith(b'{"type":"trailer"')]
    counts = [sum(line.startswith(b'{"type":"%s"' % kind) for line in kept) for kind in (b"entry", b"checkpoint")]
    tail = sum(line.startswith(b'{"type":"unsequenced"') for line in kept)
    return with_trailer(kept, counts[0], counts[1], tail)


def changed(line: bytes, change: Callable[[dict[str, Any]], None], *, rehash: bool = False) -> bytes:
    """An entry line whose entry was changed; with ``rehash`` the leaf hash is made to fit."""
    outer = json.loads(line)
    entry = json.loads(outer["entry"])
    change(entry)
    outer["entry"] = json.dumps(entry, separators=(",", ":"))
    if rehash:
        outer["leafHash"] = leaf_hash(outer["entry"].encode()).hex()
    return json.dumps(outer, separators=(",", ":")).encode() + b"\n"


def moved(line: bytes, position: int) -> bytes:
    """An entry line that claims another position."""
    return json.dumps(json.loads(line) | {"position": position}, separators=(",", ":")).encode() + b"\n"


def write(path: Path, body: list[bytes]) -> Path:
    with path.open("wb") as file:
        file.writelines(body)
    return path
