"""The order by which a roster follows a recovery: a recovery key in it signed for exactly these new credentials.

That signature is the whole consent. It is checked under the recovery key as the roster has it, and the new keys are
read from what it covers, so that whoever stole the API process can put in none of its own, and cannot use one twice:
the recovery key ends with its use.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from countersign.credentials import public_key
from countersign.credentials.key_assertion import CredentialAssertion
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.credentials.recovery import read_recovery, shown_credentials
from countersign.credentials.relying_party import RelyingParty
from countersign.credentials.shown_keys import ShownKey
from countersign.keystores.outcome import DONE, PENDING, Refusal
from countersign.keystores.registrar import Registrar, Trace, identity_defect
from countersign.keystores.roots import Founder
from countersign.keystores.roster import Enrolled, Entry, Recovered


class RecoveryOrder(msgspec.Struct, array_like=True, frozen=True):
    """Arguments of ``recover``: the recovery key, its assertion as received, and the new credentials in their order."""

    org_id: str
    recovery_uuid: str
    assertion: CredentialAssertion
    new: tuple[Founder, ...]


decode: Final = msgspec.msgpack.Decoder(RecoveryOrder).decode
_encode = msgspec.msgpack.Encoder().encode


def recover(registrar: Registrar, order: RecoveryOrder) -> bytes | Refusal:
    """Put the new credentials in the place of all that the recovery key's user has. Repeating it changes nothing.

    ``PENDING``, and nothing changed, where the recovery key does not count here: its word says nothing of the new ones,
    and somebody has to endorse them.
    """
    # What was signed holds challenges of its own, so no two recoveries sign the same.
    action_id = hashlib.sha256(order.assertion.client_data.encode()).hexdigest()
    entry = registrar.roster.entry(order.org_id, order.recovery_uuid)
    if entry is not None and registrar.roster.knows_action(action_id):
        return DONE
    if entry is None or registrar.roster.state_of(entry) != "Active":
        return PENDING
    if entry.record.kind != "RecoveryKey":
        return Refusal("Denied", "the credential that signed is no recovery key")
    consented = read_recovery(order.assertion, entry.key)
    if isinstance(consented, Refused):
        return Refusal("Denied", f"the recovery does not hold: {consented.reason}")
    shown = shown_credentials(consented.new_credentials)
    if isinstance(shown, Refused):
        return Refusal("Denied", f"the recovery shows no new credentials: {shown.reason}")
    if len(shown) != len(order.new):
        return Refusal("Denied", "another number of new credentials was signed")
    for new, (kind, key) in zip(order.new, shown, strict=True):
        defect = _mismatch(registrar, entry, new, kind, key)
        if defect is not None:
            return Refusal("Denied", defect)
    at = registrar.clock()
    trace: Trace = {
        "by": entry.record.credential_uuid,
        "action_id": action_id,
        "evidence_sha256": hashlib.sha256(_encode(order.assertion)).digest(),
    }
    renewed = tuple(
        Enrolled(**{**msgspec.structs.asdict(each), "token_id": "", "how": "recovery", "at": at, **trace})
        for each in order.new
    )
    record = Recovered(entry.record.org_id, entry.record.user_id, renewed, at, **trace)
    return registrar.write(record) or DONE


def _mismatch(registrar: Registrar, recovery: Entry, new: Founder, kind: str, key: ShownKey) -> str | None:
    """Why this new credential is not the one that was signed, for the recovery key's own user."""
    if (defect := identity_defect(new)) is not None:
        return defect
    of, fingerprint = recovery.record, key.public_key.fingerprint
    if (new.org_id, new.user_id, new.kind, new.token_id) != (of.org_id, of.user_id, kind, ""):
        return "a new credential of another user or kind was signed"
    loaded = public_key.load(new.public_key)
    if not isinstance(loaded, PublicKey) or loaded.fingerprint != fingerprint:
        return "another public key was signed"
    rp_id = new.relying_party_id
    if (None if rp_id is None else RelyingParty(rp_id, None).rp_id_hash) != key.rp_id_hash:
        return "a new passkey is for another relying party than was signed"
    known = registrar.roster.entry(new.org_id, new.credential_uuid)
    if known is not None and known.key.fingerprint != fingerprint:
        return "the roster has another credential under this id"
    holder = registrar.roster.holder(new.org_id, fingerprint)
    if holder is not None and holder.record.credential_uuid != new.credential_uuid:
        return f"a public key is or was that of credential {holder.record.credential_uuid}"
    return None
