"""Subscriptions as Stripe shows them now → ours: the row, the plan, the periods that follow from it.

| status at Stripe | plan and periods |
|---|---|
| incomplete, incomplete_expired | none: it never began |
| trialing, active, past_due, unpaid, paused | its plan, in Stripe's period: metering stops for none of them |
| canceled | its plan until it ended, from then on the free one |
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from billing import announce, booking, changes, ledger, stripe_prices
from billing.alarms import clear
from billing.customers import LIVE, CustomerConflict, Link
from billing.invoices import at
from billing.periods import milliseconds
from billing.plans import of_version
from billing.stripe_gateway import Connection as Stripe
from billing.stripe_objects import Subscription
from billing.stripe_orders import next_prices
from schemas.errors import PlanChanged
from schemas.notices import BillingTrialEnding

Connection = psycopg.Connection[Any]

NEVER_BEGAN = frozenset({"incomplete", "incomplete_expired"})
ANNOUNCED = timedelta(days=3)
"""So long before its end a trial's end is told."""


@dataclass(frozen=True)
class Plans:
    """The plan version of a subscription, and the one that follows at its period's end."""

    now: tuple[str, int]
    then: tuple[str, int] | None


def plans_of(connection: Connection, stripe: Stripe, of: Subscription, now: datetime) -> Plans:
    """Look its prices up, present and planned; `UnknownPrice` if one is of no plan."""
    present = stripe_prices.plan_of(connection, of.prices)
    coming = next_prices(stripe, of, now)
    following = stripe_prices.plan_of(connection, coming) if coming else None
    return Plans(present, None if following == present else following)


def keep(connection: Connection, link: Link, of: Subscription, plans: Plans, now: datetime) -> None:
    """Store a subscription as it was just fetched, under the lock of the ledger's head, with the periods of its plan.

    `CustomerConflict` where its organization has another live subscription, or its customer was replaced: what is used
    can't be billed twice.
    """
    organization_id = link.organization_id
    ledger.lock(connection, [organization_id])
    alive = of.status not in NEVER_BEGAN and of.status != "canceled"
    if alive and link.frozen:
        raise CustomerConflict(
            f"customer {of.customer} was replaced by another of organization {organization_id}: {of.id} is refused", ""
        )
    if alive:
        other = connection.execute(
            f"SELECT id FROM subscriptions WHERE organization_id = %s AND id <> %s AND {LIVE} LIMIT 1",  # noqa: S608
            (organization_id, of.id),
        ).fetchone()
        if other:
            raise CustomerConflict(
                f"organization {organization_id} has subscription {other[0]}: {of.id} is refused", other[0]
            )
    counts = of.status not in NEVER_BEGAN and not link.frozen
    began = _begins_at(connection, organization_id, of)
    if counts:
        # Before the row changes: periods up to now follow the anchor that it had.
        known = booking.load(connection, [organization_id]).get(organization_id, [])
        if known and known[0].starts_at <= milliseconds(began):
            booking.extend(connection, known, milliseconds(began))
    _store(connection, organization_id, of, plans, now)
    clear(connection, "unknown_price", of.id, now)
    if counts:
        _follow(connection, organization_id, of, plans.now, began, now)
    if alive:
        announce_trial_end(connection, organization_id, of.id, plans.now[0], at(of.trial_end), of.status, now)


def _begins_at(connection: Connection, organization_id: UUID, of: Subscription) -> datetime:
    """The start of the period that is to be there: the present one, or its first where it was never seen before.

    An anchor after the start says that an upgrade was never seen: what was before it stays with the plan before.
    """
    known = connection.execute(
        "SELECT 1 FROM billing_periods WHERE organization_id = %s AND subscription_id = %s LIMIT 1",
        (organization_id, of.id),
    ).fetchone()
    in_trial = of.period_start < of.anchor
    if known or in_trial:
        return _at(of.period_start)
    return _at(max(of.started_at, of.anchor))


