"""Reconciling as a whole: all checks, what rings for how long, which drafts are held and released.

A difference is seen first, rings after two hours, holds the organization's drafts, and releases them once it is gone.
A draft is held for at most 72 hours (Stripe's longest grace): then it goes on if Stripe bills no more than the ledger says,
and stays a draft for a person to decide if it would bill more. It rings in both cases.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from billing import alarms, invariants, invoices
from billing import stripe_gateway as gateway
from billing.alarms import Alarm
from billing.invariants import Compared, Finding, Log
from billing.reconcile import HourTotals, Reconciliation, reconcile, reopen, unsent_before

Connection = psycopg.Connection[Any]

RINGS_AFTER = timedelta(hours=2)
HELD_AT_MOST = timedelta(hours=72)
SPAN = timedelta(hours=48)


@dataclass(frozen=True)
class Result:
    """What was compared, and the hours behind R3 and R4."""

    compared: tuple[Compared, ...]
    hours: Reconciliation

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every difference."""
        return tuple(finding for one in self.compared for finding in one.findings)


def compare(
    connection: Connection,
    stripe: gateway.Connection,
    meter: gateway.Meter,
    now: datetime,
    *,
    span: timedelta = SPAN,
    kafka: Mapping[int, Log] | None = None,
    full: bool = False,
) -> Result:
    """All six checks, R3 to R6 of the hours that were over `span` before now, as role driftlock_meter. Reads only.

    R3 also of older hours whose newest total is not acknowledged.

    Raises the gateway's errors.
    """
    until = now.replace(minute=0, second=0, microsecond=0)
    since = until - span
    hours = _read_twice(connection, stripe, meter, since, until)
    older = unsent_before(connection, since)
    return Result(
        (
            invariants.offsets(connection, kafka, full=full),
            invariants.rollup(connection, now, full=full),
            Compared(
                "R3",
                len(hours.hours) + len(older),
                (*(f for hour in hours.hours if (f := _unsent(hour))), *map(_still_unsent, older)),
            ),
            Compared("R4", len(hours.hours), tuple(f for hour in hours.hours if (f := _not_at_stripe(hour)))),
            _both(invariants.upcoming_lines(connection, stripe, now), invariants.closed_lines(connection, stripe, now)),
            invariants.evidence(connection, since, now),
        ),
        hours,
    )


def _both(one: Compared, other: Compared) -> Compared:
    return Compared(one.check, one.places + other.places, one.findings + other.findings)


def _read_twice(
    connection: Connection, stripe: gateway.Connection, meter: gateway.Meter, since: datetime, until: datetime
) -> Reconciliation:
    """Summaries are eventually consistent: a difference counts once it is there in two reads."""
    first = reconcile(connection, stripe, meter, since, until)
    return reconcile(connection, stripe, meter, since, until) if first.differences else first


def _unsent(hour: HourTotals) -> Finding | None:
    """R3: ledger = hours = sent."""
    if hour.ledger == hour.meter_hours == hour.sent:
        return None
    sent = hour.meter_hours if hour.ledger != hour.meter_hours else hour.sent or 0
    return Finding("R3", _name(hour), hour.ledger, sent, hour.organization_id)


def _still_unsent(hour: HourTotals) -> Finding:
    """R3 of an hour that is older than those that are compared with Stripe: ledger = sent last."""
    return Finding("R3", _name(hour), hour.ledger, hour.stripe, hour.organization_id)


def _not_at_stripe(hour: HourTotals) -> Finding | None:
    """R4: sent = Stripe."""
    sent = hour.sent if hour.sent is not None else hour.meter_hours
    return None if sent == hour.stripe else Finding("R4", _name(hour), sent, hour.stripe, hour.organization_id)


def _name(hour: HourTotals) -> str:
    return f"{hour.customer_id} {hour.hour:%Y-%m-%dT%H}Z"


def follow_up(
    connection: Connection,
    stripe: gateway.Connection,
    result: Result,
    now: datetime,
    crash: Callable[[str], None] = lambda _name: None,
) -> int:
    """Ring, put hours in doubt, hold and release drafts, as the result says; how many differences ring now.

    `connection` is in autocommit mode, as role driftlock_meter.
    """
    with connection.transaction():
        for finding in result.findings:
            alarm = Alarm("difference", _subject(finding), finding.said, finding.organization_id)
            alarms.raise_alarm(connection, alarm, now, after=RINGS_AFTER)
        alarms.clear_others(connection, "difference", map(_subject, result.findings), now)
        reopen(connection, result.hours.differences, now)
    ringing = alarms.ringing(connection).get("difference", 0)
    _hold(connection, stripe, now, crash)
    _release(connection, stripe, result, now)
    return ringing


def _subject(finding: Finding) -> str:
    return f"{finding.check} {finding.subject}"


def _hold(connection: Connection, stripe: gateway.Connection, now: datetime, crash: Callable[[str], None]) -> None:
    """Hold every draft of an organization for which a difference rings."""
    for organization_id, invoice_id, why in connection.execute(
        "SELECT i.organization_id, i.id, min(a.said) FROM invoices_mirror i JOIN alarms a"
        " ON a.organization_id = i.organization_id AND a.kind = 'difference' AND a.cleared_at IS NULL"
        " AND a.rang_at IS NOT NULL WHERE i.status = 'draft' AND i.held_at IS NULL AND i.released_at IS NULL"
        " GROUP BY 1, 2 ORDER BY 2"
    ).fetchall():
        with connection.transaction():
            invoices.hold(connection, stripe, organization_id, invoice_id, why, now, crash)


def _release(connection: Connection, stripe: gateway.Connection, result: Result, now: datetime) -> None:
    for organization_id, invoice_id, held_at in invoices.held(connection):
        differing = alarms.open_for(connection, organization_id, ("difference",), only_ringing=False)
        late = now - held_at >= HELD_AT_MOST
        if differing and not late:
            continue
        with connection.transaction():
            if differing:
                said = f"invoice {invoice_id} was held for 72 hours and still differs: {differing[0]}"
                alarm = Alarm("invoice_held", invoice_id, said, organization_id)
                alarms.raise_alarm(connection, alarm, now)
                if _would_bill_more(result, organization_id):
                    continue
            else:
                alarms.clear(connection, "invoice_held", invoice_id, now)
            invoices.release(connection, stripe, organization_id, invoice_id, now)


def _would_bill_more(result: Result, organization_id: UUID) -> bool:
    return any(
        finding.theirs > finding.ours
        for finding in result.findings
        if finding.organization_id == organization_id and finding.check in ("R3", "R4", "R5")
    )
