"""Periods: anchors, month ends, hours."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.periods import anniversary, hour_of, instant, milliseconds, period_at

ANCHORS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 bounds


def test_month_ends_clamp_and_return() -> None:
    anchor = datetime(2027, 10, 31, 10, 37, tzinfo=UTC)
    days = [(d.month, d.day) for d in (anniversary(anchor, n) for n in range(6))]
    assert days == [(10, 31), (11, 30), (12, 31), (1, 31), (2, 29), (3, 31)]


@given(ANCHORS, st.timedeltas(timedelta(0), timedelta(days=3000)))
def test_each_instant_is_in_exactly_one_period(anchor: datetime, later: timedelta) -> None:
    at = anchor + later
    start, end = period_at(anchor, at)
    assert start <= at < end
    assert period_at(anchor, start) == (start, end)
    assert period_at(anchor, end)[0] == end
    assert period_at(anchor, end - timedelta(microseconds=1)) == (start, end)


def test_before_the_anchor_there_is_none() -> None:
    anchor = datetime(2026, 3, 2, tzinfo=UTC)
    with pytest.raises(ValueError, match="before the first period"):
        period_at(anchor, anchor - timedelta(microseconds=1))


@given(st.integers(0, 4_000_000_000_000))
def test_milliseconds_round_trip(ms: int) -> None:
    assert milliseconds(instant(ms)) == ms


def test_an_hour_is_of_utc() -> None:
    at = datetime(2026, 3, 2, 10, 59, 59, 999999, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert hour_of(at) == datetime(2026, 3, 2, 5, tzinfo=UTC)
