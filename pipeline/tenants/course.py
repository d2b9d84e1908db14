"""What the console draws and predicts from: a stream's anomalies around one, and the histogram of opened episodes.

Connections are of role driftlock_api, in autocommit mode.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from billing.tenant import tenant

Connection = psycopg.Connection[Any]

BINS = 64
"""Bins of the histogram, as usage_counters.opened says; the last holds all above."""


@dataclass(frozen=True)
class Point:
    """An anomaly on the plot; bits and surprisal in 2^-16 bit."""

    id: UUID
    at: datetime
    score_bits: int
    surprisal: int


@dataclass(frozen=True)
class Opened:
    """Opened episodes by floor(-log2 p), int[BINS], over `days` days; `events` were scored. 0 days: nothing yet."""

    histogram: tuple[int, ...]
    days: int
    events: int


def around(connection: Connection, organization_id: UUID, stream: str, at: datetime, limit: int = 100) -> list[Point]:
    """Up to `limit` anomalies of a stream before and after an instant each, in order of time."""
    columns = (
        "SELECT id, created_at, score_bits, surprisal FROM anomalies WHERE organization_id = %(o)s AND stream = %(s)s"
    )
    with tenant(connection, organization_id):
        rows = connection.execute(
            f"({columns} AND created_at <= %(at)s ORDER BY created_at DESC LIMIT %(n)s)"
            f" UNION ALL ({columns} AND created_at > %(at)s ORDER BY created_at LIMIT %(n)s) ORDER BY created_at, id",
            {"o": organization_id, "s": stream, "at": at, "n": limit},
        )
        return [Point(*row) for row in rows]


def opened(connection: Connection, organization_id: UUID, today: date, days: int = 30) -> Opened:
    """The histogram of the last `days` days up to today, of as many of them as lie since the first with events."""
    since = today - timedelta(days=days - 1)
    total, first, events = [0] * BINS, today, 0
    with tenant(connection, organization_id):
        rows = connection.execute(
            "SELECT day, opened, scored_events FROM usage_counters"
            " WHERE organization_id = %s AND day BETWEEN %s AND %s",
            (organization_id, since, today),
        ).fetchall()
    for day, counts, scored in rows:
        first, events = min(first, day), events + scored
        for bits, count in enumerate(counts[:BINS]):
            total[bits] += count
    return Opened(tuple(total), (today - first).days + 1 if rows else 0, events)
