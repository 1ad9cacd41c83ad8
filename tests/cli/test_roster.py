"""What ``keystore roster`` makes of the rosters of several signers."""

from __future__ import annotations

from countersign.cli.roster import Shown, differences
from countersign.keystores.roster import Listed


def shown(store_id: str, *, begun: bool = True, **states: str) -> Shown:
    listed = [
        Listed("or-1", "us-1", uuid, "Key", "SHA256:a", "consent", "", state, 0) for uuid, state in states.items()
    ]
    return Shown({"storeId": store_id, "installationId": "in-1" if begun else ""}, listed)


def test_a_credential_that_counts_in_one_store_only_is_named() -> None:
    one = shown("ks-1", a="Active", b="Archived", c="Active", d="Pending")
    other = shown("ks-2", a="Active", b="Active", d="Inactive")
    assert differences(one, other) == [
        "b is Archived in key store ks-1, Active in ks-2",
        "c is Active in key store ks-1, absent in ks-2",
    ]


def test_equal_rosters_and_one_that_has_not_begun_do_not_differ() -> None:
    one = shown("ks-1", a="Active", b="Pending")
    assert differences(one, shown("ks-2", b="absent", a="Active")) == []
    assert differences(one, shown("ks-2", begun=False)) == []
