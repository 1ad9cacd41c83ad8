"""The second look at caller and credential in the transaction that spends the consent: each thing that may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest

from countersign.access.consents import Consent, PermissionsChanged, Stale, recheck
from countersign.api import Caller, Epochs
from countersign.consent.action_token import ActionEpochs, SecondFactor
from countersign.consent.evidence import Evidence

NOW = 1_700_000_000_000
EVIDENCE = Evidence("Key", "e30", "c2ln")
CALLER = Caller(
    org_id="or-1",
    user_id="us-1",
    username="somebody",
    user_kind="CustomerEmployee",
    is_service_account=False,
    token_id="to-1",
    token_kind="Pat",
    app_id=None,
    epochs=Epochs(3, 4, 5),
    permission_revision=7,
    operations=None,
    expires_at=NOW + 1,
)
CONSENT = Consent(
    action_id="uj-1",
    token="",
    digest="",
    payload_sha256="",
    signed_query="",
    actual_query="",
    query_signed=True,
    credential_uuid="cr-1",
    signed_by=cast("Any", None),
    evidence=EVIDENCE,
    second_factor=None,
    epochs=ActionEpochs(user=3, token=4, org=5, credential=6),
    signed_at=NOW // 1000,
    expires_at=NOW // 1000 + 1,
)
ROW: dict[str, Any] = {
    "token_state": "Active",
    "token_epoch": 4,
    "expires_at": NOW + 1,
    "user_state": "Active",
    "user_epoch": 3,
    "org_active": 1,
    "org_epoch": 5,
    "revision": 7,
    "credential_state": "Active",
    "credential_epoch": 6,
    "credential_user": "us-1",
    "credential_token": "to-1",
    "held_until": NOW,
}
SECOND = ("Active", 2, "us-1", "")


def look(caller: Caller = CALLER, consent: Consent = CONSENT, *rows: Any) -> None:
    """Run it over these rows, one list for each statement."""
    transaction = recheck(caller, consent, NOW)
    next(transaction)
    try:
        for each in rows:
            transaction.send(each)
    except StopIteration:
        return
    raise AssertionError("it asks for more")


def row(**changes: Any) -> list[tuple[Any, ...]]:
    return [tuple((ROW | changes).values())]


def test_what_has_not_changed_holds() -> None:
    look(CALLER, CONSENT, row())
    look(CALLER, CONSENT, row(credential_token=""))
    # A person signs in one session and acts in another, of another epoch.
    look(replace(CALLER, token_kind="Token"), CONSENT, row(token_epoch=9, credential_token=""))
    second = msgspec.structs.replace(CONSENT, second_factor=SecondFactor("cr-2", 2, EVIDENCE))
    look(CALLER, second, row(), [SECOND])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"token_state": "Inactive"}, "UNAUTHENTICATED"),
        ({"expires_at": NOW}, "UNAUTHENTICATED"),
        ({"user_state": "Inactive"}, "UNAUTHENTICATED"),
        ({"org_active": 0}, "UNAUTHENTICATED"),
        ({"token_epoch": 5}, "USER_ACTION_INVALID"),
        ({"user_epoch": 4}, "USER_ACTION_INVALID"),
        ({"org_epoch": 6}, "USER_ACTION_INVALID"),
        ({"credential_state": "Inactive"}, "USER_ACTION_INVALID"),
        ({"credential_epoch": 7}, "USER_ACTION_INVALID"),
        ({"credential_user": "us-2"}, "USER_ACTION_INVALID"),
        ({"credential_token": "to-2"}, "USER_ACTION_INVALID"),
        ({"held_until": NOW + 1}, "RECOVERY_HOLD"),
    ],
)
def test_threat_18_each_change_ends_the_consent(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(Stale) as stale:
        look(CALLER, CONSENT, row(**changes))
    assert stale.value.code == code


def test_who_is_gone_and_what_has_expired_consents_to_nothing() -> None:
    with pytest.raises(Stale):
        look(CALLER, CONSENT, [])
    with pytest.raises(Stale):
        look(CALLER, msgspec.structs.replace(CONSENT, expires_at=NOW // 1000), row())


@pytest.mark.parametrize(
    "found",
    [
        [],
        [("Inactive", 2, "us-1", "")],
        [("Active", 3, "us-1", "")],
        [("Active", 2, "us-2", "")],
        [("Active", 2, "us-1", "to-2")],
    ],
)
def test_threat_18_a_change_of_the_second_factor_ends_it_too(found: list[tuple[Any, ...]]) -> None:
    consent = msgspec.structs.replace(CONSENT, second_factor=SecondFactor("cr-2", 2, EVIDENCE))
    with pytest.raises(Stale):
        look(CALLER, consent, row(), found)


def test_rights_read_under_an_older_revision_are_read_again() -> None:
    with pytest.raises(PermissionsChanged):
        look(CALLER, CONSENT, row(revision=8))
