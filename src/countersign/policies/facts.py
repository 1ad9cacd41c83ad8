"""What evaluation has to be told beside the activity: prices, decimals, history, screening results.

All of it is values; whoever evaluates loads them first (``needed_facts`` says which).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import msgspec

from countersign.policies.assets import Asset
from countersign.policies.prices import PriceRules, Quote
from countersign.policies.types import AlertLevel, Currency

Provider = Literal["Chainalysis", "GlobalLedger", "Notabene"]
Unscreened = Literal["unscreenable", "unsupportedNetwork", "unsupportedAsset", "failure"]


# A struct, because a velocity makes one for each activity of its window.
class PastActivity(msgspec.Struct, frozen=True):
    """An earlier activity of a wallet.

    ``at``: when it was requested, milliseconds since the epoch. ``values``: what it was worth then, by currency; a
    currency that is missing is one in which it could not be valued. ``uncertain``: it failed, and nobody knows whether
    it took place on chain. ``number``: for how many of the same values and status it stands, that no window which is
    asked about tells apart.
    """

    at: int
    status: str
    values: Mapping[Currency, Decimal]
    uncertain: bool = False
    number: int = 1

    @property
    def counts(self) -> bool:
        """Whether a velocity counts it: all that happened, may have happened or may still happen."""
        if self.status == "Failed":
            return self.uncertain
        return self.status != "Rejected"


@dataclass(frozen=True, slots=True)
class ScreeningAlert:
    """An alert of the provider; ``category_id`` 0 where it named none."""

    level: AlertLevel
    category_id: int = 0


@dataclass(frozen=True, slots=True)
class Screening:
    """What a provider said of a transfer.

    ``missing``: why there is no result, if there is none. ``exposures``, ``addresses``: category numbers of direct
    exposures and of what is known of the recipient's address. ``risk_score``: 0 to 100. ``travel_rule``: how the
    message to the other side ended; it clears only when it was ``Accepted``, or delivered and left unanswered for the
    time that the policy allows (``Unanswered``).
    """

    missing: Unscreened | None = None
    alerts: tuple[ScreeningAlert, ...] = ()
    exposures: tuple[int, ...] = ()
    addresses: tuple[int, ...] = ()
    risk_score: Decimal | None = None
    travel_rule: Literal["Accepted", "Unanswered", "Rejected", "TimedOut", "NoMessage"] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """``history``: by wallet id (or key id, for a key without wallets), what was recorded before the activity."""

    quotes: Mapping[tuple[Asset, Currency], Sequence[Quote]] = field(default_factory=dict)
    decimals: Mapping[Asset, int] = field(default_factory=dict)
    history: Mapping[str, Sequence[PastActivity]] = field(default_factory=dict)
    screenings: Mapping[Provider, Screening] = field(default_factory=dict)
    price_rules: PriceRules = field(default_factory=PriceRules)


@dataclass(frozen=True, slots=True)
class NeededFacts:
    """What to load: quotes and decimals of assets, screenings, and history: of whom, and for windows that began when.

    Windows are open at their beginning, in milliseconds since the epoch; the longest, which includes the others, first.
    """

    quotes: frozenset[tuple[Asset, Currency]] = frozenset()
    decimals: frozenset[Asset] = frozenset()
    history: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    screenings: frozenset[Provider] = frozenset()
