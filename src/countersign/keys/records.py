"""Signature requests as policies see them: the one that is made, and those that were made before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from countersign.keys import keys, store
from countersign.keys.types import Requester
from countersign.policies import History, PastActivity, Recorded, WalletActivity
from countersign.storage import Row, Transaction
from countersign.world import encode_id

#: How much earlier (ms) than its request the id of a signature may have been made.
_ID_BEFORE = 3_600_000

_body = msgspec.json.Decoder(dict[str, Any]).decode
_requester = msgspec.json.Decoder(Requester).decode


def activity(key_id: str, delegated: bool, body: Mapping[str, Any], initiator_id: str, at: int) -> WalletActivity:
    """A signature that is asked of a key. ``delegated``: the key belongs to an end user. ``at``: ms since the epoch."""
    return WalletActivity("signature", (), None, body, initiator_id, at, key_id, delegated=delegated)


def history(org_id: str) -> History:
    """Earlier signatures of a key, as velocities count them: none of them has a value that could be read.

    So they are only counted, once for each window.
    """

    def read(key_id: str, windows: Sequence[int]) -> Transaction[Sequence[PastActivity]]:
        past: list[PastActivity] = []
        shorter = 0
        for since in reversed(windows):
            number = int((yield store.COUNT_SIGNATURES_SINCE, (org_id, key_id, _first_id(since), since))[0][0])
            if number > shorter:
                past.append(PastActivity(since + 1, "Signed", {}, number=number - shorter))
            shorter = number
        return past

    return read


def _first_id(since: int) -> str:
    return encode_id("sig", max(since - _ID_BEFORE, 0) << 82)


class SignatureRecords:
    """All signature requests of an organisation. Whether a key is delegated is told as it is now."""

    def find(self, org_id: str, entity_id: str) -> Transaction[Recorded | None]:
        """One request."""
        rows = yield store.RECORDED_SIGNATURE, (org_id, entity_id)
        return _recorded(rows[0]) if rows else None

    def page(self, org_id: str, after: str, limit: int) -> Transaction[Sequence[Recorded]]:
        """Some of them, oldest first."""
        return [_recorded(row) for row in (yield store.RECORDED_SIGNATURES, (org_id, after, limit))]

    def first_id(self, since: int) -> str:
        """An id before all those of requests since then."""
        return _first_id(since)

    def count(self, org_id: str, after: str) -> Transaction[int]:
        """How many there are behind it."""
        return int((yield store.COUNT_SIGNATURES, (org_id, after))[0][0])

    def history_of(self, org_id: str, recorded: Recorded) -> History:
        """What came before it; what was refused later was still waiting then."""
        at = recorded.activity.requested_at

        def read(key_id: str, windows: Sequence[int]) -> Transaction[Sequence[PastActivity]]:
            since = windows[0]
            arguments = (org_id, key_id, _first_id(since), since, at, at, recorded.entity_id)
            rows = yield store.SIGNATURES_BETWEEN, arguments
            past = []
            for requested_at, status, resolved_at in rows:
                refused_later = status == "Rejected" and resolved_at is not None and resolved_at > at
                past.append(PastActivity(requested_at, "Pending" if refused_later else status, {}))
            return past

        return read

    def describe(
        self, org_id: str, key_id: str, body: Mapping[str, Any], initiator_id: str, at: int
    ) -> Transaction[WalletActivity | None]:
        """What asking this key would be."""
        key = yield from keys.stored(org_id, key_id)
        return None if key is None else activity(key_id, key.delegated_to is not None, body, initiator_id, at)

    def history(self, org_id: str) -> History:
        """What is recorded now."""
        return history(org_id)


def _recorded(row: Row) -> Recorded:
    signature_id, key_id, requester, body, status, requested_at, delegated_to = row
    asked = activity(key_id, delegated_to is not None, _body(body), _requester(requester).user_id, requested_at)
    return Recorded(signature_id, status, asked)
