"""The signer's own record of credentials and of keys that came to their end. Pure.

It is a list of records that only grows; what counts now follows from them in order. Only what is in it is believed: a
credential that the database shows and the roster does not know consents to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

from countersign.credentials import public_key
from countersign.credentials.public_key import PublicKey
from countersign.keystores.roster_changes import State, Subject

FORMAT: Final = 1


class Begun(msgspec.Struct, array_like=True, frozen=True, tag="begun"):
    """First record: whose roster it is, a key store's or an authoriser's.

    ``at``, here and below, in milliseconds by the clock of its process.
    """

    format: int
    store_id: str
    at: int


class Adopted(msgspec.Struct, array_like=True, frozen=True, tag="adopted"):
    """From here on every use of a key takes the consent of a credential of this installation.

    ``by``: root | operator.
    """

    installation_id: str
    by: str
    at: int


class Consented(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Who consented, last in its records: ``by`` is the credential, ``action_id`` the challenge that it signed.

    ``evidence_sha256`` is the hash of the evidence. All are empty where nobody did.
    """

    by: str = ""
    action_id: str = ""
    evidence_sha256: bytes = b""


class Dated(Consented, array_like=True, frozen=True, kw_only=True):
    """``as_of``: the expiry of that challenge, in seconds since the epoch."""

    as_of: int = 0


class Enrolled(Dated, array_like=True, frozen=True, tag="enrolled"):
    """A credential. ``how``: root | operator | consent | recovery | pending; ``public_key`` is SPKI PEM."""

    org_id: str
    user_id: str
    credential_uuid: str
    kind: str
    public_key: str
    relying_party_id: str | None
    token_id: str
    how: str
    at: int


class Endorsed(Dated, array_like=True, frozen=True, tag="endorsed"):
    """A pending credential counts from here on. ``how``: consent | operator | sandbox."""

    org_id: str
    credential_uuid: str
    how: str
    at: int


class Stated(Dated, array_like=True, frozen=True, tag="stated"):
    """A new state of a credential, a user or an access token."""

    org_id: str
    subject: Subject
    subject_id: str
    state: State
    at: int


class Recovered(Consented, array_like=True, frozen=True, tag="recovered"):
    """A recovery key put ``new`` credentials in the place of all that its user had, which are archived for good.

    ``by`` is the recovery key, ``action_id`` the hash of what it signed; ``how`` of the new ones is ``recovery``.
    """

    org_id: str
    user_id: str
    new: tuple[Enrolled, ...]
    at: int


class Ended(Consented, array_like=True, frozen=True, tag="ended"):
    """A key is archived or destroyed for good. ``op``: archive | destroy; ``public_key`` as the order named it."""

    org_id: str
    key_id: str
    op: str
    public_key: bytes
    at: int


class Claimed(msgspec.Struct, array_like=True, frozen=True, tag="claimed"):
    """An approval let this request go on (``action_id``: the challenge of its consent), and no other from here on."""

    org_id: str
    approval_id: str
    action_id: str
    at: int


class Rekeyed(msgspec.Struct, array_like=True, frozen=True, tag="rekeyed"):
    """From here on the records are authenticated under another store root."""

    root_version: int
    at: int


Record: TypeAlias = Begun | Adopted | Enrolled | Endorsed | Stated | Recovered | Ended | Claimed | Rekeyed

encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(
    Begun | Adopted | Enrolled | Endorsed | Stated | Recovered | Ended | Claimed | Rekeyed
)
decode = _decoder.decode


class Listed(msgspec.Struct, array_like=True, frozen=True):
    """A credential as the roster shows it. ``state``: Active | Inactive | Archived | Pending."""

    org_id: str
    user_id: str
    credential_uuid: str
    kind: str
    fingerprint: str
    how: str
    by: str
    state: str
    at: int


@dataclass(slots=True)
class Entry:
    """One credential. ``key`` is its parsed public key; ``counts``: enrolled with consent, or endorsed since."""

    record: Enrolled
    key: PublicKey
    counts: bool
    endorsed_by: str = ""


