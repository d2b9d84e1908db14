"""Billing periods: monthly returns of an anchor, clamped to the month's end (31 January, 28 February, 31 March)."""

import calendar
from datetime import UTC, datetime


def months_after(anchor: int, months: int) -> int:
    """The anchor's return after so many months, in seconds since 1970."""
    at = datetime.fromtimestamp(anchor, UTC)
    count = at.month - 1 + months
    year, month = at.year + count // 12, count % 12 + 1
    day = min(at.day, calendar.monthrange(year, month)[1])
    return int(at.replace(year=year, month=month, day=day).timestamp())
