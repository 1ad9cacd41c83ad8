"""The ceremony of a key store: what was made at ``init`` is looked at, proved and written down, with people present.

Every step becomes an entry of a transcript that all of them sign as it happens (``keystores.transcript``). Nothing
secret is written. A step that fails ends the ceremony; the transcript up to it stays, for people to look at.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair
from pyrage import x25519

from countersign import __version__
from countersign.audit.checkpoint import fingerprint
from countersign.backup.load import load
from countersign.backup.probe import Bench, Failed
from countersign.backup.save import save
from countersign.encoding import base64url
from countersign.keystores import KeyRecord, transcript
from countersign.keystores.kek import KekProvider
from countersign.keystores.memory import LockedPage
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import Buffer
from countersign.keystores.roots import open_root, parse_root
from countersign.storage.copying import Source, Table, open_source

_TEST_KEYS = (("ECDSA", "secp256k1"), ("EdDSA", "ed25519"))
_ORG, _KEY = "or-ceremony", "key-ceremony-{}"


@dataclass(frozen=True, slots=True)
class Person:
    """Someone present, and the Ed25519 key (32-byte seed) that signs for them."""

    name: str
    role: str
    seed: bytes

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        public, _ = crypto_sign_seed_keypair(self.seed)
        return bytes(public)

    def sign(self, text: str) -> bytes:
        """Ed25519 over the text's bytes, 64 bytes."""
        _, secret = crypto_sign_seed_keypair(self.seed)
        return bytes(crypto_sign(text.encode(), secret)[:64])


@dataclass(frozen=True, slots=True)
class Place:
    """What a ceremony is about. ``identities`` open the backup; without them restoring is left for a drill."""

    database: str
    files: dict[str, Path]
    kek: KekProvider
    at_hand: Callable[[list[bytes]], list[bytearray]]
    last: Callable[[Sequence[bytearray]], Buffer]
    recipients: Sequence[x25519.Recipient]
    identities: Sequence[x25519.Identity]
    backup: Path
    directory: Path


class Ceremony:
    """Writes steps as they are done; ``write`` gets each line of the transcript, ``now`` gives milliseconds."""

    def __init__(self, people: Sequence[Person], write: Callable[[bytes], None], now: Callable[[], int]) -> None:
        self._people = people
        self._write = write
        self._now = now
        self._texts: list[str] = []

    @property
    def digest(self) -> str:
        """Of the transcript so far, hex."""
        return transcript.digest(self._texts[-1])

    def run(self, place: Place, tell: Callable[[str], None]) -> None:
        """All steps. Raises ``Failed``, and what taking and restoring a backup raise."""
        self._step("participants", {"participants": [_shown(person) for person in self._people]}, tell)
        self._step("program", _program(), tell)
        with closing(open_source(place.database)) as source:
            store = _Store(source)
        self._step("key store", _key_store(store, place), tell)
        bench = Bench(place.kek, self._now())
        try:
            given = place.at_hand(store.wrapped)
            count = len(given)
            bench.unseal(store.wrapped, given)
            self._step("unsealed", {"keyEncryption": place.kek.name, "secretsGiven": count}, tell)
            keys = [bench.generate(_ORG, _KEY.format(curve), scheme, curve) for scheme, curve in _TEST_KEYS]
            self._step("test keys", {"keys": [_use(bench, key) for key in keys]}, tell)
        finally:
            bench.close()
        saved = save(place.database, place.files, place.recipients, place.backup, now=self._now())
        facts = {
            "file": place.backup.name,
            "sha256": _sha256(place.backup),
            "bytes": saved.size,
            "recipients": [str(each) for each in place.recipients],
            "files": sorted(saved.summary.files),
        }
        self._step("backup", facts, tell)
        self._step("restore", self._restore(place, keys), tell)
        self._step("end", {"storeId": store.store_id, "installationId": store.installation["installation_id"]}, tell)

    def _restore(self, place: Place, keys: Sequence[KeyRecord]) -> dict[str, Any]:
        if not place.identities:
            return {"done": False, "reason": "no identity was at hand: do it with 'countersign drill' elsewhere"}
        url = f"sqlite://{place.directory / 'restored.db'}"
        load(place.backup, place.identities, url)
        with closing(open_source(url)) as source:
            store = _Store(source)
        bench = Bench(place.kek, self._now())
        try:
            bench.unseal(store.wrapped, place.at_hand(store.wrapped))
            return {"done": True, "keys": [_use(bench, key) for key in keys]}
        finally:
            bench.close()

    def _step(self, name: str, facts: dict[str, Any], tell: Callable[[str], None]) -> None:
        text = transcript.write(name, facts, self._texts, self._now())
        self._texts.append(text)
        self._write(transcript.line(text, {person.name: person.sign(text) for person in self._people}))
        tell(name)


