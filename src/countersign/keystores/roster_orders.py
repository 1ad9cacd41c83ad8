"""Orders that change the roster: enrol, endorse, retire, recover, adopt, and the end of a key (archive, destroy).

Each is carried out again without harm: what is in the roster already is answered as done. Nothing but the evidence, or
the proof of who holds the key-encryption key, gives such an order its effect; it takes no grant.
"""

from __future__ import annotations

import hmac
import logging
from typing import Final

import msgspec
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from countersign.credentials import public_key
from countersign.credentials.public_key import PublicKey
from countersign.credentials.relying_party import RelyingParty
from countersign.keystores import recovered
from countersign.keystores.memory import wipe
from countersign.keystores.outcome import DONE, PENDING, Refusal
from countersign.keystores.protocol import MALFORMED, ConsentEvidence, Order
from countersign.keystores.registrar import Proven, Registrar, enrolled, identity_defect
from countersign.keystores.roots import Founder
from countersign.keystores.roster import Adopted, Ended, Endorsed, Enrolled, Entry, Listed, Stated
from countersign.keystores.roster_changes import Endorses, Enrols, Sets, consented_change
from countersign.keystores.statements import VERSION, SignedStatement, Statement

log = logging.getLogger("countersign.signer")

_STATEMENT_KEY: Final = b"csk/1/statement"
_PAGE: Final = 500
_LONGEST_CHALLENGE_MS: Final = 3_600_000


class Endorsement(msgspec.Struct, array_like=True, frozen=True):
    """Arguments of ``endorse`` by the operator: the credential, its key's fingerprint, and ``proof`` over both."""

    org_id: str
    credential_uuid: str
    fingerprint: str
    proof: bytes = b""

    def message(self) -> bytes:
        """What the proof is over."""
        return _encode(("countersign.endorse.v1", self.org_id, self.credential_uuid, self.fingerprint))


class Adoption(msgspec.Struct, array_like=True, frozen=True):
    """Arguments of ``adopt``: the credentials with which an older installation begins its roster, and the proof."""

    installation_id: str
    credentials: tuple[Founder, ...]
    proof: bytes = b""

    def message(self) -> bytes:
        """What the proof is over."""
        return _encode(("countersign.adopt.v1", self.installation_id, self.credentials))


class RosterPage(msgspec.Struct, array_like=True, frozen=True):
    """Data of the reply to ``roster``: credentials from an offset on, and whether there are more."""

    installation_id: str
    records: int
    head: bytes
    credentials: list[Listed]
    more: bool


_encode = msgspec.msgpack.Encoder().encode
_decode_founder = msgspec.msgpack.Decoder(Founder).decode
_decode_endorsement = msgspec.msgpack.Decoder(Endorsement).decode
_decode_adoption = msgspec.msgpack.Decoder(Adoption).decode
_decode_offset = msgspec.msgpack.Decoder(int).decode


OPS: Final = frozenset({"enrol", "endorse", "retire", "recover", "adopt", "roster", "roster_at"})
"""Orders about a roster, to whoever keeps one."""


def carry_out(registrar: Registrar, order: Order) -> bytes | Refusal:
    """Carry out an order about the roster. The order's evidence is in good shape, and the store is unsealed."""
    with registrar.ledger.exclusive():
        if (refusal := registrar.catch_up()) is not None:
            return refusal
        try:
            match order.op:
                case "adopt":
                    return _adopt(registrar, _decode_adoption(order.arguments))
                case "roster":
                    return _list(registrar, _decode_offset(order.arguments))
                case "roster_at":
                    return _head_at(registrar, _decode_offset(order.arguments))
                case _ if not registrar.adopted:
                    return Refusal("Unsupported", "the signer keeps no roster yet: countersign keystore roster adopt")
                case "enrol":
                    return _enrol(registrar, _decode_founder(order.arguments), order.evidence)
                case "endorse":
                    return _endorse(registrar, order)
                case "recover":
                    return recovered.recover(registrar, recovered.decode(order.arguments))
                case _:
                    return _retire(registrar, order)
        except MALFORMED:
            return Refusal("Unsupported", f"the arguments of {order.op} are malformed")


def _enrol(registrar: Registrar, new: Founder, evidence: ConsentEvidence | None) -> bytes | Refusal:
    key = public_key.load(new.public_key)
    if not isinstance(key, PublicKey):
        return Refusal("Denied", f"the new public key: {key.reason}")
    if (defect := identity_defect(new)) is not None:
        return Refusal("Denied", defect)
    known = registrar.roster.entry(new.org_id, new.credential_uuid)
    if known is not None and (known.counts or evidence is None):
        return _same(known, new, key)
    holder = registrar.roster.holder(new.org_id, key.fingerprint)
    if holder is not None:
        return Refusal("Denied", f"the public key is or was that of credential {holder.record.credential_uuid}")
    if evidence is None:
        return _pend(registrar, new)
    proven = _covered(registrar, new, key, evidence)
    if isinstance(proven, Refusal):
        return proven
    stated = {**msgspec.structs.asdict(new), "how": "consent", "at": registrar.clock()}
    record = Enrolled(**stated, **proven.trace, as_of=proven.challenge.exp)
    return registrar.write(record) or DONE


