"""The price of an asset out of what the sources answered: the first fresh answer, unless another one contradicts it.

Sources stand in the operator's order. An unknown price stays unknown: there is no last resort to an old price or to
zero, and rules that need the price trigger. Prices belong to an exact (network, asset), never to a symbol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

from countersign.encoding.counted import counted

#: Arithmetic that is exact or fails: more digits than any value needs, and no rounding allowed.
EXACT = Context(prec=2000, Emax=10_000, Emin=-10_000, traps=[Inexact, InvalidOperation, Overflow])
#: For numbers that are only shown.
DISPLAY = Context(prec=2000, Emax=10_000, Emin=-10_000)

#: A price has so many digits at most, and is no larger and no smaller than a number that has: where it is shown, one of
#: 1e5000 would have thousands.
_MOST_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Quote:
    """What one source answered: the price of one whole unit, and when it was true (milliseconds; None: always).

    ``price`` is None where the source has no price for the asset, or did not answer; then ``fault`` may say why.
    """

    source: str
    price: Decimal | None
    at: int | None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class PriceRules:
    """``max_age_ms``: older answers are no answers. ``max_deviation``: of two sources, as a part of the lower price.

    ``cross_check``: compare the first two fresh answers; a price that only one source has is taken as it is.
    """

    max_age_ms: int = 600_000
    max_deviation: Decimal = Decimal("0.05")
    cross_check: bool = True


@dataclass(frozen=True, slots=True)
class Priced:
    """The price to use, and where it came from."""

    price: Decimal
    source: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    """There is no price to use; ``reason`` says why."""

    reason: str


def choose(quotes: Sequence[Quote], rules: PriceRules, now: int) -> Priced | Unpriced:
    """The price out of the answers, which stand in the order of the sources; ``now`` in milliseconds."""
    answered = [quote for quote in quotes if quote.price is not None]
    if not answered:
        return Unpriced(
            "no source has a price for it" + _each(f"{one.source}: {one.fault or 'none'}" for one in quotes)
        )
    fresh = [quote for quote in answered if _fresh(quote, rules, now)]
    if not fresh:
        ages = _each(f"{one.source}: {_age(one, now)}" for one in answered)
        return Unpriced(f"no price is younger than {counted(rules.max_age_ms // 1000, 'second')}{ages}")
    usable = [(quote.price, quote.source) for quote in fresh if quote.price is not None and _sane(quote.price)]
    if len(usable) != len(fresh):
        return Unpriced("a source gave a price that is no positive number")
    price, source = usable[0]
    if rules.cross_check and len(usable) > 1:
        other, other_source = usable[1]
        lower, higher = min(price, other), max(price, other)
        try:
            apart = EXACT.subtract(higher, lower) > EXACT.multiply(lower, rules.max_deviation)
        except (Inexact, InvalidOperation, Overflow):
            apart = True
        if apart:
            return Unpriced(f"{source} and {other_source} differ by more than {rules.max_deviation:%}")
    return Priced(price, source)


def value(amount: int, decimals: int, price: Decimal) -> Decimal | None:
    """``amount / 10^decimals * price``, exactly; nothing where that has more digits than any sane value."""
    if not 0 <= decimals <= 255 or not price.is_finite():
        return None
    try:
        return EXACT.scaleb(EXACT.multiply(Decimal(amount), price), -decimals)
    except (Inexact, InvalidOperation, Overflow):
        return None


def total(values: Sequence[Decimal]) -> Decimal | None:
    """The sum, exactly; nothing where that has more digits than any sane value."""
    result = Decimal(0)
    try:
        for one in values:
            result = EXACT.add(result, one)
    except (Inexact, InvalidOperation, Overflow):
        return None
    return result


def _fresh(quote: Quote, rules: PriceRules, now: int) -> bool:
    # A price from the future is one from a wrong clock; it does not get any younger by that.
    return quote.at is None or abs(now - quote.at) <= rules.max_age_ms


def _age(quote: Quote, now: int) -> str:
    seconds = (now - (now if quote.at is None else quote.at)) // 1000
    return f"{counted(abs(seconds), 'second')} {'old' if seconds >= 0 else 'ahead'}"


def _each(said: Iterable[str]) -> str:
    """What each source said, behind what follows from it."""
    text = "; ".join(said)
    return f" ({text})" if text else ""


def _sane(price: Decimal) -> bool:
    digits = len(price.as_tuple().digits)
    return price.is_finite() and price > 0 and digits <= _MOST_DIGITS and abs(price.adjusted()) <= _MOST_DIGITS
