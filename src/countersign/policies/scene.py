"""One activity with the facts about it, and what several rules want to know of it, worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from countersign.encoding.counted import counted
from countersign.policies import prices
from countersign.policies.activity import Activity, Reading, Undeterminable, ValueTransfer, WalletActivity, read
from countersign.policies.facts import Facts, PastActivity
from countersign.policies.types import Currency

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Unvalued:
    """The activity has no known value; ``reason`` says why."""

    reason: str


class Scene:
    """What rules look at. Only a cache: the answers depend on activity and facts alone."""

    __slots__ = ("_reading", "_spent", "_values", "_windows", "activity", "facts")

    def __init__(self, activity: Activity, facts: Facts) -> None:
        self.activity = activity
        self.facts = facts
        self._reading: Reading | None = None
        self._values: dict[Currency, Decimal | Unvalued] = {}
        self._windows: dict[tuple[str, int], list[PastActivity] | None] = {}
        self._spent: dict[tuple[str, int, Currency], Decimal | Unvalued] = {}

    @property
    def reading(self) -> Reading:
        """Asset, amount and recipient, if they can be read."""
        if self._reading is None:
            if isinstance(self.activity, WalletActivity):
                self._reading = read(self.activity)
            else:
                self._reading = Undeterminable("the activity is no transfer")
        return self._reading

    def value(self, currency: Currency) -> Decimal | Unvalued:
        """What the activity is worth, exactly; network fees are no part of it."""
        found = self._values.get(currency)
        if found is None:
            found = self._values[currency] = self._value(currency)
        return found

    def _value(self, currency: Currency) -> Decimal | Unvalued:
        reading = self.reading
        if isinstance(reading, Undeterminable):
            return Unvalued(reading.reason)
        decimals = self.facts.decimals.get(reading.asset)
        if decimals is None:
            return Unvalued(f"the decimals of {reading.asset} are not known")
        quotes = self.facts.quotes.get((reading.asset, currency), ())
        price = prices.choose(quotes, self.facts.price_rules, self.activity.requested_at)
        if isinstance(price, prices.Unpriced):
            return Unvalued(f"the price of {reading.asset} in {currency} is not known: {price.reason}")
        value = prices.value(reading.amount, decimals, price.price)
        return Unvalued("the value has too many digits") if value is None else value

    def window(self, subject: str, minutes: int) -> list[PastActivity] | None:
        """The earlier activities of a wallet that a velocity counts; None when its history is not known.

        The window is open on its old side: what is exactly ``minutes`` old is out. It has no other side, because
        history holds what was recorded before: a later time there comes from a server whose clock runs ahead, and
        leaving that out would let two servers spend one limit.
        """
        key = (subject, minutes)
        if key not in self._windows:
            past = self.facts.history.get(subject)
            since = self.activity.requested_at - minutes * MINUTE_MS
            self._windows[key] = None if past is None else [one for one in past if one.at > since and one.counts]
        return self._windows[key]

    def spent(self, subject: str, minutes: int, currency: Currency) -> Decimal | Unvalued:
        """What the activities in a wallet's window were worth, together with this one, exactly."""
        key = (subject, minutes, currency)
        found = self._spent.get(key)
        if found is None:
            found = self._spent[key] = self._sum(subject, minutes, currency)
        return found

    def _sum(self, subject: str, minutes: int, currency: Currency) -> Decimal | Unvalued:
        own = self.value(currency)
        if isinstance(own, Unvalued):
            return Unvalued(f"the value is not known: {own.reason}")
        past = self.window(subject, minutes)
        if past is None:
            return Unvalued(f"the history of {subject} is not known")
        values = [own]
        for one in past:
            value = one.values.get(currency)
            if value is None:
                return Unvalued(f"an activity of {subject} in the last {counted(minutes, 'minute')} has no known value")
            values += [value] * one.number
        total = prices.total(values)
        return Unvalued("the sum has too many digits") if total is None else total


def value_of(activity: Activity, facts: Facts, currency: Currency) -> Decimal | None:
    """What to record as the value of an activity, for velocities that look back at it; None: it has no known value."""
    value = Scene(activity, facts).value(currency)
    return None if isinstance(value, Unvalued) else value


__all__ = ["MINUTE_MS", "Reading", "Scene", "Unvalued", "ValueTransfer", "value_of"]