def _same(known: Entry, new: Founder, key: PublicKey) -> bytes | Refusal:
    record = known.record
    if (record.user_id, record.kind, known.key.fingerprint) != (new.user_id, new.kind, key.fingerprint):
        return Refusal("Denied", "the roster has another credential under this id")
    return DONE if known.counts else PENDING


def _pend(registrar: Registrar, new: Founder) -> bytes | Refusal:
    now = registrar.clock()
    refusal = registrar.write(enrolled(new, "pending", now))
    if refusal is not None or not registrar.endorses_by_itself:
        return refusal or PENDING
    return registrar.write(Endorsed(new.org_id, new.credential_uuid, "sandbox", now)) or DONE


def _covered(registrar: Registrar, new: Founder, key: PublicKey, evidence: ConsentEvidence) -> Proven | Refusal:
    """The consent to exactly this key for exactly this user, in the roster's own reading of the request."""
    change = consented_change(evidence.method, evidence.path, evidence.payload)
    if not isinstance(change, Enrols):
        return Refusal("Denied", f"consent is to something else: {change if isinstance(change, str) else 'no key'}")
    if evidence.org_id != new.org_id or change.key.public_key.fingerprint != key.fingerprint:
        return Refusal("Denied", "consent is to another public key or organisation")
    rp_id = new.relying_party_id
    if change.kind != new.kind or (rp_id is not None) != (change.key.rp_id_hash is not None):
        return Refusal("Denied", "consent is to another kind of credential")
    if rp_id is not None and RelyingParty(rp_id, None).rp_id_hash != change.key.rp_id_hash:
        return Refusal("Denied", "the new passkey is for another relying party")
    if change.own and new.user_id != evidence.user_id:
        return Refusal("Denied", "consent is to a credential of another user")
    if not change.own and registrar.roster.knows_user(new.org_id, new.user_id):
        return Refusal("Denied", "consent is to a new service account, and this user has credentials")
    if registrar.roster.state(new.org_id, "user", new.user_id)[0] == "Archived":
        return Refusal("Denied", "the user is archived for good")
    return registrar.proven(evidence)


def _endorse(registrar: Registrar, order: Order) -> bytes | Refusal:
    if order.evidence is None:
        given = _decode_endorsement(order.arguments)
        if (refusal := _proof_defect(registrar, given.message(), given.proof)) is not None:
            return refusal
        return _count(registrar, given, Endorsed(given.org_id, given.credential_uuid, "operator", registrar.clock()))
    change = consented_change(order.evidence.method, order.evidence.path, order.evidence.payload)
    if not isinstance(change, Endorses):
        return Refusal("Denied", "consent is to something else than an endorsement")
    proven = registrar.proven(order.evidence)
    if isinstance(proven, Refusal):
        return proven
    named = Endorsement(order.evidence.org_id, change.credential_uuid, change.fingerprint)
    now = registrar.clock()
    record = Endorsed(named.org_id, named.credential_uuid, "consent", now, **proven.trace, as_of=proven.challenge.exp)
    return _count(registrar, named, record)


def _count(registrar: Registrar, named: Endorsement, record: Endorsed) -> bytes | Refusal:
    entry = registrar.roster.entry(named.org_id, named.credential_uuid)
    if entry is None or entry.key.fingerprint != named.fingerprint:
        return Refusal("NotFound", "the roster has no such credential with this public key")
    if entry.counts:
        return DONE
    if registrar.roster.holder(named.org_id, named.fingerprint) is not None:
        return Refusal("Denied", "the public key is or was that of another credential")
    return registrar.write(record) or DONE


def _retire(registrar: Registrar, order: Order) -> bytes | Refusal:
    """A change of state, once for each consent, and never one that is older than the last."""
    if order.evidence is None:
        return Refusal("Denied", "a change of state takes the evidence of consent")
    evidence = order.evidence
    change = consented_change(evidence.method, evidence.path, evidence.payload)
    if not isinstance(change, Sets):
        return Refusal("Denied", "consent is to something else than a change of state")
    proven = registrar.proven(evidence)
    if isinstance(proven, Refusal):
        return proven
    if registrar.roster.knows_action(proven.challenge.id):
        return DONE
    if change.own and not _owns(registrar, change, evidence):
        return Refusal("Denied", "consent is to a change of another user's")
    # The server writes the expiry: one that lies far ahead would keep the consent newer than all that comes after it. A
    # sandbox may move the server's clock.
    ahead_ms = proven.challenge.exp * 1000 - registrar.clock()
    if ahead_ms > _LONGEST_CHALLENGE_MS and not registrar.endorses_by_itself:
        return Refusal("Denied", "the challenge that was signed counts for too long to tell when that was")
    state, as_of = registrar.roster.state(evidence.org_id, change.subject, change.id)
    if state == "Archived":
        return DONE
    if change.state == "Active" and proven.challenge.exp < as_of:
        return Refusal("Denied", "consent is older than the state that it would change")
    record = Stated(
        evidence.org_id,
        change.subject,
        change.id,
        change.state,
        registrar.clock(),
        **proven.trace,
        as_of=max(proven.challenge.exp, as_of),
    )
    return registrar.write(record) or DONE


