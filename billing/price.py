"""What a period costs: a flat price plus each unit over the included ones. Decimals of cents throughout."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from billing.plans import Plan


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


def billable_units(plan: Plan, units: int, *, cap: bool = True) -> int:
    """Of `units` in a period those that may be billed: up to the cap; without an overage rate none over the included."""
    if plan.overage_cents is None:
        return min(units, plan.included)
    return min(units, plan.cap) if cap else units


def price(plan: Plan, units: int, *, cap: bool = True) -> Price:
    """The price of a period with `units` units.

    The overage is rounded half up once, on the invoice's line, never unit by unit.

    >>> from billing.plans import latest
    >>> [price(latest("standard"), n).total_cents for n in (50_001, 55_000, 60_000, 75_000)]
    [4900, 5400, 5900, 5900]
    """
    if units < 0:
        raise ValueError(f"units must be 0 or more, not {units}")
    billable = billable_units(plan, units, cap=cap)
    over = max(0, billable - plan.included)
    cents = (plan.overage_cents or Decimal(0)) * over
    return Price(units, billable, over, int(plan.monthly_cents), int(cents.quantize(Decimal(1), ROUND_HALF_UP)))


def reached(used: int, included: int, percent: int) -> bool:
    """Whether `used` is at least `percent` of `included`, in integers."""
    return used * 100 >= included * percent
