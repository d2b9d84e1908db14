"""How periods begin and end: a new plan now, a downgrade that waits, the end of a subscription, and the calendar.

A unit belongs to the period that contains the start of its hour, so the hour in which a plan changes belongs, whole, to the
plan before. Where the change becomes known late, billable units of later hours that were booked to the plan before are
moved: a correction takes them there, another puts them here. Units that were capped or withheld stay so.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import psycopg

from billing import actions, booking, ledger, outbox, rollup
from billing.ledger import Entry
from billing.outbox import Letter
from billing.periods import HOUR, hour_of, instant, milliseconds, period_at
from billing.plans import Plan, latest
from schemas.errors import PlanChanged, UnknownOrganization
from schemas.notices import BillingPlanChanged

Connection = psycopg.Connection[Any]

_MOVES = UUID("6f1f3e0e-8f0b-5d63-9e3b-2d4d53a5a202")


def start_period(
    connection: Connection,
    organization_id: UUID,
    plan: Plan,
    *,
    at: datetime,
    anchor: datetime,
    subscription_id: str | None,
    by: str,
    now: datetime,
) -> bool:
    """End the present period at `at` and start one of `plan`, whose later ones begin at the monthly returns of `anchor`.

    An upgrade, a first subscription, the end of one, a moved anchor. False if the period that contains `at` is already that one. `PlanChanged`
    if a period starts later than `at`: what was used since would change its plan. Locks the organization's books; runs as
    driftlock_webhook or the owner of the schema.
    """
    with connection.transaction():
        ledger.lock(connection, [organization_id])
        known = booking.load(connection, [organization_id]).get(organization_id, [])
        at_ms = milliseconds(at)
        present = next((p for p in known if p.starts_at <= at_ms < p.ends_at), None)
        if present is None and known:
            # The calendar has not been rolled: the periods between are made as the sink would have made them.
            booking.extend(connection, known, at_ms)
            present = next((p for p in known if p.starts_at <= at_ms < p.ends_at), None)
        if present is not None and _is(present, plan, subscription_id, anchor):
            return False
        if known and known[-1].starts_at > at_ms:
            raise PlanChanged(
                f"organization {organization_id} has a period that starts at {instant(known[-1].starts_at)}, after {at}"
            )
        _write(connection, organization_id, plan, present, at, anchor, subscription_id)
        if present is not None:
            _announce(connection, organization_id, present.plan, plan.plan, at, now)
            _move(connection, organization_id, present, at, now)
        actions.record(
            connection,
            organization_id,
            actor=by,
            action="period.start",
            before=None if present is None else _state(present.plan, present.plan_version, present.subscription_id),
            after={**_state(plan.plan, plan.version, subscription_id), "starts_at": at_ms},
            at=now,
        )
    return True


def _is(period: booking.Period, plan: Plan, subscription_id: str | None, anchor: datetime) -> bool:
    here = (period.plan, period.plan_version, period.subscription_id, period.anchor)
    return here == (plan.plan, plan.version, subscription_id, anchor)


def _state(plan: str, version: int, subscription_id: str | None) -> dict[str, Any]:
    return {"plan": plan, "plan_version": version, "subscription_id": subscription_id}


def _write(
    connection: Connection,
    organization_id: UUID,
    plan: Plan,
    present: booking.Period | None,
    at: datetime,
    anchor: datetime,
    subscription_id: str | None,
) -> None:
    ends_at = period_at(anchor, at)[1]
    if present is not None and present.starts_at == milliseconds(at):
        connection.execute(
            "UPDATE billing_periods SET ends_at = %s, plan = %s, plan_version = %s, subscription_id = %s, anchor = %s"
            " WHERE organization_id = %s AND starts_at = %s",
            (ends_at, plan.plan, plan.version, subscription_id, anchor, organization_id, instant(present.starts_at)),
        )
        return
    if present is not None:
        connection.execute(
            "UPDATE billing_periods SET ends_at = %s WHERE organization_id = %s AND starts_at = %s",
            (at, organization_id, instant(present.starts_at)),
        )
    connection.execute(
        "INSERT INTO billing_periods (organization_id, starts_at, ends_at, plan, plan_version, subscription_id, anchor)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (organization_id, at, ends_at, plan.plan, plan.version, subscription_id, anchor),
    )


def _announce(
    connection: Connection, organization_id: UUID, was: str, plan: str, from_at: datetime, now: datetime
) -> None:
    if was != plan:
        notice = BillingPlanChanged(
            organization_id=organization_id,
            at=milliseconds(now),
            was=was,
            plan=plan,
            from_at=milliseconds(from_at),
        )
        outbox.put(connection, [Letter(f"plan/{milliseconds(from_at)}/{plan}", notice)])


def _move(connection: Connection, organization_id: UUID, before: booking.Period, at: datetime, now: datetime) -> None:
    """Move billable units of hours at or after `at` from the period before to the one that now contains them."""
    first = at if hour_of(at) == at else hour_of(at) + HOUR
    rows = connection.execute(
        # What an earlier move put there counts too: one customer ends, and another begins in the same instant.
        "SELECT DISTINCT coalesce(corrects, usage_id) FROM ledger WHERE organization_id = %s AND disposition = 'billable'"
        " AND kind IN ('usage', 'correction') AND units > 0 AND meter_hour >= %s AND period_start = %s AND plan = %s"
        " ORDER BY 1",
        (organization_id, first, instant(before.starts_at), before.plan),
    ).fetchall()
    if not rows:
        return
    heads = ledger.lock(connection, [organization_id])
    periods = booking.load(connection, [organization_id])
    moved: list[tuple[Entry, Entry]] = []
    for (usage_id,) in rows:
        stands = ledger.standing(connection, organization_id, usage_id)
        if stands is None or stands[0].period_start != before.starts_at or stands[0].plan != before.plan:
            continue
        target = booking.place(connection, periods, organization_id, stands[0].meter_hour, stands[0].meter_hour)
        if target is not None:
            moved.append(_pair(*stands, target.period, at, now))
    ledger.append(connection, heads, [entry for pair in moved for entry in pair])
    for taken, put in moved:
        rollup.adjust(connection, taken)
        rollup.move_in(connection, put)


def _pair(stands: Entry, units: int, to: booking.Period, at: datetime, now: datetime) -> tuple[Entry, Entry]:
    """The correction that takes a record's units from where they stand, and the one that puts them into period `to`."""
    name = (
        f"{stands.organization_id}/{stands.corrects or stands.usage_id}/{milliseconds(at)}/{to.plan}/{to.customer_id}"
    )
    taken = replace(
        stands,
        kind="correction",
        usage_id=uuid5(_MOVES, f"{name}/out"),
        part=0,
        corrects=stands.corrects or stands.usage_id,
        count=units,
        units=-units,
        recorded_at=milliseconds(now),
        reason=f"the plan changed to {to.plan} before it was known here",
    )
    put = replace(
        taken,
        usage_id=uuid5(_MOVES, f"{name}/in"),
        units=units,
        period_start=to.starts_at,
        plan=to.plan,
        plan_version=to.plan_version,
        customer_id=to.customer_id,
    )
    return taken, put