def _follow(
    connection: Connection,
    organization_id: UUID,
    of: Subscription,
    plan: tuple[str, int],
    began: datetime,
    now: datetime,
) -> None:
    """Make our periods those of Stripe, from `began` on. `PlanChanged` where usage of a later period stands against it."""
    _drop_unused(connection, organization_id, began, of, plan)
    changes.start_period(
        connection,
        organization_id,
        of_version(connection, *plan),
        at=began,
        anchor=min(_at(of.anchor), began),
        subscription_id=of.id,
        by=announce.ACTOR,
        now=now,
    )
    if of.period_start < of.anchor:  # a trial ends where the first month begins, not a month after its own start
        connection.execute(
            "UPDATE billing_periods SET ends_at = %s WHERE organization_id = %s AND starts_at = %s AND subscription_id = %s",
            (_at(of.period_end), organization_id, began, of.id),
        )
    ended = at(of.ended_at)
    if ended is not None:
        changes.end_subscription(connection, organization_id, of.id, at=ended, by=announce.ACTOR, now=now)
        return
    shown = connection.execute(
        "SELECT starts_at, ends_at FROM billing_periods WHERE organization_id = %s AND starts_at <= %s AND ends_at > %s",
        (organization_id, _at(of.period_start), _at(of.period_start)),
    ).fetchone()
    if began == _at(of.period_start) and shown != (began, _at(of.period_end)):
        raise PlanChanged(f"subscription {of.id}: Stripe's period is {began} to {_at(of.period_end)}, ours {shown}")


def _drop_unused(
    connection: Connection, organization_id: UUID, began: datetime, of: Subscription, plan: tuple[str, int]
) -> None:
    """Where a period is to begin at `began`: remove the later ones that the calendar made of the plan before meanwhile.

    As far as nothing was used in them: the calendar makes them again. Where the period is there already nothing is removed:
    what follows it may be of the subscription after this one.
    """
    known = booking.load(connection, [organization_id]).get(organization_id, [])
    present = next((p for p in known if p.starts_at <= milliseconds(began) < p.ends_at), None)
    wanted = (*plan, of.id, min(_at(of.anchor), began))
    was = None if present is None else present.subscription_id
    if present is not None and (present.plan, present.plan_version, was, present.anchor) == wanted:
        return
    connection.execute(
        "DELETE FROM billing_periods p WHERE organization_id = %s AND starts_at > %s"
        " AND subscription_id IS NOT DISTINCT FROM %s AND NOT EXISTS (SELECT FROM usage_counters u"
        " WHERE u.organization_id = p.organization_id AND u.period_start >= p.starts_at)",
        (organization_id, began, was),
    )


def _at(seconds: int) -> datetime:
    found = at(seconds)
    if found is None:
        raise AssertionError("a time that is never missing")
    return found


def _store(connection: Connection, organization_id: UUID, of: Subscription, plans: Plans, now: datetime) -> None:
    then = plans.then or (None, None)
    connection.execute(
        "INSERT INTO subscriptions (id, organization_id, customer_id, livemode, plan, plan_version, status, anchor,"
        " ended_at, updated_at, started_at, period_start, period_end, cancel_at_period_end, trial_end, next_plan,"
        " next_plan_version) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET plan = excluded.plan, plan_version = excluded.plan_version,"
        " status = excluded.status, anchor = excluded.anchor, ended_at = excluded.ended_at,"
        " updated_at = excluded.updated_at, started_at = excluded.started_at, period_start = excluded.period_start,"
        " period_end = excluded.period_end, cancel_at_period_end = excluded.cancel_at_period_end,"
        " trial_end = excluded.trial_end, next_plan = excluded.next_plan, next_plan_version = excluded.next_plan_version",
        (
            of.id,
            organization_id,
            of.customer,
            of.livemode,
            *plans.now,
            of.status,
            _at(of.anchor),
            at(of.ended_at),
            now,
            at(of.started_at or None),
            _at(of.period_start),
            _at(of.period_end),
            of.cancel_at_period_end,
            at(of.trial_end),
            *then,
        ),
    )


def announce_trial_end(
    connection: Connection,
    organization_id: UUID,
    subscription_id: str,
    plan: str,
    ends_at: datetime | None,
    status: str,
    now: datetime,
) -> None:
    """Tell once, three days before, that a trial ends: from then on the plan costs its price."""
    if status != "trialing" or ends_at is None or not ends_at - ANNOUNCED <= now < ends_at:
        return
    notice = BillingTrialEnding(
        organization_id=organization_id, at=milliseconds(now), plan=plan, ends_at=milliseconds(ends_at)
    )
    announce.tell(connection, f"trial/{subscription_id}/{milliseconds(ends_at)}", notice)


def announce_trial_ends(connection: Connection, now: datetime) -> None:
    """The same for every subscription, by the clock: a webhook may be missing."""
    for organization_id, found, plan, ends_at in connection.execute(
        "SELECT organization_id, id, plan, trial_end FROM subscriptions WHERE status = 'trialing'"
        " AND trial_end > %s AND trial_end <= %s ORDER BY id",
        (now, now + ANNOUNCED),
    ).fetchall():
        announce_trial_end(connection, organization_id, found, plan, ends_at, "trialing", now)