@dataclass(slots=True)
class Roster:
    """What counts now."""

    store_id: str = ""
    installation_id: str = ""
    _entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    _by_key: dict[tuple[str, str], Entry] = field(default_factory=dict)
    _users: set[tuple[str, str]] = field(default_factory=set)
    _states: dict[tuple[str, str, str], tuple[State, int]] = field(default_factory=dict)
    _actions: set[str] = field(default_factory=set)
    _ended: dict[tuple[str, str], str] = field(default_factory=dict)
    _claimed: dict[tuple[str, str], str] = field(default_factory=dict)

    def apply(self, record: Record) -> str | None:
        """Take over a record that was authenticated; what is wrong with it, if it makes no sense."""
        match record:
            case Begun():
                if self.store_id or record.format != FORMAT:
                    return "an unknown format, or two beginnings"
                self.store_id = record.store_id
            case Adopted():
                self.installation_id = record.installation_id
            case Enrolled():
                return self._enrol(record)
            case Endorsed():
                entry = self._entries.get((record.org_id, record.credential_uuid))
                if entry is None:
                    return "an unknown credential is endorsed"
                self._count(entry)
                entry.endorsed_by = record.by or record.how
                self._actions.add(record.action_id)
            case Stated():
                self._states[record.org_id, record.subject, record.subject_id] = (record.state, record.as_of)
                self._actions.add(record.action_id)
            case Recovered():
                return self._recover(record)
            case Ended():
                # A destroyed key stays destroyed, whatever is said of it later.
                if self._ended.get((record.org_id, record.key_id)) != "destroy":
                    self._ended[record.org_id, record.key_id] = record.op
            case Claimed():
                self._claimed[record.org_id, record.approval_id] = record.action_id
            case Rekeyed():
                pass
        return None

    def _enrol(self, record: Enrolled) -> str | None:
        key = public_key.load(record.public_key)
        if not isinstance(key, PublicKey):
            return "a credential has no public key that is accepted"
        entry = Entry(record, key, counts=False)
        self._entries[record.org_id, record.credential_uuid] = entry
        if record.how != "pending":
            self._count(entry)
        self._actions.add(record.action_id)
        return None

    def _recover(self, record: Recovered) -> str | None:
        renewed = {each.credential_uuid for each in record.new}
        for entry in self._entries.values():
            of = entry.record
            if (of.org_id, of.user_id) == (record.org_id, record.user_id) and of.credential_uuid not in renewed:
                as_of = self.state(of.org_id, "credential", of.credential_uuid)[1]
                self._states[of.org_id, "credential", of.credential_uuid] = ("Archived", as_of)
        for each in record.new:
            defect = self._enrol(each)
            if defect is not None:
                return defect
        return None

    def _count(self, entry: Entry) -> None:
        entry.counts = True
        self._by_key[entry.record.org_id, entry.key.fingerprint] = entry
        self._users.add((entry.record.org_id, entry.record.user_id))

    def entry(self, org_id: str, credential_uuid: str) -> Entry | None:
        """The credential, whatever its state."""
        return self._entries.get((org_id, credential_uuid))

    def holder(self, org_id: str, fingerprint: str) -> Entry | None:
        """The credential that counts or once counted with this public key: none other ever gets it."""
        return self._by_key.get((org_id, fingerprint))

    def knows_user(self, org_id: str, user_id: str) -> bool:
        """Whether a credential of this user counts or once counted."""
        return (org_id, user_id) in self._users

    def owners_of_token(self, org_id: str, token_id: str) -> set[str]:
        """Users whose credentials are bound to this access token: one, or none."""
        return {
            entry.record.user_id
            for entry in self._entries.values()
            if (entry.record.org_id, entry.record.token_id) == (org_id, token_id)
        }

    def knows_action(self, action_id: str) -> bool:
        """Whether the consent of this challenge changed the roster already."""
        return action_id in self._actions

    def state(self, org_id: str, subject: Subject, subject_id: str) -> tuple[State, int]:
        """The state of a credential, user or token, and as of when (seconds since the epoch) it was consented to."""
        return self._states.get((org_id, subject, subject_id), ("Active", 0))

    def state_of(self, entry: Entry) -> str:
        """What a credential counts for: ``Active`` alone consents."""
        if not entry.counts:
            return "Pending"
        record = entry.record
        said = [self.state(record.org_id, "credential", record.credential_uuid)[0]]
        said.append(self.state(record.org_id, "user", record.user_id)[0])
        if record.token_id:
            said.append(self.state(record.org_id, "token", record.token_id)[0])
        return "Archived" if "Archived" in said else "Inactive" if "Inactive" in said else "Active"

    def ended(self, org_id: str, key_id: str) -> str | None:
        """``archive`` or ``destroy`` where the key came to its end."""
        return self._ended.get((org_id, key_id))

    def claimed_by(self, org_id: str, approval_id: str) -> str | None:
        """The challenge of the request that this approval let go on, if it did."""
        return self._claimed.get((org_id, approval_id))

    def listed(self) -> Iterator[Listed]:
        """Every credential in the order in which they came in."""
        for entry in self._entries.values():
            record = entry.record
            by = entry.endorsed_by or record.by
            yield Listed(
                record.org_id,
                record.user_id,
                record.credential_uuid,
                record.kind,
                entry.key.fingerprint,
                record.how,
                by,
                self.state_of(entry),
                record.at,
            )
