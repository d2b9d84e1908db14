"""Billing periods: half open, in UTC; a unit belongs to the one that contains the start of its hour."""

import calendar
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)


def instant(ms: int) -> datetime:
    """The UTC time of milliseconds since 1970, exactly. `OverflowError` outside the years 1 to 9999."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def milliseconds(at: datetime) -> int:
    """Milliseconds since 1970 of a time with a zone; smaller parts are cut off."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def hour_of(at: datetime) -> datetime:
    """The start of the UTC hour that contains `at`."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def anniversary(anchor: datetime, months: int) -> datetime:
    """The anchor's day and time `months` later, clamped to the end of a shorter month, never drifting.

    >>> [anniversary(datetime(2025, 1, 31, tzinfo=UTC), n).day for n in range(4)]
    [31, 28, 31, 30]
    """
    anchor = anchor.astimezone(UTC)
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    day = min(anchor.day, calendar.monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)


def period_at(anchor: datetime, at: datetime) -> tuple[datetime, datetime]:
    """The period [start, end) of an anchor that contains `at`; `ValueError` before the anchor."""
    if at < anchor:
        raise ValueError(f"{at} lies before the first period, which starts at {anchor}")
    at = at.astimezone(UTC)
    months = (at.year - anchor.astimezone(UTC).year) * 12 + at.month - anchor.astimezone(UTC).month
    if anniversary(anchor, months) > at:
        months -= 1
    return anniversary(anchor, months), anniversary(anchor, months + 1)
