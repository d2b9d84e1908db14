"""Usage alerts: thresholds of a period, each once, written with the ledger's entries that crossed them.

Two ladders. Units: a forecast, 70, 90 and 100 % of the included units, the first unit over them, the cap. Money: steps of
the overage's price. Of several rungs that one batch crosses the highest of each ladder is told; the lower ones are kept as
crossed, untold.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from billing import outbox
from billing.outbox import Letter
from billing.periods import instant
from billing.price import overage_cents, reached
from billing.rollup import Use, days_of
from billing.terms import Terms
from schemas.notices import Notice, UsageCapReached, UsageThreshold

Connection = psycopg.Connection[Any]

PERCENTS = (70, 90, 100)
FORECAST_AT = (50, 60, 80)
"""Percentages of the included units at which it is asked whether all will be used before the period's end."""

_DAY_MS = 86_400_000
_LOOK_BACK_DAYS = 7


class Crossing(NamedTuple):
    """A rung of a ladder that was crossed; kinds and thresholds are those of the table usage_alerts."""

    kind: str
    threshold: int


@dataclass(frozen=True)
class Change:
    """The use of one organization's period before and after a batch. Times in ms."""

    organization_id: UUID
    period_start: int
    period_end: int
    terms: Terms
    before: Use
    after: Use


def spend_steps() -> Iterator[int]:
    """Cents of overage at which the tenant hears of it: $5, $10, $25, and their tenfolds without end."""
    for power in count():
        for step in (500, 1_000, 2_500):
            yield step * 10**power


def crossed(terms: Terms, before: Use, after: Use) -> list[Crossing]:
    """What was crossed between two states of a period: the ladder of units rising, then that of money. No forecast."""
    found = [
        Crossing("percent", percent)
        for percent in PERCENTS
        if _passes(before.used, after.used, terms.included, percent)
    ]
    if terms.metered and before.used <= terms.included < after.used:
        found.append(Crossing("overage", terms.included))
    if terms.cap is not None and before.used < terms.cap <= after.used:
        found.append(Crossing("cap", terms.cap))
    was, now = overage_cents(terms, before.net), overage_cents(terms, after.net)
    for step in spend_steps():
        if step > now:
            return found
        if was < step:
            found.append(Crossing("spend", step))
    raise AssertionError  # the steps never end


def forecast(
    days: Mapping[int, int], *, used: int, included: int, period_start: int, period_end: int, at: int
) -> int | None:
    """When all included units will be used if usage goes on as in the last 7 days, in ms; None if not in this period.

    `days`: units by day since 1970. Whole numbers only; the answer is at or after `at`.
    """
    if used >= included or not period_start <= at < period_end:
        return None
    first = max(at // _DAY_MS - _LOOK_BACK_DAYS + 1, period_start // _DAY_MS)
    recent = sum(units for day, units in days.items() if first <= day <= at // _DAY_MS)
    span = at - max(period_start, first * _DAY_MS)
    if recent <= 0:
        return None
    full = at + (included - used) * span // recent
    return full if full < period_end else None


def tell(connection: Connection, changes: Iterable[Change], now: int) -> None:
    """Write what a batch crossed, and the highest new rung of each ladder to the outbox; `now` in ms.

    Call it in the transaction that moved the rollup, after that, under the organizations' lock.
    """
    for change in changes:
        asks = any(
            _passes(change.before.used, change.after.used, change.terms.included, percent) for percent in FORECAST_AT
        )
        found = crossed(change.terms, change.before, change.after)
        if not found and not asks:
            continue
        full = _forecast(connection, change, now)
        if full is not None and asks:
            found.insert(0, Crossing("forecast", 100))
        _tell(connection, change, found, full, now)


def _passes(before: int, after: int, included: int, percent: int) -> bool:
    return not reached(before, included, percent) and reached(after, included, percent)


def _forecast(connection: Connection, change: Change, now: int) -> int | None:
    return forecast(
        days_of(connection, change.organization_id, change.period_start),
        used=change.after.used,
        included=change.terms.included,
        period_start=change.period_start,
        period_end=change.period_end,
        at=now,
    )


def _tell(connection: Connection, change: Change, found: Sequence[Crossing], full: int | None, now: int) -> None:
    start = instant(change.period_start)
    known = set(
        connection.execute(
            "SELECT kind, threshold FROM usage_alerts WHERE organization_id = %s AND period_start = %s",
            (change.organization_id, start),
        ).fetchall()
    )
    fresh = [crossing for crossing in found if crossing not in known]
    told = {max(ladder, key=fresh.index) for ladder in _ladders(fresh) if ladder}
    connection.cursor().executemany(
        "INSERT INTO usage_alerts (organization_id, period_start, kind, threshold, used, crossed_at, told)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [(change.organization_id, start, *c, change.after.used, instant(now), c in told) for c in fresh],
    )
    outbox.put(
        connection,
        [
            Letter(f"usage/{change.period_start}/{c.kind}/{c.threshold}", _notice(change, c, full, now))
            for c in fresh
            if c in told
        ],
    )


def _ladders(found: Sequence[Crossing]) -> tuple[list[Crossing], list[Crossing]]:
    return [c for c in found if c.kind != "spend"], [c for c in found if c.kind == "spend"]


def _notice(change: Change, crossing: Crossing, full: int | None, now: int) -> Notice:
    terms = change.terms
    shared = {
        "organization_id": change.organization_id,
        "at": now,
        "used": change.after.used,
        "included": terms.included,
        "cap": terms.cap,
        "plan": terms.plan,
        "period_start": change.period_start,
        "period_end": change.period_end,
        "overage_cents": overage_cents(terms, change.after.net),
    }
    if crossing.kind == "cap":
        # A free plan shows no more than its cap, whatever the mode: that is soft.
        mode = "soft" if terms.mode == "allow" else terms.mode
        return UsageCapReached.model_validate(shared | {"mode": mode})
    day = None if full is None else instant(full).date().isoformat()
    return UsageThreshold.model_validate(
        shared | {"alert": crossing.kind, "threshold": crossing.threshold, "full_on": day}
    )
