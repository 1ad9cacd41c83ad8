"""Recoveries in the log: the recovery key consented to exactly these credentials, and was the person's own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from countersign.audit.entry import Enrolled, System
from countersign.audit.facts import Facts
from countersign.audit.report import Summary
from tests.audit.test_enrolments import OTHER, USER, common, fingerprint
from tests.support.enrolment import NewKey
from tests.support.entering import recovering

RECOVERY, NEW = NewKey(), NewKey()


def registered(key: NewKey = RECOVERY, user_id: str = USER, kind: str = "RecoveryKey") -> System:
    enrolled = Enrolled(credential_uuid="cr-1", user_id=user_id, kind=kind, fingerprint=fingerprint(key.pem))
    return System(**common("uj-1"), enrolled=(enrolled,), event="Registered", user_id=user_id)


def recovered(signer: NewKey = RECOVERY, key: NewKey = NEW, user_id: str = USER, **details: Any) -> System:
    body = recovering(
        signer, {"firstFactorCredential": {"credentialKind": "Key", "credentialInfo": NEW.info("challenge")}}
    )
    said = body["recovery"]["credentialAssertion"]
    evidence = {"clientData": said["clientData"], "signature": said["signature"]}
    enrolled = Enrolled(credential_uuid="cr-2", user_id=user_id, kind="Key", fingerprint=fingerprint(key.pem))
    return System(
        **common("uj-2"),
        enrolled=(enrolled,),
        event="Recovered",
        user_id=user_id,
        details={"recoveryKey": "cr-1", "publicKey": RECOVERY.pem, **evidence, **details},
    )


def judged(*entries: System) -> tuple[list[str], Summary]:
    """What contradicts what, and what was found without an assertion."""
    summary = Summary()
    facts = Facts(summary)
    for line, entry in enumerate(entries, 1):
        facts.add(entry, None, line, line)
    return [broken.reason for broken in facts.contradictions()], summary


def test_a_recovery_that_the_persons_recovery_key_signed_holds_and_needs_no_word_of_the_server() -> None:
    broken, summary = judged(registered(), recovered())
    assert broken == []
    assert [entry.event for entry in summary.unasserted] == ["Registered"]


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ((registered(), recovered(signer=NewKey())), "did not sign it"),
        ((registered(), recovered(clientData="AAAA")), "did not sign it"),
        ((registered(), recovered(publicKey="")), "recovery key is not told"),
        ((registered(), recovered(key=NewKey())), "signed other credentials"),
        ((registered(user_id=OTHER), recovered()), "was enrolled for another user or kind"),
        ((registered(kind="Key"), recovered()), "was enrolled for another user or kind"),
        ((registered(NewKey()), recovered()), "public key is not the one enrolled"),
        ((recovered(),), "was never enrolled"),
        ((registered(), recovered(), msgspec.structs.replace(recovered(), id="uj-3")), "had ended with its use"),
    ],
)
def test_one_that_it_did_not_sign_is_found(entries: tuple[System, ...], reason: str) -> None:
    broken, _ = judged(*entries)
    assert any(reason in each for each in broken), broken