def schedule_downgrade(
    connection: Connection, organization_id: UUID, subscription_id: str, plan: str | None, *, by: str, now: datetime
) -> None:
    """Let a subscription's next period be of `plan`; None: of the present plan, after all.

    Nothing changes before the period's end. Runs as driftlock_webhook or the owner of the schema.
    """
    version = None if plan is None else latest(plan).version
    with connection.transaction():
        ledger.lock(connection, [organization_id])
        row = connection.execute(
            "SELECT plan, next_plan FROM subscriptions WHERE organization_id = %s AND id = %s",
            (organization_id, subscription_id),
        ).fetchone()
        if row is None:
            raise UnknownOrganization(f"organization {organization_id} has no subscription {subscription_id}")
        if row[1] == plan:
            return
        connection.execute(
            "UPDATE subscriptions SET next_plan = %s, next_plan_version = %s, updated_at = %s"
            " WHERE organization_id = %s AND id = %s",
            (plan, version, now, organization_id, subscription_id),
        )
        actions.record(
            connection,
            organization_id,
            actor=by,
            action="downgrade.schedule",
            before={"plan": row[0], "next_plan": row[1]},
            after={"plan": row[0], "next_plan": plan},
            at=now,
        )


def end_subscription(
    connection: Connection, organization_id: UUID, subscription_id: str, *, at: datetime, by: str, now: datetime
) -> bool:
    """End a subscription at `at`: from then on the plan is developer, whose periods return on that day.

    False if it has no period that contains `at`, or goes on. Runs as driftlock_webhook or the owner of the schema.
    """
    with connection.transaction():
        ledger.lock(connection, [organization_id])
        connection.execute(
            "UPDATE subscriptions SET status = 'canceled', ended_at = coalesce(ended_at, %s), updated_at = %s"
            " WHERE organization_id = %s AND id = %s",
            (at, now, organization_id, subscription_id),
        )
        holds = connection.execute(
            "SELECT 1 FROM billing_periods WHERE organization_id = %s AND subscription_id = %s"
            " AND starts_at <= %s AND ends_at > %s",
            (organization_id, subscription_id, at, at),
        ).fetchone()
        if holds is None:
            return False
        developer = latest("developer")
        return start_period(
            connection, organization_id, developer, at=at, anchor=at, subscription_id=None, by=by, now=now
        )


def roll_periods(connection: Connection, now: datetime, limit: int = 1_000) -> int:
    """Make the periods that began by `now` for every organization that lacks one; how many organizations had one made.

    Each in a transaction of its own. Until then a unit makes its period itself; this makes it for who has none, so that
    what is shown is of the present month. Runs as driftlock_jobs.
    """
    rolled = 0
    while rows := connection.execute(
        "SELECT p.organization_id FROM billing_periods p JOIN organizations o ON o.id = p.organization_id AND o.active"
        " GROUP BY p.organization_id HAVING max(p.ends_at) <= %s ORDER BY p.organization_id LIMIT %s",
        (now, limit),
    ).fetchall():
        for (organization_id,) in rows:
            with connection.transaction():
                ledger.lock(connection, [organization_id])
                periods = booking.load(connection, [organization_id])
                booking.extend(connection, periods[organization_id], milliseconds(now))
            rolled += 1
    return rolled
