"""The invoice of a period as it stands, what an anomaly costs, and what each line is made of.

| figure | formula |
|---|---|
| flat | the plan's price of a month |
| overage | (units on the bill - included) * rate, rounded half up once; 0 below |
| effective | bill ÷ units on the bill |
| marginal | the overage rate: what the next unit over the included ones costs |
| worst | flat + (cap - included) * rate: the bill at the cap ($59, $299); none where the cap is off |

Units on the bill are the billable ones less what was credited, waived or corrected. Discounts and tax are Stripe's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Literal
from uuid import UUID

import psycopg

from billing import booking, plans, terms
from billing.periods import instant, milliseconds
from billing.price import overage_cents
from billing.terms import Terms
from schemas.errors import UnknownOrganization

Connection = psycopg.Connection[Any]
LineName = Literal["flat", "included", "overage", "adjusted", "not_billed"]

_EXACT = Context(prec=60)
_EFFECTIVE = Decimal("0.000001")


@dataclass(frozen=True)
class Units:
    """The units of a period, by what became of them. `adjusted`: credits, waivers, corrections, mostly negative."""

    billable: int
    adjusted: int
    capped: int
    free_withheld: int
    waived: int
    warmup: int
    rescored: int

    @property
    def net(self) -> int:
        """Units on the bill."""
        return self.billable + self.adjusted


@dataclass(frozen=True)
class Line:
    """A line of the invoice. `quantity` units at `unit_cents` each, `cents` together."""

    name: Literal["flat", "overage"]
    text: str
    quantity: int
    unit_cents: Decimal
    cents: int


@dataclass(frozen=True)
class Preview:
    """A period's invoice as it stands. Money in cents; `effective_cents` to six places, None without units on the bill."""

    organization_id: UUID
    period_start: datetime
    period_end: datetime
    subscription_id: str | None
    customer_id: str | None
    terms: Terms
    units: Units
    lines: tuple[Line, ...]

    @property
    def total_cents(self) -> int:
        """The bill."""
        return sum(line.cents for line in self.lines)

    @property
    def overage_cents(self) -> int:
        """The overage's line: what Stripe's upcoming invoice must say too."""
        return sum(line.cents for line in self.lines if line.name == "overage")

    @property
    def effective_cents(self) -> Decimal | None:
        """What an anomaly costs in the mean."""
        if self.units.net <= 0:
            return None
        mean = _EXACT.divide(Decimal(self.total_cents), Decimal(self.units.net))
        return mean.quantize(_EFFECTIVE, ROUND_HALF_UP)

    @property
    def marginal_cents(self) -> Decimal | None:
        """What the next unit over the included ones costs; None: nothing, it is not billed."""
        return self.terms.overage_cents

    @property
    def worst_cents(self) -> int | None:
        """The bill at the cap; None where the cap is off."""
        return worst_cents(self.terms)


def worst_cents(rates: Terms) -> int | None:
    """The most that a period can cost: its bill at the cap. None where the cap is off.

    >>> standard = terms.terms(plans.latest("standard"), terms.NOTHING, 0, 0)
    >>> worst_cents(standard)
    5900
    """
    return None if rates.cap is None else int(rates.monthly_cents) + overage_cents(rates, rates.cap)


def lines(rates: Terms, net: int) -> tuple[Line, ...]:
    """The lines of a period with `net` units on the bill."""
    flat = int(rates.monthly_cents)
    title = rates.plan.capitalize()
    made = [Line("flat", f"{title}, {rates.included:,} anomalies included", 1, rates.monthly_cents, flat)]
    if rates.overage_cents is not None:
        over = max(0, net - rates.included)
        text = f"Anomalies over the included {rates.included:,}"
        made.append(Line("overage", text, over, rates.overage_cents, overage_cents(rates, net)))
    return tuple(made)


def preview(connection: Connection, organization_id: UUID, at: datetime, *, now: datetime | None = None) -> Preview:
    """The invoice of the period that contains `at`, with the cap as it stands at `now` (else at `at`).

    `UnknownOrganization` if there is no such period. Reads only; runs as driftlock_jobs, driftlock_meter, or as the API or a
    reader inside tenant().
    """
    period = period_of(connection, organization_id, at)
    plan = plans.of_version(connection, period.plan, period.plan_version)
    agreed = terms.load(connection, [organization_id]).get(organization_id, terms.NOTHING)
    rates = terms.terms(plan, agreed, period.starts_at, milliseconds(now or at))
    units = units_of(connection, organization_id, period.starts_at)
    return Preview(
        organization_id,
        instant(period.starts_at),
        instant(period.ends_at),
        period.subscription_id,
        period.customer_id,
        rates,
        units,
        lines(rates, units.net),
    )


def period_of(connection: Connection, organization_id: UUID, at: datetime) -> booking.Period:
    """The period that contains `at`; `UnknownOrganization` if there is none."""
    known = booking.load(connection, [organization_id]).get(organization_id, [])
    ms = milliseconds(at)
    found = next((p for p in known if p.starts_at <= ms < p.ends_at), None)
    if found is None:
        raise UnknownOrganization(
            f"organization {organization_id} has no billing period at {at:%Y-%m-%d %H:%M}Z"
            + (": run `driftlock billing roll-periods`" if known and ms >= known[-1].ends_at else "")
        )
    return found


def units_of(connection: Connection, organization_id: UUID, period_start: int) -> Units:
    """The units of a period, from the rollup; `period_start` in ms."""
    row = connection.execute(
        "SELECT coalesce(sum(billable), 0)::bigint, coalesce(sum(adjusted), 0)::bigint, coalesce(sum(capped), 0)::bigint,"
        " coalesce(sum(free_withheld), 0)::bigint, coalesce(sum(waived), 0)::bigint, coalesce(sum(warmup), 0)::bigint,"
        " coalesce(sum(rescored), 0)::bigint FROM usage_counters WHERE organization_id = %s AND period_start = %s",
        (organization_id, instant(period_start)),
    ).fetchone()
    return Units(*row) if row else Units(0, 0, 0, 0, 0, 0, 0)


_OF_LINE: Mapping[LineName, str] = {
    "flat": "kind = 'usage' AND disposition = 'billable' AND part = 0",
    "included": "kind = 'usage' AND disposition = 'billable' AND part = 0",
    "overage": "kind = 'usage' AND disposition = 'billable' AND part = 1",
    "adjusted": "kind <> 'usage'",
    "not_billed": "kind = 'usage' AND disposition <> 'billable'",
}


@dataclass(frozen=True)
class Episode:
    """One entry of the ledger behind a line. `episode` is the anomaly's id; a credit says which it credits."""

    seq: int
    episode: UUID
    kind: str
    disposition: str
    units: int
    stream: str
    occurred_at: datetime
    hour: datetime
    late: bool
    reason: str


def episodes(
    connection: Connection, organization_id: UUID, period_start: datetime, line: LineName
) -> Iterator[Episode]:
    """The episodes behind a line of a period's invoice, in the ledger's order.

    flat and included: within the included units. overage: over them. Their sum, with adjusted, is the units on the bill.
    not_billed: capped, withheld, delivered free, in warm-up, scored again.
    """
    with connection.transaction(), connection.cursor(name="episodes") as cursor:
        cursor.itersize = 5_000
        cursor.execute(
            "SELECT seq, coalesce(corrects, usage_id), kind, disposition, units, stream, occurred_at, meter_hour, late,"  # noqa: S608
            f" reason FROM ledger WHERE organization_id = %s AND period_start = %s AND {_OF_LINE[line]} ORDER BY seq",
            (organization_id, period_start),
        )
        for row in cursor:
            yield Episode(*row)