def _shown(person: Person) -> dict[str, str]:
    return {"name": person.name, "role": person.role, "publicKey": base64url.encode(person.public_key)}


def _use(bench: Bench, key: KeyRecord) -> dict[str, str]:
    reason = bench.use(key)
    if reason is not None:
        raise Failed(f"the test key on {key.curve} could not be used: {reason}")
    return {"scheme": key.scheme, "curve": key.curve, "publicKey": key.public_key.hex()}


class _Store:
    """The key store as one snapshot of the database has it. Raises ``Failed``."""

    def __init__(self, source: Source) -> None:
        self.installation = dict(self._rows(source, "installation", "name", "value"))
        self.store_id = self.installation.get("store_id", "")
        found = [
            (version, bytes(wrapped))
            for store_id, version, state, wrapped in self._rows(
                source, "keystore_roots", "store_id", "version", "state", "wrapped"
            )
            if (store_id, state) == (self.store_id, "Active")
        ]
        if not found:
            raise Failed("this database holds no key store; run 'countersign init' first")
        self.wrapped = [wrapped for _, wrapped in sorted(found)]
        self.checkpoint_keys = [
            base64url.decode(public)
            for purpose, public in self._rows(source, "server_keys", "purpose", "public_key")
            if purpose == "checkpoint"
        ]

    @staticmethod
    def _rows(source: Source, table: str, *columns: str) -> list[Any]:
        return [row for rows in source.rows(Table(table, columns, ())) for row in rows]


def _key_store(store: _Store, place: Place) -> dict[str, Any]:
    """What the wrapped root holds, as only the holder of the key-encryption key could have written it."""
    given = place.at_hand(store.wrapped)
    page = LockedPage()
    try:
        newest = parse_root(store.wrapped[-1])
        if isinstance(newest, Refusal):
            raise Failed(newest.reason)
        opened = open_root(newest, place.kek, place.last(given), page.root(0), page.scratch)
        if isinstance(opened, Refusal):
            raise Failed(opened.reason)
    finally:
        page.wipe_all()
        for secret in given:
            secret[:] = bytes(len(secret))
    if (opened.store_id, opened.installation_id) != (store.store_id, store.installation["installation_id"]):
        raise Failed("the root is of another key store or installation than the database says")
    return {
        "installationId": opened.installation_id,
        "storeId": opened.store_id,
        "rootVersion": opened.root_version,
        "keyEncryption": place.kek.name,
        "wrappedRoots": [hashlib.sha256(blob).hexdigest() for blob in store.wrapped],
        "authorisers": [fingerprint(key) for key in opened.authorisers],
        "authoriserApart": opened.authoriser_apart,
        "recoveryRecipients": list(opened.recovery_recipients),
        "founders": [
            {
                "orgId": founder.org_id,
                "userId": founder.user_id,
                "publicKeySha256": hashlib.sha256(founder.public_key.encode()).hexdigest(),
            }
            for founder in opened.founders
        ],
        "auditFingerprints": [fingerprint(key) for key in store.checkpoint_keys],
    }


def _program() -> dict[str, Any]:
    """What runs: version, interpreter, a digest over every source file of ours, and which networks are up."""
    digest = hashlib.sha256()
    root = Path(str(resources.files("countersign")))
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return {
        "version": __version__,
        "sourcesSha256": digest.hexdigest(),
        "python": platform.python_version(),
        "platform": sys.platform,
        "networksUp": _networks_up(),
    }


def _networks_up() -> list[str]:
    up = []
    for state in sorted(Path("/sys/class/net").glob("*/operstate")):
        if state.parent.name != "lo" and state.read_text().strip() == "up":
            up.append(state.parent.name)
    return up


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def summary(held: transcript.Held) -> list[str]:
    """A transcript for people to read."""
    lines = [f"{person.role:<9} {person.name}  {person.public_key}" for person in held.participants]
    for step in held.steps[1:]:
        facts = msgspec.json.format(msgspec.json.encode(step.facts), indent=2).decode().replace("\n", "\n    ")
        lines.append(f"{step.time}  {step.step}\n    {facts}")
    return lines
