"""Which billing period a unit belongs to: the one that contains the start of its hour, made where the last is over."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing import outbox
from billing.outbox import Letter
from billing.periods import instant, milliseconds, period_at
from billing.plans import latest
from schemas.notices import BillingPlanChanged

Connection = psycopg.Connection[Any]
HOUR_MS = 3_600_000
GRACE_MS = 48 * HOUR_MS
"""Usage that arrives so long after its period's end still belongs to it."""


@dataclass(frozen=True, slots=True)
class Period:
    """A billing period, half open, in ms. `customer_id`: at Stripe; None where nothing is sent for it."""

    organization_id: UUID
    starts_at: int
    ends_at: int
    plan: str
    plan_version: int
    subscription_id: str | None
    customer_id: str | None
    anchor: datetime
    ended: bool
    next_plan: tuple[str, int] | None = None
    """A downgrade that waits for the period's end."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit is booked. `hour` in ms is the hour whose total at Stripe holds it."""

    period: Period
    hour: int
    late: bool


Periods = dict[UUID, list[Period]]


def load(connection: Connection, organization_ids: Iterable[UUID]) -> Periods:
    """The periods of some organizations, each in order of time."""
    found: Periods = defaultdict(list)
    for row in connection.execute(
        "SELECT p.organization_id, p.starts_at, p.ends_at, p.plan, p.plan_version, p.subscription_id, s.customer_id,"
        " coalesce(p.anchor, s.anchor, p.starts_at), s.ended_at IS NOT NULL, s.next_plan, s.next_plan_version FROM billing_periods p"
        " LEFT JOIN subscriptions s ON s.organization_id = p.organization_id AND s.id = p.subscription_id"
        " WHERE p.organization_id = ANY(%s) ORDER BY p.organization_id, p.starts_at",
        (sorted(set(organization_ids)),),
    ):
        organization_id, starts_at, ends_at, *rest, name, version = row
        next_plan = None if name is None else (name, version)
        period = Period(*(organization_id, milliseconds(starts_at), milliseconds(ends_at), *rest, next_plan))
        found[organization_id].append(period)
    return found


def place(
    connection: Connection, periods: Periods, organization_id: UUID, occurred_at: int, arrived_at: int
) -> Place | None:
    """Where a unit is booked; None if its organization has no period that early, or none at all.

    Times in ms. Past the period's end by 48 hours on arrival, it goes to the hour of its arrival, marked late.
    """
    hour = occurred_at - occurred_at % HOUR_MS
    period = _containing(connection, periods, organization_id, hour)
    if period is None:
        return None
    if arrived_at < period.ends_at + GRACE_MS:
        return Place(period, hour, late=False)
    hour = arrived_at - arrived_at % HOUR_MS
    period = _containing(connection, periods, organization_id, hour)
    return Place(period, hour, late=True) if period else None


def _containing(connection: Connection, periods: Periods, organization_id: UUID, hour: int) -> Period | None:
    known = periods.get(organization_id)
    if not known or hour < known[0].starts_at:
        return None
    extend(connection, known, hour)
    # Newest first: nearly every unit is of the last period.
    return next((p for p in reversed(known) if p.starts_at <= hour < p.ends_at), None)


def extend(connection: Connection, known: list[Period], at: int) -> None:
    """Make the periods that are missing behind the last of `known`, up to the one that contains `at` (ms)."""
    while at >= known[-1].ends_at:
        known.append(_next(connection, known[-1]))


def _next(connection: Connection, last: Period) -> Period:
    """The period behind the last one: of the same subscription, or of plan developer where that has ended.

    A downgrade that waited comes into force with it.
    """
    starts_at = instant(last.ends_at)
    if last.ended:
        anchor, plan, version = starts_at, "developer", latest("developer").version
        subscription_id = customer_id = None
    else:
        anchor = last.anchor
        plan, version = last.next_plan or (last.plan, last.plan_version)
        subscription_id, customer_id = last.subscription_id, last.customer_id
    ends_at = period_at(anchor, starts_at)[1]
    if plan != last.plan:
        notice = BillingPlanChanged(
            organization_id=last.organization_id, at=last.ends_at, was=last.plan, plan=plan, from_at=last.ends_at
        )
        outbox.put(connection, [Letter(f"plan/{last.ends_at}/{plan}", notice)])
    connection.execute(
        "INSERT INTO billing_periods (organization_id, starts_at, ends_at, plan, plan_version, subscription_id, anchor)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (last.organization_id, starts_at, ends_at, plan, version, subscription_id, anchor),
    )
    return Period(
        last.organization_id,
        last.ends_at,
        milliseconds(ends_at),
        plan,
        version,
        subscription_id,
        customer_id,
        anchor,
        ended=False,
        next_plan=None if last.ended else last.next_plan,
    )
