"""The drill: restore a backup where it harms nobody, use every key, compare, and write down what was seen.

The throw-away instance is an embedded database in a directory of its own and a signer inside this process, which asks
for no consent: whoever holds the key-encryption key could do as much without us. What a key signs here is a text that
says that it is a drill, hashed where the scheme signs digests, so that no chain takes it for anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
from pyrage import x25519

from countersign import __version__
from countersign.audit.export import export
from countersign.audit.report import Sound
from countersign.audit.verify import verify_file
from countersign.backup.archive import Head
from countersign.backup.load import Restored, load
from countersign.backup.probe import Bench, Failed
from countersign.encoding.dates import to_iso
from countersign.keystores.kek import KekProvider
from countersign.keystores.store import count_records, list_records, list_roots, list_stores
from countersign.storage import Database, open_database

_PAGE = 500
LISTED = 100
"""Keys that are named one by one; the count is always whole."""

Progress = Callable[[str, int, int], None]
"""Told the stage, how much of it is done, and how much there is."""

AtHand = Callable[[list[bytes]], Sequence[bytearray]]
"""Takes the wrapped roots, gives what opens them in order: nothing, a passphrase, or shares. They are wiped."""


class _Record(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    pass


class FailedKey(_Record, frozen=True, kw_only=True):
    """A key that could not be used, and why."""

    org_id: str
    key_id: str
    reason: str


class KeysFound(_Record, frozen=True, kw_only=True):
    """``used``: signed, or for DH keys derived, and gave the public key that was on record."""

    total: int
    used: int
    failed: int
    by_scheme: dict[str, int]
    failures: tuple[FailedKey, ...]


class LogFound(_Record, frozen=True, kw_only=True):
    """One organisation's audit log: ``root_hash`` as recomputed, ``expected`` as the backup noted it."""

    org_id: str
    size: int
    root_hash: str
    expected: str
    outcome: Literal["sound", "broken"]
    trusted: bool
    reason: str | None = None


class Report(_Record, frozen=True, kw_only=True):
    """What a drill found. Times are ISO 8601 UTC; ``seconds`` is how long it took."""

    format: str = "countersign-drill-1"
    outcome: Literal["passed", "failed"]
    program: str
    date: str
    seconds: float
    backup: str
    backup_sha256: str
    backup_created_at: str
    installation_id: str
    rows: int
    store_id: str
    key_encryption: str
    keys: KeysFound
    audit: tuple[LogFound, ...]
    notes: tuple[str, ...]


