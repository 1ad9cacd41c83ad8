"""What has to hold between entries: each action once, each signature on an action, each key enrolled.

Fed with the entries in order. Memory: eight bytes an entry, and something for each credential and each
consent to a signature whose outcome hasn't come yet.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from countersign.audit.approvals import Approvals
from countersign.audit.destructions import DESTROYED, consent_path, refuse_destruction
from countersign.audit.enrolments import shown_fingerprints
from countersign.audit.entry import Action, Enrolled, Entry, Signature, System
from countersign.audit.recoveries import RECOVERED, refuse_recovery
from countersign.audit.report import LISTED, Broken, Summary, Unasserted
from countersign.audit.signatures import check_signature
from countersign.credentials import public_key

_KEY_SIGNATURES = re.compile(r"/keys/([^/]+)/signatures")
_CODE_PATH = "/auth/credentials/code"
_DESTROYS_A_KEY = re.compile(r"/keys/[^/]+/destroy")
#: Leads to a signature, other than what else is done with a key.
_USES_A_KEY = re.compile(r"/(?:keys|wallets)/[^/]+/(?!(?:delegate|derive|destroy|export)\Z).+")


#: Events that let nobody in and grant nothing; some of them come as often as a client likes. One that is unknown here
#: may be anything.
_HARMLESS = frozenset(
    {
        "CheckpointKeyHandedOver",
        "IdentityDeactivated",
        "KeyDestroyed",
        "KeyRetired",
        "KeyRotated",
        "OriginRemoved",
        "PermissionRevoked",
        "SecurityEvent",
    }
)


class Ids:
    """A large set of ids that tells which hashes occur twice. Kept as 64-bit hashes, spread over buckets."""

    def __init__(self) -> None:
        self._buckets = [array("Q") for _ in range(256)]

    @staticmethod
    def hash(entry_id: str) -> int:
        """What is kept of an id; the same within one process only."""
        return hash(entry_id) & 0xFFFFFFFFFFFFFFFF

    def add(self, entry_id: str) -> None:
        """Add one id."""
        value = self.hash(entry_id)
        self._buckets[value & 255].append(value)

    def repeated(self) -> set[int]:
        """Hashes that were added more than once."""
        found: set[int] = set()
        for bucket in self._buckets:
            if len(set(bucket)) != len(bucket):
                found.update(value for value, count in Counter(bucket).items() if count > 1)
        return found


@dataclass(frozen=True, slots=True)
class _Place:
    line: int
    position: int | None
    entry_id: str

    def broken(self, reason: str) -> Broken:
        return Broken(reason, self.line, self.position, self.entry_id)


@dataclass(frozen=True, slots=True)
class _Used:
    credential_uuid: str
    user_id: str
    kind: str
    public_key: str


@dataclass(frozen=True, slots=True)
class _Consented:
    """A consent to a signature. ``payload``: what was consented to, ``None`` when redacted."""

    payload_sha256: str
    key_id: str | None
    payload: str | None


@dataclass(slots=True)
class Facts:
    """Collects; :meth:`contradictions` judges when all entries have been seen."""

    summary: Summary
    ids: Ids = field(default_factory=Ids)
    approvals: Approvals = field(default_factory=Approvals)
    _used: dict[_Used, _Place] = field(default_factory=dict)
    _enrolled: dict[str, tuple[Enrolled, _Place]] = field(default_factory=dict)
    _consented: dict[str, _Consented] = field(default_factory=dict)
    _unmatched: list[tuple[Signature, _Place]] = field(default_factory=list)
    _public_keys: dict[str, str] = field(default_factory=dict)
    _conflicts: list[Broken] = field(default_factory=list)
    _codes: dict[str, str] = field(default_factory=dict)
    _by_code: list[tuple[System, _Place]] = field(default_factory=list)
    _destroying: dict[str, str] = field(default_factory=dict)
    _destroyed: list[tuple[System, _Place]] = field(default_factory=list)
    _recovered_by: set[str] = field(default_factory=set)
    _harmless: int = 0

    def add(self, entry: Entry, payload: str | None, line: int, position: int | None) -> None:
        """Take in one entry; ``position`` is ``None`` for one without."""
        self.ids.add(entry.id)
        summary = self.summary
        if isinstance(entry, Action):
            self._add_action(entry, payload, line, position)
        elif isinstance(entry, Signature):
            summary.signatures += 1
            summary.failed_signatures += entry.signature is None
            place = _Place(line, position, entry.id)
            self.approvals.add_signature(entry, place.broken)
            if self._public_keys.setdefault(entry.key_id, entry.public_key) != entry.public_key:
                self._conflicts.append(place.broken(f"key {entry.key_id} had another public key before"))
            if not self._match(entry, place):
                self._unmatched.append((entry, place))
        else:
            summary.system += 1
            if entry.event == RECOVERED:
                self._add_recovery(entry, _Place(line, position, entry.id))
            if entry.event == "KeyExported":
                self.approvals.add_export(entry, _Place(line, position, entry.id).broken)
            if entry.event == DESTROYED:
                self._destroyed.append((entry, _Place(line, position, entry.id)))
            if entry.event == "CredentialEnrolledWithCode":
                self._by_code.append((entry, _Place(line, position, entry.id)))
            weighty = bool(entry.enrolled) or entry.event not in _HARMLESS
            self._harmless += not weighty
            if entry.event != RECOVERED and (weighty or self._harmless <= LISTED):
                enrolled = tuple(item.credential_uuid for item in entry.enrolled)
                summary.unasserted.append(Unasserted(position, entry.id, entry.event, enrolled, weighty))
        for item in entry.enrolled:
            self._enrol(item, _Place(line, position, entry.id))

    def _add_action(self, entry: Action, payload: str | None, line: int, position: int | None) -> None:
        self.summary.actions += 1
        self.approvals.add_action(entry, payload)
        self.summary.redacted_payloads += payload is None
        for factor in (entry, entry.second_factor):
            if factor is not None:
                credential = factor.credential
                used = _Used(credential.uuid, entry.user_id, credential.kind, credential.public_key)
                if used not in self._used:
                    self._used[used] = _Place(line, position, entry.id)
        if entry.method == "POST" and entry.response.status == 200 and _USES_A_KEY.fullmatch(entry.path):
            named = _KEY_SIGNATURES.fullmatch(entry.path)
            self._consented[entry.id] = (
                _Consented(entry.payload_sha256, named[1], payload)
                if named
                else _Consented(entry.payload_sha256, None, None)
            )
        if (entry.method, entry.path, entry.response.status) == ("POST", _CODE_PATH, 200):
            self._codes[entry.id] = entry.user_id
        if entry.method == "POST" and entry.response.status == 200 and _DESTROYS_A_KEY.fullmatch(entry.path):
            self._destroying[entry.id] = entry.path
        if entry.enrolled:
            shown = set(shown_fingerprints(payload)) if payload is not None else set()
            self.summary.unshown_enrolments += [
                item.credential_uuid for item in entry.enrolled if item.fingerprint not in shown
            ]

    def _add_recovery(self, entry: System, place: _Place) -> None:
        """A recovery carries the assertion of the recovery key, which is one that was enrolled like any other."""
        details = entry.details
        used = _Used(details.get("recoveryKey", ""), entry.user_id or "", "RecoveryKey", details.get("publicKey", ""))
        self._used.setdefault(used, place)
        reason = refuse_recovery(entry)
        # It ends everything that the person has, itself included.
        if reason is None and used.credential_uuid in self._recovered_by:
            reason = "the recovery key had ended with its use before"
        self._recovered_by.add(used.credential_uuid)
        if reason is not None:
            self._conflicts.append(place.broken(f"credentials were recovered without consent: {reason}"))

    def _match(self, entry: Signature, place: _Place) -> bool:
        """Use up the consent that the signature rests on: one consent, one signature, of what was consented to."""
        consented = self._consented.get(entry.action_id)
        if consented is None or consented.payload_sha256 != entry.payload_sha256:
            return False
        if consented.key_id not in (None, entry.key_id):
            return False
        del self._consented[entry.action_id]
        reason = None if consented.payload is None else check_signature(entry, consented.payload)
        if reason is not None:
            self._conflicts.append(place.broken(reason))
        return True

    def _enrol(self, item: Enrolled, place: _Place) -> None:
        known = self._enrolled.setdefault(item.credential_uuid, (item, place))[0]
        if known != item:
            self._conflicts.append(place.broken(f"enrols credential {item.credential_uuid} a second time, differently"))

    def contradictions(self) -> Iterator[Broken]:
        """What doesn't hold between the entries, in no particular order. Repeated ids are not among it."""
        for signature, place in self._unmatched:
            if not self._match(signature, place):
                yield place.broken(
                    f"key {signature.key_id} signed without a consent: no action {signature.action_id} "
                    "in this log asks for this signature"
                )
        yield from self._conflicts
        yield from self.approvals.contradictions()
        for system, place in self._by_code:
            # One code enrols one credential, and for whoever made it.
            maker = self._codes.pop(system.details.get("actionId", ""), None)
            if maker is None or any(item.user_id != maker for item in system.enrolled):
                yield place.broken("a credential was enrolled with a code that its user never made")
        for system, place in self._destroyed:
            # One consent destroys one key.
            if self._destroying.pop(system.details.get("actionId", ""), None) != consent_path(system):
                yield place.broken("a key was destroyed without a consent: no action in this log asks for it")
            elif (reason := refuse_destruction(system)) is not None:
                yield place.broken(f"a key was destroyed, and {reason}")
        for used, place in self._used.items():
            reason = self._not_enrolled(used)
            if reason is not None:
                yield place.broken(reason)

    def _not_enrolled(self, used: _Used) -> str | None:
        known = self._enrolled.get(used.credential_uuid)
        if known is None:
            return f"credential {used.credential_uuid} was never enrolled in this log"
        enrolled = known[0]
        loaded = public_key.load(used.public_key)
        if not isinstance(loaded, public_key.PublicKey) or loaded.fingerprint != enrolled.fingerprint:
            return f"the public key is not the one enrolled for credential {used.credential_uuid}"
        if (enrolled.user_id, enrolled.kind) != (used.user_id, used.kind):
            return f"credential {used.credential_uuid} was enrolled for another user or kind"
        return None
