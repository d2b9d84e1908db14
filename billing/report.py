"""The usage of a period day by day, as it is shown and exported."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import psycopg

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Day:
    """One UTC day of a period: units by what became of them, and events that are never billed."""

    day: date
    billable: int
    adjusted: int
    capped: int
    free_withheld: int
    waived: int
    warmup: int
    rescored: int
    scored_events: int
    duplicate_events: int
    skipped_events: int


def days(connection: Connection, organization_id: UUID, period_start: datetime) -> list[Day]:
    """The days of a period on which something was seen, in order. A day at a period's border has its part only."""
    rows = connection.execute(
        "SELECT day, billable, adjusted, capped, free_withheld, waived, warmup, rescored, scored_events, duplicate_events,"
        " skipped_events"
        " FROM usage_counters WHERE organization_id = %s AND period_start = %s ORDER BY day",
        (organization_id, period_start),
    )
    return [Day(*row) for row in rows]


def late_units(connection: Connection, organization_id: UUID, period_start: datetime) -> int:
    """Units that belong to an earlier period and arrived over 48 hours after its end: they are billed in this one."""
    row = connection.execute(
        "SELECT coalesce(sum(units), 0)::bigint FROM ledger"
        " WHERE organization_id = %s AND period_start = %s AND late AND meter_hour >= %s AND kind = 'usage'",
        (organization_id, period_start, period_start.replace(minute=0, second=0, microsecond=0)),
    ).fetchone()
    return row[0] if row else 0
