"""Recovery without the key-encryption key: a backup restored with every key sealed anew, from its recovery copy.

It needs two things that are kept apart: the identity that opens the backup, and the identity of a recovery recipient.
The result is the same installation with another key-encryption key and another store root, whose signer's roster begins
anew; what it is to be told is sent again. Other key stores stay as they are. Keys without a copy (made
before the store named recovery recipients, or kept by a hardware module) cannot be brought back; their rows stay,
their records do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyrage import x25519

from countersign.backup import archive
from countersign.backup.archive import SavedTable
from countersign.backup.load import BeforeCommit, Restored, load, read_manifest
from countersign.encoding import base64url
from countersign.keystores.kek import KekProvider
from countersign.keystores.memory import LockedPage, wipe
from countersign.keystores.outcome import Refusal
from countersign.keystores.record import Binding, seal
from countersign.keystores.recovery_copy import Recovered, open_copy, seal_copy
from countersign.keystores.roots import NamedAuthoriser, create_root, open_root, parse_root
from countersign.keystores.schemes import SCHEMES, public_key

Progress = Callable[[str, int, int], None]
"""Told the stage, how much of it is done, and how much there is."""


class CannotRecover(Exception):
    """The backup lacks what a recovery needs; the text says what."""


@dataclass(slots=True)
class Outcome:
    """What came back; ``lost`` are keys without a copy, ``refused`` those whose copy holds something else, and why."""

    store_id: str = ""
    root_version: int = 0
    recovered: int = 0
    lost: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def recover(
    source: Path,
    backup_keys: Sequence[x25519.Identity],
    recovery_keys: Sequence[x25519.Identity],
    database: str,
    kek: KekProvider,
    secret: bytearray,
    *,
    authoriser: NamedAuthoriser | None = None,
    before_commit: BeforeCommit = lambda restored: None,
    progress: Progress = lambda stage, done, total: None,
) -> Outcome:
    """Restore ``source`` into ``database`` (URL), which is new, under a new key-encryption key.

    ``secret`` is the new passphrase where the provider takes one. The recovery recipients of the new root are those
    whose identities were given; it takes grants of ``authoriser``, or else of the server. ``before_commit`` as for
    ``load``. Raises ``CannotRecover``, where no key would come back too, and what ``load`` raises.
    """
    found = _look(source, backup_keys)
    recipients = tuple(str(key.to_public()) for key in recovery_keys)
    named = authoriser or NamedAuthoriser(found.authoriser, apart=False)
    wrapped = create_root(
        kek,
        found.store_id,
        named.public_key,
        secret,
        root_version=found.root_version + 1,
        installation_id=found.installation_id,
        recovery_recipients=recipients,
        authoriser_apart=named.apart,
    )
    work = _Work(found, wrapped, kek, secret, recovery_keys, recipients)

    def whole(restored: Restored) -> None:
        check(work.outcome)
        before_commit(restored)

    try:
        load(
            source,
            backup_keys,
            database,
            change=work.change,
            before_commit=whole,
            progress=lambda done, total: progress("keys and rows", done, total),
        )
    finally:
        work.close()
    return work.outcome


@dataclass(slots=True)
class _Found:
    installation_id: str
    tables: dict[str, SavedTable]
    store_id: str = ""
    root_version: int = 0
    authoriser: bytes = b""
    public_keys: dict[tuple[str, str], str] = field(default_factory=dict)


def _look(source: Path, keys: Sequence[x25519.Identity]) -> _Found:
    """What the new root has to repeat, from a first reading of the whole backup."""
    manifest = read_manifest(source, keys)
    found = _Found(manifest.installation_id, {table.name: table for table in manifest.tables})

    sealed: set[str] = set()
    versions: dict[str, int] = {}

    def take(name: str, data: bytes) -> None:
        _, _, rest = name.partition("tables/")
        table = rest.partition("/")[0]
        if table not in ("key_stores", "keys", "keystore_roots", "server_keys"):
            return
        for row in _named(found.tables[table], archive.decode_rows(data, found.tables[table])):
            if table == "key_stores" and row["kind"] == "sealed":
                sealed.add(row["store_id"])
            elif table == "keys":
                found.public_keys[row["org_id"], row["key_id"]] = row["public_key"]
            elif table == "keystore_roots":
                versions[row["store_id"]] = max(versions.get(row["store_id"], 0), row["version"])
            elif table == "server_keys" and (row["purpose"], row["state"]) == ("authoriser", "Active"):
                found.authoriser = base64url.decode(row["public_key"])

    with source.open("rb") as file:
        archive.read(file, keys, take)
    if len(sealed) > 1:
        raise CannotRecover("the backup holds several sealed key stores; recovery is for one")
    if not sealed or not found.authoriser:
        raise CannotRecover("the backup holds no sealed key store")
    found.store_id = sealed.pop()
    found.root_version = versions[found.store_id]
    return found


def _named(table: SavedTable, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in rows]


class _Work:
    """Changes rows on their way; holds one secret at a time in its locked page."""

    def __init__(
        self,
        found: _Found,
        wrapped: bytes,
        kek: KekProvider,
        secret: bytearray,
        recovery_keys: Sequence[x25519.Identity],
        recipients: tuple[str, ...],
    ) -> None:
        self._found = found
        self._wrapped = wrapped
        self._keys = recovery_keys
        self._recipients = recipients
        self._page = LockedPage()
        self._root_written = False
        version = found.root_version + 1
        self.outcome = Outcome(store_id=found.store_id, root_version=version)
        parsed = parse_root(wrapped)
        if isinstance(parsed, Refusal):
            raise CannotRecover(parsed.reason)
        opened = open_root(parsed, kek, secret, self._page.root(0), self._page.scratch)
        if isinstance(opened, Refusal):
            raise CannotRecover(opened.reason)

    def close(self) -> None:
        self._page.wipe_all()

    def change(self, name: str, rows: list[list[Any]]) -> list[list[Any]]:
        """A table's rows as they are to be restored."""
        table = self._found.tables[name]
        if name == "key_records":
            return [row for row in (self._record(table, row) for row in rows) if row is not None]
        if name == "keystore_roots":
            return [row for row in (self._root(table, row) for row in rows) if row is not None]
        if name in ("keystore_signers", "roster_marks"):
            return [row for row in rows if not self._ours(table, row)]
        if name == "roster_orders":
            return [self._waiting(table, row) if self._ours(table, row) else row for row in rows]
        return rows

    def _ours(self, table: SavedTable, row: list[Any]) -> bool:
        return bool(row[table.columns.index("store_id")] == self._found.store_id)

    def _waiting(self, table: SavedTable, row: list[Any]) -> list[Any]:
        """An order for the roster, to be sent again: it was authentic under the lost root, and is begun anew."""
        values = dict(zip(table.columns, row, strict=True))
        values.update(done_at=None, outcome=None)
        return [values[column] for column in table.columns]

    def _root(self, table: SavedTable, row: list[Any]) -> list[Any] | None:
        if not self._ours(table, row):
            return row
        if self._root_written:
            return None
        self._root_written = True
        values = dict(zip(table.columns, row, strict=True))
        values.update(version=self.outcome.root_version, wrapped=self._wrapped, state="Active")
        if "next_wrapped" in values:
            values["next_wrapped"] = None
        return [values[column] for column in table.columns]

    def _record(self, table: SavedTable, row: list[Any]) -> list[Any] | None:
        if not self._ours(table, row):
            return row
        values = dict(zip(table.columns, row, strict=True))
        key_id = values["key_id"]
        if values["recovery_copy"] is None:
            self.outcome.lost.append(key_id)
            return None
        copy = open_copy(values["recovery_copy"], self._keys)
        reason = copy.reason if isinstance(copy, Refusal) else self._seal(copy, values)
        if reason is not None:
            self.outcome.refused[key_id] = reason
            return None
        self.outcome.recovered += 1
        return [values[column] for column in table.columns]

    def _seal(self, copy: Recovered, values: dict[str, Any]) -> str | None:
        """Seal the secret under the new root, in ``values``; why it can't be, or None."""
        try:
            if (copy.org_id, copy.key_id) != (values["org_id"], values["key_id"]):
                return "the copy is of another key"
            scheme = SCHEMES.get((copy.scheme, copy.curve))
            if scheme is None or copy.secret_kind != values["secret_kind"]:
                return "the copy is of another kind"
            self._page.secret_area[: len(copy.secret)] = copy.secret
            try:
                public = public_key(scheme, self._page, copy.secret_kind)
            except ValueError:
                return "the copy holds no private key"
            if public != copy.public_key:
                return "the secret in the copy does not belong to its public key"
            # A copy is encrypted, not signed: whoever could write the database could put in another key's.
            if public.hex() != self._found.public_keys.get((copy.org_id, copy.key_id)):
                return "the copy is of another public key than the key's own"
            version, generation = self.outcome.root_version, values["generation"] + 1
            binding = Binding(
                self._found.store_id,
                copy.org_id,
                copy.key_id,
                copy.scheme,
                copy.curve,
                copy.secret_kind,
                public,
                version,
                generation,
            )
            secret = self._page.secret_area[: len(copy.secret)]
            values["recovery_copy"] = seal_copy(binding, secret, self._recipients)
            values["record"] = seal(self._page, self._page.root(0), binding)
            values.update(root_version=version, generation=generation)
            return None
        finally:
            wipe(copy.secret)
            self._page.wipe_work()


def check(outcome: Outcome) -> None:
    """Raises ``CannotRecover`` when nothing comes back though there is something."""
    if not outcome.recovered and (outcome.lost or outcome.refused):
        reason = next(iter(outcome.refused.values()), "none has a recovery copy")
        raise CannotRecover(f"no key could be recovered: {reason}")