def _owns(registrar: Registrar, change: Sets, evidence: ConsentEvidence) -> bool:
    if change.subject == "token":
        # The key of a token is one of its owner's credentials; the roster knows tokens by those alone.
        owners = registrar.roster.owners_of_token(evidence.org_id, change.id)
        return evidence.user_id in owners
    entry = registrar.roster.entry(evidence.org_id, change.id)
    return entry is not None and entry.record.user_id == evidence.user_id


def _adopt(registrar: Registrar, adoption: Adoption) -> bytes | Refusal:
    if registrar.adopted:
        if registrar.roster.installation_id == adoption.installation_id:
            return DONE
        return Refusal("Denied", "the roster is that of another installation")
    if (refusal := _proof_defect(registrar, adoption.message(), adoption.proof)) is not None:
        return refusal
    if not adoption.credentials or not adoption.installation_id:
        return Refusal("Unsupported", "a roster begins with an installation and its credentials")
    now = registrar.clock()
    for founder in adoption.credentials:
        key = public_key.load(founder.public_key)
        if not isinstance(key, PublicKey):
            return Refusal("Unsupported", f"credential {founder.credential_uuid}: {key.reason}")
    for founder in adoption.credentials:
        # What an attempt before this one left is taken up, not repeated.
        if registrar.roster.entry(founder.org_id, founder.credential_uuid) is None:
            refusal = registrar.write(enrolled(founder, "operator", now))
            if refusal is not None:
                return refusal
    return registrar.write(Adopted(adoption.installation_id, "operator", now)) or DONE


def _proof_defect(registrar: Registrar, message: bytes, proof: bytes) -> Refusal | None:
    assert registrar.keys is not None
    if hmac.compare_digest(registrar.keys.operator_proof(message), proof):
        return None
    return Refusal("Denied", "this takes the key-encryption key of the store, or the key file of the authoriser")


def _list(registrar: Registrar, offset: int) -> bytes | Refusal:
    listed = list(registrar.roster.listed())
    page = listed[offset : offset + _PAGE]
    ledger = registrar.ledger
    more = len(listed) > offset + _PAGE
    return _encode(RosterPage(registrar.roster.installation_id, ledger.count, ledger.head, page, more))


def _head_at(registrar: Registrar, count: int) -> bytes | Refusal:
    """The head when there were ``count`` records, empty where there are fewer: what tells an older copy."""
    if not registrar.ledger.lasting:
        return Refusal("Unsupported", "this roster is not kept")
    return registrar.ledger.head_at(count) or b""


def end_key(registrar: Registrar, order: Order) -> bytes | Refusal:
    """Note the end of a key for good and state it, signed. The order is permitted; a repeat is stated again."""
    assert registrar.keys is not None
    evidence = order.evidence
    proven = registrar.proven(evidence) if registrar.adopted and evidence is not None else None
    if isinstance(proven, Refusal):
        return proven
    now = registrar.clock()
    with registrar.ledger.exclusive():
        if (refusal := registrar.catch_up()) is not None:
            return refusal
        named = order.org_id, order.key_id, order.op, order.public_key, now
        record = Ended(*named) if proven is None else Ended(*named, **proven.trace)
        if registrar.roster.ended(order.org_id, order.key_id) not in (order.op, "destroy"):
            refusal = registrar.write(record)
            if refusal is not None:
                return refusal
        ledger = registrar.ledger
        statement = Statement(
            VERSION,
            registrar.keys.keeper_id,
            order.org_id,
            order.key_id,
            order.public_key,
            order.op,
            now,
            record.evidence_sha256,
            ledger.count,
            ledger.head,
        )
    return _signed(registrar, _encode(statement))


def _signed(registrar: Registrar, statement: bytes) -> bytes:
    public, secret = _statement_keys(registrar)
    return _encode(SignedStatement(statement, crypto_sign(statement, secret)[:64], public))


def statement_key(registrar: Registrar) -> bytes:
    """Ed25519 public key of the signer's statements; it changes with the store root."""
    return _statement_keys(registrar)[0]


def _statement_keys(registrar: Registrar) -> tuple[bytes, bytes]:
    keys = registrar.keys
    assert keys is not None
    seed = keys.derive(keys.newest, _STATEMENT_KEY)
    assert seed is not None
    try:
        return crypto_sign_seed_keypair(bytes(seed))
    finally:
        wipe(seed)
