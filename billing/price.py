"""What a period costs: a flat price plus each unit over the included ones. Decimals of cents throughout."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact
from typing import Protocol

_EXACT = Context(prec=60, traps=[Inexact])
"""Digits for any number of 64 bits at a rate of 18 digits; what would not be exact is an error, rounding to cents apart."""

_ROUNDS = Context(prec=60)


class Rates(Protocol):
    """What a price needs of a plan, or of a tenant's terms. Money in cents; no overage rate: no unit over is billed."""

    @property
    def monthly_cents(self) -> Decimal:
        """The flat price of a period."""

    @property
    def included(self) -> int:
        """Units that it contains."""

    @property
    def overage_cents(self) -> Decimal | None:
        """The price of each unit over them."""

    @property
    def cap(self) -> int | None:
        """Units from which on none is billed; None: all are."""


@dataclass(frozen=True)
class Price:
    """A period's price in whole cents. `units` were used, `billable` of them count, `overage_units` cost extra."""

    units: int
    billable: int
    overage_units: int
    flat_cents: int
    overage_cents: int

    @property
    def total_cents(self) -> int:
        """What the invoice says."""
        return self.flat_cents + self.overage_cents


def billable_units(rates: Rates, units: int, *, cap: bool = True) -> int:
    """Of `units` in a period those that may be billed: up to the cap; without an overage rate none over the included."""
    if rates.overage_cents is None:
        return min(units, rates.included)
    return min(units, rates.cap) if cap and rates.cap is not None else units


def overage_cents(rates: Rates, billable: int) -> int:
    """The price of the units over the included ones, in whole cents: rounded half up once, never unit by unit."""
    if rates.overage_cents is None:
        return 0
    cents = _EXACT.multiply(rates.overage_cents, Decimal(max(0, billable - rates.included)))
    return int(cents.quantize(Decimal(1), ROUND_HALF_UP, _ROUNDS))


def price(rates: Rates, units: int, *, cap: bool = True) -> Price:
    """The price of a period with `units` units.

    >>> from billing.plans import latest
    >>> [price(latest("standard"), n).total_cents for n in (50_001, 55_000, 60_000, 75_000)]
    [4900, 5400, 5900, 5900]
    """
    if units < 0:
        raise ValueError(f"units must be 0 or more, not {units}")
    billable = billable_units(rates, units, cap=cap)
    over = max(0, billable - rates.included)
    return Price(units, billable, over, int(rates.monthly_cents), overage_cents(rates, billable))


def reached(used: int, included: int, percent: int) -> bool:
    """Whether `used` is at least `percent` of `included`, in integers."""
    return used * 100 >= included * percent
