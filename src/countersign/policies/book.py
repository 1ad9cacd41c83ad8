"""The policies of each organisation, read once for each revision of them."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from countersign.policies import store
from countersign.policies.policyset import PolicySet
from countersign.policies.types import ActivityKind, Policy
from countersign.storage import Transaction
from countersign.world import World

_decode = msgspec.json.Decoder(Policy).decode

ByKind = dict[ActivityKind, PolicySet]
_NONE = PolicySet(())


class Book:
    """Policies in memory, by revision.

    A revision is a random id that is never used twice, so what is kept under it is never out of date, in whatever
    process or transaction it was read: at worst it is newer than the revision says.
    """

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._known: OrderedDict[str, ByKind] = OrderedDict()

    def of(self, org_id: str, revision: str, kind: ActivityKind) -> Transaction[PolicySet]:
        """The active policies about this kind of activity; nothing is read for an organisation that has had none."""
        if not revision:
            return _NONE
        known = self._known.get(revision)
        if known is None:
            listed: dict[ActivityKind, list[Policy]] = {}
            for row in (yield store.LIST_ACTIVE, (org_id,)):
                policy = _decode(row[0])
                listed.setdefault(policy.activity_kind, []).append(policy)
            known = {of: PolicySet(policies) for of, policies in listed.items()}
            self._known[revision] = known
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return known.get(kind, _NONE)


BOOK = Book()


def read_revision(org_id: str) -> Transaction[str]:
    """The revision that the organisation's policies have now."""
    return str((yield store.READ_REVISION, (org_id,))[0][0])


def renew_revision(org_id: str, world: World) -> Transaction[None]:
    """The organisation's policies have changed: belongs into the transaction that changed them."""
    yield store.SET_REVISION, (world.new_id("plcr"), org_id)
