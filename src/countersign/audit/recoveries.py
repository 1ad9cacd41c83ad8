"""Whether a recovery rests on the recovery key: what it signed, read again from the audit log alone."""

from __future__ import annotations

from countersign.audit.entry import System
from countersign.credentials import public_key
from countersign.credentials.key_assertion import CredentialAssertion
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.credentials.recovery import read_recovery, shown_credentials

RECOVERED = "Recovered"


def refuse_recovery(entry: System) -> str | None:
    """Why the recovery key named in the entry did not consent to exactly the credentials that it enrols.

    That this key is the person's own is for who has seen its enrolment.
    """
    details = entry.details
    key = public_key.load(details.get("publicKey", ""))
    if not isinstance(key, PublicKey):
        return "the recovery key is not told"
    # Which credential it is, the entry says; the name that the client had for it does not matter.
    assertion = CredentialAssertion(
        "-", details.get("clientData", ""), details.get("signature", ""), details.get("algorithm")
    )
    consented = read_recovery(assertion, key)
    if isinstance(consented, Refused):
        return f"the recovery key did not sign it: {consented.reason}"
    shown = shown_credentials(consented.new_credentials)
    if isinstance(shown, Refused):
        return f"the recovery key signed something else: {shown.reason}"
    signed = [(kind, each.public_key.fingerprint, entry.user_id) for kind, each in shown]
    if signed != [(each.kind, each.fingerprint, each.user_id) for each in entry.enrolled]:
        return "the recovery key signed other credentials than are enrolled"
    return None
