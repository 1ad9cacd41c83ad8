"""Who may consent: the signer's roster as it is kept, and the judgement of orders by it (grant level G3).

The roster begins with the credentials that the store root names, which only who holds the key-encryption key can write,
and goes on by requests that a credential in it countersigned. What the API process says without such a signature is
kept as pending and counts for nothing. So a stolen API process, with its database, its keys and the signer's socket,
adds nobody, and brings nobody back.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypedDict

import msgspec
from cryptography.hazmat.backends import default_backend

from countersign.consent.challenge import ActionChallenge
from countersign.consent.digest import action_digest
from countersign.consent.evidence import Evidence, EvidenceKind, verify_evidence
from countersign.credentials.fido2_assertion import Fido2Context
from countersign.credentials.outcome import Refused
from countersign.credentials.relying_party import RelyingParty
from countersign.encoding import base64url
from countersign.keystores import consented, roster
from countersign.keystores.ledger import Ledger
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import MALFORMED, ConsentEvidence, Order
from countersign.keystores.roots import Founder
from countersign.keystores.roster import Adopted, Begun, Claimed, Enrolled, Entry, Record, Rekeyed, Roster
from countersign.keystores.roster_keys import RosterKeys

log = logging.getLogger("countersign.signer")

_KINDS: Final[dict[str, EvidenceKind]] = {
    "Fido2": "Fido2",
    "Key": "Key",
    "PasswordProtectedKey": "PasswordProtectedKey",
}

_MAX_NAME: Final = 256

_encode = msgspec.msgpack.Encoder().encode
_decode_evidence = msgspec.msgpack.Decoder(ConsentEvidence).decode

# The library imports this when it reads its first EC or RSA key; by then the signer has given up the file system.
default_backend()


class Trace(TypedDict):
    """Members of ``roster.Consented``."""

    by: str
    action_id: str
    evidence_sha256: bytes


@dataclass(frozen=True, slots=True)
class Proven:
    """Consent that holds: the credential's entry, the challenge it signed, and the evidence itself."""

    entry: Entry
    challenge: ActionChallenge
    evidence: ConsentEvidence

    @property
    def trace(self) -> Trace:
        """What a record of the roster keeps of it."""
        return {
            "by": self.entry.record.credential_uuid,
            "action_id": self.challenge.id,
            "evidence_sha256": hashlib.sha256(_encode(self.evidence)).digest(),
        }


