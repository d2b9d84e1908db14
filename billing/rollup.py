"""The rollup of the ledger (`usage_counters`) and the totals to be sent (`meter_hours`), moved with its entries.

`add` is for usage, `adjust` for what changes billable units afterwards. Both are written under the lock of the organizations' heads, in the transaction that appends the entries.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import psycopg

from billing.ledger import Entry
from billing.periods import instant, milliseconds
from schemas.errors import BillingRefused

Connection = psycopg.Connection[Any]
BINS = 64
"""Bins of the histogram of opened episodes: by floor(-log2 p), the last one for all above."""

_DISPOSITIONS = ("billable", "capped", "free_withheld", "warmup", "rescored", "waived")
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Scored:
    """What was scored and is never billed, of one frame: (organization, topic id, partition) is its key. Times in ms."""

    key: tuple[UUID, str, int]
    period_start: int
    occurred_at: int
    events: int
    duplicates: int
    skipped: int
    seeded: int
    opened: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Use:
    """The units of a period. `delivered`: not over the cap, so their anomalies are shown; `over` the cap; `net`: on the bill."""

    delivered: int = 0
    over: int = 0
    net: int = 0

    @property
    def used(self) -> int:
        """All of them: what thresholds are about."""
        return self.delivered + self.over


Key = tuple[UUID, int]
"""An organization's period, by its start in ms."""

_DELIVERED = "billable + waived + moved_in"
_OVER = "capped + free_withheld"


def use_of(connection: Connection, keys: Iterable[Key]) -> dict[Key, Use]:
    """The use of some periods, from the rollup; a period without any is missing."""
    wanted = sorted(set(keys))
    rows = connection.execute(
        f"SELECT organization_id, period_start, sum({_DELIVERED})::bigint, sum({_OVER})::bigint,"  # noqa: S608 ours
        " sum(billable + adjusted)::bigint FROM unnest(%s::uuid[], %s::timestamptz[])"
        " AS asked (organization_id, period_start) JOIN usage_counters USING (organization_id, period_start)"
        " GROUP BY 1, 2",
        ([organization_id for organization_id, _ in wanted], [instant(start) for _, start in wanted]),
    )
    return {(organization_id, milliseconds(start)): Use(*sums) for organization_id, start, *sums in rows}


def days_of(connection: Connection, organization_id: UUID, period_start: int) -> dict[int, int]:
    """Units of a period by day since 1970, those over the cap too."""
    rows = connection.execute(
        f"SELECT day - date '1970-01-01', {_DELIVERED} + {_OVER} FROM usage_counters"  # noqa: S608 ours
        " WHERE organization_id = %s AND period_start = %s",
        (organization_id, instant(period_start)),
    ).fetchall()
    return dict(rows)


