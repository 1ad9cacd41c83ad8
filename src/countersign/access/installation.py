"""What is written down about the installation, once.

By ``init``: id, profile, key store, and how long break-glass waits. By a ceremony: the digest of its transcript. Where
grants come from a process of its own: the id of that authoriser, which another one may replace (``keystores``).
"""

from __future__ import annotations

from collections.abc import Mapping

from countersign.access import store
from countersign.storage import Transaction

#: Names of what is written down.
NAMES = ("installation_id", "profile", "store_id", "break_glass_hours", "ceremony_transcript", "authoriser_id")


def read_installation() -> Transaction[dict[str, str]]:
    """The values by name; empty before ``init``."""
    found: dict[str, str] = {}
    for name in NAMES:
        rows = yield store.GET_INSTALLATION, (name,)
        if rows:
            found[name] = rows[0][0]
    return found


def write_installation(values: Mapping[str, str]) -> Transaction[bool]:
    """Write the values down for good; false when one of them is there already, also written at the same moment."""
    for name, value in values.items():
        if not (yield store.PUT_INSTALLATION, (name, value)):
            return False
    return True
