"""Alarms: what rings until it is cleared. Told once to the operator when it begins to ring, and gauged as long as it does.

| kind | what rings |
|---|---|
| `unknown_price` | a subscription to a price that no plan has: it is refused |
| `event_dead` | an event of Stripe that could not be applied five times |
| `customer_conflict` | a second customer with a subscription for an organization whose own is alive, or a replaced one with a new one |
| `meter_rejected` | a total that Stripe took and rejected later |
| `hour_old` | a total that is not at Stripe after 30 days: from the 35th on only by hand |
| `frozen_unsent` | totals of a replaced customer that are not certainly at Stripe: by hand, until they are waived |
| `difference` | two of ledger, rollup, hours and Stripe that differ (reconcile.py), after two hours |
| `credit_note_refused` | a credit note that Stripe refuses: by hand |
| `invoice_held` | a draft that is held for 72 hours and still differs |
| `restored` | the sender is locked after a restore |
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from billing import announce
from billing.actions import INSTALLATION

Connection = psycopg.Connection[Any]
AT_ONCE = timedelta(0)


@dataclass(frozen=True)
class Alarm:
    """Something that is not as it must be. `subject` names it among its kind; `said` is one line for a person."""

    kind: str
    subject: str
    said: str
    organization_id: UUID | None = None


def raise_alarm(connection: Connection, alarm: Alarm, now: datetime, *, after: timedelta = AT_ONCE) -> bool:
    """See it; True if it begins to ring now. It rings once it was seen for as long as `after`, told to the operator."""
    first_seen, rang = _see(connection, alarm, now)
    if rang or now - first_seen < after:
        return False
    connection.execute(
        "UPDATE alarms SET rang_at = %s WHERE kind = %s AND subject = %s AND cleared_at IS NULL",
        (now, alarm.kind, alarm.subject),
    )
    announce.tell_operator(connection, alarm.kind, alarm.subject, alarm.said, first_seen, now)
    said = {"kind": alarm.kind, "subject": alarm.subject, "said": alarm.said}
    announce.acted(connection, alarm.organization_id or INSTALLATION, "driftlock", "alarm.rang", None, said, now)
    return True


def _see(connection: Connection, alarm: Alarm, now: datetime) -> tuple[datetime, bool]:
    row = connection.execute(
        "INSERT INTO alarms (kind, subject, organization_id, said, first_seen_at, last_seen_at)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (kind, subject) WHERE cleared_at IS NULL"
        " DO UPDATE SET said = excluded.said, last_seen_at = excluded.last_seen_at"
        " RETURNING first_seen_at, rang_at IS NOT NULL",
        (alarm.kind, alarm.subject, alarm.organization_id, alarm.said, now, now),
    ).fetchone()
    if row is None:
        raise AssertionError("an upsert returns its row")
    return row[0], row[1]


def clear(connection: Connection, kind: str, subject: str, now: datetime) -> bool:
    """It is as it must be again; True if it was seen before."""
    done = connection.execute(
        "UPDATE alarms SET cleared_at = %s WHERE kind = %s AND subject = %s AND cleared_at IS NULL",
        (now, kind, subject),
    )
    return bool(done.rowcount)


def clear_others(connection: Connection, kind: str, still: Iterable[str], now: datetime) -> int:
    """Clear every open alarm of a kind whose subject is not among those that still hold; how many."""
    return connection.execute(
        "UPDATE alarms SET cleared_at = %s WHERE kind = %s AND cleared_at IS NULL AND NOT subject = ANY(%s)",
        (now, kind, sorted(set(still))),
    ).rowcount


def ringing(connection: Connection) -> dict[str, int]:
    """How many alarms of each kind ring now."""
    return dict(
        connection.execute(
            "SELECT kind, count(*) FROM alarms WHERE rang_at IS NOT NULL AND cleared_at IS NULL GROUP BY kind"
        ).fetchall()
    )


def open_for(connection: Connection, organization_id: UUID, kinds: Sequence[str], *, only_ringing: bool) -> list[str]:
    """What is open for an organization, of some kinds, one line each; those that ring, or all that were seen."""
    return [
        said
        for (said,) in connection.execute(
            "SELECT said FROM alarms WHERE organization_id = %s AND kind = ANY(%s) AND cleared_at IS NULL"
            " AND (rang_at IS NOT NULL OR NOT %s) ORDER BY first_seen_at, subject",
            (organization_id, list(kinds), only_ringing),
        )
    ]