class Registrar:
    """Keeps the roster in ``ledger`` and judges by it. ``clock`` as that of the signer.

    ``endorses_by_itself``: what is enrolled without anybody's signature counts at once (sandbox only).
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], int], *, endorses_by_itself: bool = False) -> None:
        self.ledger = ledger
        self.roster = Roster()
        self.clock = clock
        self.endorses_by_itself = endorses_by_itself
        self.keys: RosterKeys | None = None

    @property
    def adopted(self) -> bool:
        """Whether uses of keys are held to the roster: from its first credentials on, and then for good."""
        return bool(self.roster.installation_id)

    def open(self, keys: RosterKeys, installation_id: str, founders: tuple[Founder, ...]) -> Refusal | None:
        """Read the roster with the keeper's keys, or begin it. A refusal means that nothing may be judged."""
        if self.ledger.lasting or self.roster.store_id not in ("", keys.keeper_id):
            self.roster = Roster()
        if (refusal := self.ledger.load(keys.tag, self._take)) is not None:
            return refusal
        if self.roster.store_id not in ("", keys.keeper_id):
            return Refusal("Integrity", f"the roster is that of {self.roster.store_id}")
        self.keys = keys
        with self.ledger.exclusive():
            refusal = self.catch_up() or self._begin(keys, installation_id, founders)
        if refusal is not None:
            self.keys = None
        return refusal

    def close(self) -> None:
        """The keys are wiped: nothing is judged until they are there again."""
        self.keys = None

    def catch_up(self) -> Refusal | None:
        """Read what other processes of the same signer wrote."""
        if self.keys is None:
            return Refusal("Sealed", "the roster is not open")
        return self.ledger.refresh(self.keys.tag, self._take)

    def _begin(self, keys: RosterKeys, installation_id: str, founders: tuple[Founder, ...]) -> Refusal | None:
        now = self.clock()
        if not self.roster.store_id and (refusal := self.write(Begun(roster.FORMAT, keys.keeper_id, now))) is not None:
            return refusal
        # Under the newest root, before anyone may do without the older one.
        behind = self.ledger.root_version < keys.newest
        if behind and (refusal := self.write(Rekeyed(keys.newest, now))) is not None:
            return refusal
        if self.adopted or not installation_id or not founders:
            return None
        for founder in founders:
            refusal = self.write(enrolled(founder, "root", now))
            if refusal is not None:
                return refusal
        return self.write(Adopted(installation_id, "root", now))

    def _take(self, body: bytes) -> str | None:
        try:
            return self.roster.apply(roster.decode(body))
        except MALFORMED:
            return "it says what this version does not know"

    def write(self, record: Record) -> Refusal | None:
        """Append one record, and let it count; inside ``ledger.exclusive``."""
        if self.keys is None:
            return Refusal("Sealed", "the roster is not open")
        body = roster.encode(record)
        refusal = self.ledger.append(body, self.keys.newest, self.keys.tag)
        if refusal is not None:
            return refusal
        defect = self._take(body)
        assert defect is None, defect
        return None

    def ended(self, order: Order) -> Refusal | None:
        """Refuse what would use a key that is archived or destroyed for good."""
        how = self.roster.ended(order.org_id, order.key_id)
        if how is None or order.op in _OF_ENDED.get(how, ()):
            return None
        return Refusal("Denied", f"the key is {'archived' if how == 'archive' else 'destroyed'} for good")

    def judge(self, order: Order, store_id: str) -> Refusal | None:
        """Whether a credential that counts consented to exactly this order, in this key store."""
        if order.op in consented.FREE_OPS:
            return None
        if order.evidence is None:
            return Refusal("Denied", "the order carries no evidence of consent")
        if order.op not in consented.CONSENTED_OPS:
            return None
        if order.evidence.org_id != order.org_id:
            return Refusal("Denied", "consent evidence is of another organisation than the key")
        reason = consented.mismatch(order, order.evidence, store_id)
        if reason is not None:
            return Refusal("Denied", f"consent is to something else: {reason}")
        proven = self.proven(order.evidence)
        if isinstance(proven, Refusal):
            return proven
        if order.op == "export":
            return self._judge_export_approvals(order, order.evidence)
        return self._judge_approvals(order.evidence, proven.challenge.id)

    def _judge_export_approvals(self, order: Order, evidence: ConsentEvidence) -> Refusal | None:
        """Whether each approval that travels along is of exactly this export, by people who differ, none who asks.

        They bind themselves: whoever uses one again gets the same key for the same receiver. Whether any is needed is
        not known here.
        """
        people = {evidence.user_id}
        for encoded in evidence.approvals:
            try:
                decision = _decode_evidence(encoded)
            except MALFORMED:
                return Refusal("Denied", "an approval is no evidence")
            defect = decision.defect()
            if defect is not None or decision.org_id != evidence.org_id:
                return Refusal("Denied", f"an approval is none: {defect or 'it is of another organisation'}")
            if not consented.approves_export(order, decision):
                return Refusal("Denied", "an approval is of something else than this export")
            proven = self.proven(decision)
            if isinstance(proven, Refusal):
                return Refusal(proven.code, f"an approval: {proven.reason}")
            people.add(decision.user_id)
        if len(people) <= len(evidence.approvals):
            return Refusal("Denied", "an approval is of whoever asks, or two are of one person")
        return None

    def _judge_approvals(self, evidence: ConsentEvidence, action_id: str) -> Refusal | None:
        """Whether each approval that travels along is one: of one and the same approval, by people who differ.

        From then on it is good for this request alone. Whether any is needed is not known here: the policies are the
        API's.
        """
        approval_ids: set[str] = set()
        people: set[str] = set()
        for encoded in evidence.approvals:
            try:
                decision = _decode_evidence(encoded)
            except MALFORMED:
                return Refusal("Denied", "an approval is no evidence")
            defect = decision.defect()
            approval_id = consented.approval_of(decision) if defect is None else None
            if approval_id is None or decision.org_id != evidence.org_id:
                return Refusal("Denied", f"an approval is none: {defect or 'its request approves nothing'}")
            proven = self.proven(decision)
            if isinstance(proven, Refusal):
                return Refusal(proven.code, f"an approval: {proven.reason}")
            approval_ids.add(approval_id)
            people.add(decision.user_id)
        if len(approval_ids) > 1 or len(people) < len(evidence.approvals):
            return Refusal("Denied", "the approvals are of several requests, or twice of one person")
        return self._claim(evidence.org_id, approval_ids.pop(), action_id) if approval_ids else None

    def _claim(self, org_id: str, approval_id: str, action_id: str) -> Refusal | None:
        """Bind an approval to the request that it lets go on; refused where it was bound to another one before."""
        if self.roster.claimed_by(org_id, approval_id) is None:
            with self.ledger.exclusive():
                refusal = self.catch_up()
                if refusal is None and self.roster.claimed_by(org_id, approval_id) is None:
                    refusal = self.write(Claimed(org_id, approval_id, action_id, self.clock()))
                if refusal is not None:
                    return refusal
        if self.roster.claimed_by(org_id, approval_id) != action_id:
            return Refusal("Denied", "the approval was used for another request")
        return None

    def proven(self, evidence: ConsentEvidence) -> Proven | Refusal:
        """Check evidence against the roster: whose it is, and that the signature covers exactly the request it gives.

        The public key and the relying party are the roster's; what the evidence says of them is not looked at.
        """
        if evidence.installation_id != self.roster.installation_id:
            return Refusal("Denied", "consent evidence is of another installation")
        entry = self.roster.entry(evidence.org_id, evidence.credential_uuid)
        if entry is None:
            return Refusal("Denied", "the credential that consented is not in the roster")
        state = self.roster.state_of(entry)
        if state != "Active":
            return Refusal("Denied", f"the credential that consented is {state.lower()} in the roster")
        if (entry.record.user_id, entry.record.kind) != (evidence.user_id, evidence.kind):
            return Refusal("Denied", "the credential that consented is another user's, or of another kind")
        return _verify(evidence, entry)