def _counters(entries: Iterable[Entry], scored: Iterable[Scored]) -> dict[tuple[UUID, int, int], list[Any]]:
    """(organization, period, day) → units by disposition, entries, events, duplicates, skipped and seeded ones, histogram."""
    rows: dict[tuple[UUID, int, int], list[Any]] = defaultdict(lambda: [*[0] * (len(_DISPOSITIONS) + 5), [0] * BINS])
    for entry in entries:
        row = rows[entry.organization_id, entry.period_start, entry.occurred_at // _DAY_MS]
        row[_DISPOSITIONS.index(entry.disposition)] += entry.units
        row[-6] += 1
    for one in scored:
        row = rows[one.key[0], one.period_start, one.occurred_at // _DAY_MS]
        row[-5] += one.events
        row[-4] += one.duplicates
        row[-3] += one.skipped
        row[-2] += one.seeded
        for bits, episodes in one.opened.items():
            row[-1][min(bits, BINS - 1)] += episodes
    return rows


_SUMS = (*_DISPOSITIONS, "entries", "scored_events", "duplicate_events", "skipped_events", "seeded_events")
_ADD = (
    "INSERT INTO usage_counters (organization_id, period_start, day, "  # noqa: S608 names of our own
    + ", ".join(_SUMS)
    + ", opened) SELECT organization_id, period_start, day, "
    + ", ".join(_SUMS)
    + ", opened::bigint[] FROM unnest(%s::uuid[], %s::timestamptz[], %s::date[], "
    + "%s::bigint[], " * len(_SUMS)
    + "%s::text[]) AS fresh (organization_id, period_start, day, "
    + ", ".join(_SUMS)
    + ", opened) ON CONFLICT (organization_id, period_start, day) DO UPDATE SET "
    + ", ".join(f"{name} = usage_counters.{name} + excluded.{name}" for name in _SUMS)
    + ", opened = add_counts(usage_counters.opened, excluded.opened)"
)


def _histogram(counts: Sequence[int]) -> str:
    used = max((i + 1 for i, n in enumerate(counts) if n), default=0)
    return "{" + ",".join(map(str, counts[:used])) + "}"


def add(connection: Connection, entries: Sequence[Entry], scored: Sequence[Scored]) -> None:
    """Add entries of usage and what was scored to the rollup, and billable units to the totals of their hours."""
    counters = sorted(_counters(entries, scored).items())
    if counters:
        keys = list(zip(*(key for key, _ in counters), strict=True))
        sums = list(zip(*(row for _, row in counters), strict=True))
        connection.execute(
            _ADD,
            [
                list(keys[0]),
                [instant(ms) for ms in keys[1]],
                [instant(day * _DAY_MS).date() for day in keys[2]],
                *map(list, sums[:-1]),
                [_histogram(counts) for counts in sums[-1]],
            ],
        )
    hours: dict[tuple[UUID, str, int], int] = defaultdict(int)
    for entry in entries:
        if entry.customer_id is not None and entry.disposition == "billable":
            hours[entry.organization_id, entry.customer_id, entry.meter_hour] += entry.units
    if hours:
        ordered = sorted(hours.items())
        connection.execute(
            "INSERT INTO meter_hours (organization_id, customer_id, hour, livemode, units, version)"
            " SELECT f.organization_id, f.customer_id, f.hour, installation.livemode, f.units, 1"
            " FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::bigint[])"
            " AS f (organization_id, customer_id, hour, units), installation"
            " ON CONFLICT (organization_id, customer_id, hour) DO UPDATE"
            " SET units = greatest(0, meter_hours.units + excluded.units), version = meter_hours.version + 1",
            [
                [key[0] for key, _ in ordered],
                [key[1] for key, _ in ordered],
                [instant(key[2]) for key, _ in ordered],
                [units for _, units in ordered],
            ],
        )


def adjust(connection: Connection, entry: Entry) -> None:
    """Add a credit, waiver or correction to the rollup and, where it has a customer, to the total of its hour.

    The day and the hour are those of the usage that it changes, so their rows are there; `BillingRefused` if one is not.
    """
    moved = connection.execute(
        "UPDATE usage_counters SET adjusted = adjusted + %s, entries = entries + 1"
        " WHERE organization_id = %s AND period_start = %s AND day = %s",
        (entry.units, entry.organization_id, instant(entry.period_start), _day(entry)),
    ).rowcount
    if moved and entry.customer_id is not None:
        moved = connection.execute(
            "UPDATE meter_hours SET units = greatest(0, units + %s), version = version + 1"
            " WHERE organization_id = %s AND customer_id = %s AND hour = %s",
            (entry.units, entry.organization_id, entry.customer_id, instant(entry.meter_hour)),
        ).rowcount
    if not moved:
        raise BillingRefused(f"usage {entry.corrects} is not in the rollup: run `driftlock billing reconcile`")


def move_in(connection: Connection, entry: Entry) -> None:
    """Add a correction that brings units here from the plan before; the rows of its day and hour are made if need be."""
    connection.execute(
        "INSERT INTO usage_counters AS u (organization_id, period_start, day, adjusted, moved_in, entries)"
        " VALUES (%s, %s, %s, %s, %s, 1) ON CONFLICT (organization_id, period_start, day) DO UPDATE SET"
        " adjusted = u.adjusted + excluded.adjusted, moved_in = u.moved_in + excluded.moved_in, entries = u.entries + 1",
        (entry.organization_id, instant(entry.period_start), _day(entry), entry.units, entry.units),
    )
    if entry.customer_id is not None:
        connection.execute(
            "INSERT INTO meter_hours AS m (organization_id, customer_id, hour, livemode, units, version)"
            " SELECT %s, %s, %s, livemode, %s, 1 FROM installation"
            " ON CONFLICT (organization_id, customer_id, hour) DO UPDATE"
            " SET units = m.units + excluded.units, version = m.version + 1",
            (entry.organization_id, entry.customer_id, instant(entry.meter_hour), entry.units),
        )


def _day(entry: Entry) -> date:
    return instant(entry.occurred_at).date()