def drill(
    backup: Path,
    keys: Sequence[x25519.Identity],
    kek: KekProvider,
    at_hand: AtHand,
    directory: Path,
    *,
    now: int,
    trust: str | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Report:
    """Run a drill in ``directory``, which is empty and nobody else's. ``now``: milliseconds since the epoch.

    ``at_hand`` is asked for what opens the key store, once its wrapped roots are known. ``trust``: fingerprint of the
    checkpoint key. Raises what ``load`` raises, and ``Failed`` when the store can't be unsealed.
    """
    started = time.monotonic()
    url = f"sqlite://{directory / 'restored.db'}"
    restored = load(backup, keys, url, progress=lambda done, total: progress("restore", done, total))
    bench = Bench(kek, now)
    try:
        return asyncio.run(_drill(backup, restored, url, bench, kek, at_hand, directory, now, started, trust, progress))
    finally:
        bench.close()


async def _drill(
    backup: Path,
    restored: Restored,
    url: str,
    bench: Bench,
    kek: KekProvider,
    at_hand: AtHand,
    directory: Path,
    now: int,
    started: float,
    trust: str | None,
    progress: Progress,
) -> Report:
    database = await open_database(url, migrate=True)
    try:
        (store_id,) = await _sealed_stores(database)
        wrapped = await database.read(lambda: list_roots(store_id))
        bench.unseal(wrapped, at_hand(wrapped))
        found = await _use_keys(database, store_id, bench, progress)
        logs = []
        for head in restored.manifest.audit_heads:
            logs.append(await _check_log(database, restored, head, directory, now, trust, progress))
    finally:
        await database.close()
    good = found.failed == 0 and all(log.outcome == "sound" for log in logs)
    notes = [] if trust else ["no fingerprint was given (--trust): the audit log is self-consistent, no more is shown"]
    if not logs:
        notes.append("the backup was made before the first checkpoint: there is no audit root to compare")
    return Report(
        outcome="passed" if good else "failed",
        program=__version__,
        date=to_iso(now),
        seconds=round(time.monotonic() - started, 1),
        backup=backup.name,
        backup_sha256=await asyncio.to_thread(_sha256, backup),
        backup_created_at=restored.manifest.created_at,
        installation_id=restored.manifest.installation_id,
        rows=restored.manifest.rows,
        store_id=store_id,
        key_encryption=kek.name,
        keys=found,
        audit=tuple(logs),
        notes=tuple(notes),
    )


async def _sealed_stores(database: Database) -> list[str]:
    stores = await database.read(list_stores)
    if len(stores) != 1:
        raise Failed(f"the backup holds {len(stores)} sealed key stores; a drill is for one")
    return stores


async def _use_keys(database: Database, store_id: str, bench: Bench, progress: Progress) -> KeysFound:
    total = await database.read(lambda: count_records(store_id))
    schemes: Counter[str] = Counter()
    failures: list[FailedKey] = []
    done = failed = 0
    after = ("", "")
    while records := await database.read(partial(list_records, store_id, after, _PAGE)):
        for record in records:
            schemes[f"{record.scheme} {record.curve}"] += 1
            reason = bench.use(record)
            if reason is not None:
                failed += 1
                if len(failures) < LISTED:
                    failures.append(FailedKey(org_id=record.org_id, key_id=record.key_id, reason=reason))
        done += len(records)
        after = records[-1].org_id, records[-1].key_id
        progress("keys", done, total)
    return KeysFound(
        total=done, used=done - failed, failed=failed, by_scheme=dict(sorted(schemes.items())), failures=tuple(failures)
    )


async def _check_log(
    database: Database,
    restored: Restored,
    head: Head,
    directory: Path,
    now: int,
    trust: str | None,
    progress: Progress,
) -> LogFound:
    path = directory / f"{head.org_id}.audit"
    installation_id = restored.manifest.installation_id
    with path.open("wb") as file:
        await export(
            database,
            installation_id,
            head.org_id,
            file,
            now=now,
            open_payload=None,
            progress=lambda done, total: progress("audit log", done, total),
        )
    finding = await asyncio.to_thread(
        verify_file,
        path,
        trusted_fingerprint=trust,
        processes=1,
        progress=lambda stage, done, total: progress(f"audit {stage}", done, total),
    )
    path.unlink()
    if not isinstance(finding, Sound):
        reason = finding.reason
        return _log(head, 0, "", trusted=False, reason=reason)
    lines = finding.last.note.split("\n")
    size, root = int(lines[3]), _hex(lines[4])
    if (size, root) != (head.size, head.root_hash):
        return _log(head, size, root, trusted=finding.trusted, reason="the root is not the one the backup noted")
    if trust is not None and not finding.trusted:
        return _log(head, size, root, trusted=False, reason="no checkpoint leads back to the fingerprint given")
    return _log(head, size, root, trusted=finding.trusted, reason=None)


def _log(head: Head, size: int, root: str, *, trusted: bool, reason: str | None) -> LogFound:
    return LogFound(
        org_id=head.org_id,
        size=size,
        root_hash=root,
        expected=head.root_hash,
        outcome="sound" if reason is None else "broken",
        trusted=trusted,
        reason=reason,
    )


def _hex(text: str) -> str:
    return msgspec.convert(text, bytes).hex()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