def _verify(evidence: ConsentEvidence, entry: Entry) -> Proven | Refusal:
    kind = _KINDS.get(entry.record.kind)
    if kind is None:
        return Refusal("Denied", f"credentials of kind {entry.record.kind} don't sign actions")
    digest = action_digest(
        evidence.installation_id,
        evidence.org_id,
        evidence.user_id,
        evidence.method,
        evidence.path,
        evidence.query,
        hashlib.sha256(evidence.payload).digest(),
    )
    data = evidence.authenticator_data
    signed = Evidence(
        kind,
        base64url.encode(evidence.client_data),
        base64url.encode(evidence.signature),
        None if data is None else base64url.encode(data),
        evidence.algorithm,
    )
    rp_id = entry.record.relying_party_id
    # Which origins are allowed is the API's to know; the relying party is what the authenticator signed.
    context = None if rp_id is None else Fido2Context(RelyingParty(rp_id, None), backup_eligible=None)
    outcome = verify_evidence(signed, entry.key, digest, context)
    if isinstance(outcome, Refused):
        return Refusal("Denied", f"the evidence does not hold: {outcome.reason}")
    return Proven(entry, outcome.challenge, evidence)


def identity_defect(new: Founder) -> str | None:
    """What is wrong with the names of a new credential; its public key is not judged here."""
    needed = (new.org_id, new.user_id, new.credential_uuid, new.kind)
    if not all(needed):
        return "the new credential lacks an identity"
    if any(len(name.encode()) > _MAX_NAME for name in (*needed, new.token_id, new.relying_party_id or "")):
        return f"a name of the new credential is longer than {_MAX_NAME} bytes"
    return None


def enrolled(founder: Founder, how: str, now: int) -> Enrolled:
    """The record of a credential that nobody consented to: it counts by the operator's word, or not yet."""
    return Enrolled(**msgspec.structs.asdict(founder), how=how, at=now)


# What may still be done with a key that is archived: its record moves with the roots until it is destroyed.
_OF_ENDED: Final = {
    "archive": frozenset({"archive", "destroy", "rewrap", "verify"}),
    "destroy": frozenset({"destroy", "archive"}),
}
