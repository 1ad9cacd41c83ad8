"""One stopped server and its backup, for the tests that only read them."""

from __future__ import annotations

import pytest

from tests.backup.builders import Saved, age_key, backed_up, make_keys
from tests.support.server import Sandbox


@pytest.fixture(scope="package")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    place = tmp_path_factory.mktemp("saved")
    identity, recipient = age_key(place)
    recovery, named = age_key(place, "recovery")
    with Sandbox(place / "old", None, {"COUNTERSIGN_RECOVERY_RECIPIENTS": named}) as old:
        make_keys(old)
    backed_up(old, place / "b.age", recipient)
    return Saved(old.directory, place / "b.age", identity, recipient, recovery)
