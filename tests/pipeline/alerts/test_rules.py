"""Rules: what they match, what shares a cooldown, and when they keep quiet, over midnight and changes of the clock."""

import uuid
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alerts.rules import SEVERITIES, Quiet, Rule, group_key, matches, quiet_until
from schemas.models import Anomaly
from tests.integration.api_world import anomaly

O = uuid.UUID(int=1)  # noqa: E741 - an organization
BERLIN = "Europe/Berlin"
NIGHT = Quiet(time(22), time(7), BERLIN, "critical")


def rule(**said: Any) -> Rule:
    return Rule(O, uuid.UUID(int=2), "r", **said)


def one(**said: Any) -> Anomaly:
    return anomaly(O, 1, **said)


@pytest.mark.parametrize(
    ("said", "changed", "told"),
    [
        ({}, {}, True),
        ({"min_severity": "high"}, {"severity": "high"}, True),
        ({"min_severity": "critical"}, {"severity": "high"}, False),
        ({"kinds": ("rate", "novelty")}, {"kind": "novelty"}, True),
        ({"kinds": ("rate",)}, {"kind": "novelty"}, False),
        ({"stream_pattern": "web*"}, {"stream": "web-1"}, True),
        ({"stream_pattern": "web-?"}, {"stream": "web-12"}, False),
        ({"stream_pattern": "Web*"}, {"stream": "web-1"}, False),
        ({"stream_pattern": "[ab]*"}, {"stream": "backend"}, True),
        ({}, {"calibrated": False}, False),
    ],
)
def test_a_rule_matches_by_severity_stream_and_kind(said: dict[str, Any], changed: dict[str, Any], told: bool) -> None:
    assert matches(rule(**said), one(**changed)) is told


def test_what_shares_a_cooldown() -> None:
    streams = [one(stream="a", kind="x"), one(stream="a", kind="y"), one(stream="b", kind="x")]
    for group, count in (("stream", 2), ("kind", 3), ("rule", 1)):
        assert len({group_key(rule(group_by=group), a) for a in streams}) == count


@pytest.mark.parametrize(
    ("at", "until"),
    [
        (datetime(2026, 3, 9, 20, 59, tzinfo=UTC), None),
        (datetime(2026, 3, 9, 21, 0, tzinfo=UTC), datetime(2026, 3, 10, 6, 0, tzinfo=UTC)),
        (datetime(2026, 3, 10, 2, 0, tzinfo=UTC), datetime(2026, 3, 10, 6, 0, tzinfo=UTC)),
        (datetime(2026, 3, 10, 6, 0, tzinfo=UTC), None),
        # The clock goes forward on 29 March and back on 25 October.
        (datetime(2026, 3, 28, 22, 0, tzinfo=UTC), datetime(2026, 3, 29, 5, 0, tzinfo=UTC)),
        (datetime(2026, 10, 24, 21, 0, tzinfo=UTC), datetime(2026, 10, 25, 6, 0, tzinfo=UTC)),
    ],
)
def test_a_night_is_quiet_until_the_morning_of_its_zone(at: datetime, until: datetime | None) -> None:
    assert quiet_until(NIGHT, "high", at) == until
    assert quiet_until(NIGHT, "critical", at) is None
    assert quiet_until(None, "low", at) is None


def test_a_lunch_break_is_quiet_within_a_day_and_for_every_severity() -> None:
    lunch = Quiet(time(12), time(13), "UTC")
    day = datetime(2026, 3, 9, tzinfo=UTC)
    assert quiet_until(lunch, "critical", day + timedelta(hours=12)) == day + timedelta(hours=13)
    assert quiet_until(lunch, "critical", day + timedelta(hours=13)) is None
    assert quiet_until(lunch, "critical", day + timedelta(hours=11, minutes=59)) is None


@given(
    st.times(),
    st.times(),
    st.sampled_from(("UTC", BERLIN, "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia")),
    st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - made aware
    st.sampled_from(SEVERITIES),
)
def test_quiet_hours_end_within_a_day_and_are_over_then(
    start: time, end: time, zone: str, now: datetime, severity: Any
) -> None:
    until = quiet_until(Quiet(start, end, zone), severity, now)
    if until is not None:
        assert now < until <= now + timedelta(hours=49)  # Apia has once left out a day
