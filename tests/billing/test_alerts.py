"""Which thresholds a batch crosses, and the forecast: in whole numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.alerts import Crossing, crossed, forecast, spend_steps
from billing.plans import latest
from billing.rollup import Use
from billing.terms import NOTHING, Agreed, CapSetting, terms

STANDARD = terms(latest("standard"), NOTHING, 0, 0)
OPEN = terms(latest("standard"), Agreed(caps=(CapSetting(1, "allow", None, 0),)), 0, 0)
FREE = terms(latest("developer"), NOTHING, 0, 0)
DAY = 86_400_000


def used(units: int, cap: int = 60_000) -> Use:
    return Use(min(units, cap), max(0, units - cap), min(units, cap))


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (34_998, 34_999, []),
        (34_999, 35_000, [("percent", 70)]),
        (44_999, 45_000, [("percent", 90)]),
        (49_999, 50_000, [("percent", 100)]),
        (50_000, 50_001, [("overage", 50_000)]),
        (54_994, 54_995, [("spend", 500)]),  # $4.995 is $5.00 on the invoice's line
        (59_999, 60_000, [("cap", 60_000)]),
        (60_000, 60_001, []),
        (0, 50_001, [("percent", 70), ("percent", 90), ("percent", 100), ("overage", 50_000)]),
    ],
)
def test_rungs(before: int, after: int, found: list[tuple[str, int]]) -> None:
    assert crossed(STANDARD, used(before), used(after)) == [Crossing(*one) for one in found]


def test_without_a_cap_only_money_rings_on() -> None:
    assert crossed(OPEN, used(60_000, 10**9), used(1_050_000, 10**9)) == [
        Crossing("spend", step) for step in (2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
    ]


def test_a_free_plan_has_a_cap_and_no_money() -> None:
    assert crossed(FREE, Use(999, 0, 999), Use(1_200, 5, 1_000)) == [Crossing("percent", 100), Crossing("cap", 1_200)]


@given(st.lists(st.integers(1, 30_000), max_size=12))
def test_however_units_come_each_rung_is_crossed_once(counts: list[int]) -> None:
    total, seen = 0, []
    for count in counts:
        seen += crossed(STANDARD, used(total), used(total + count))
        total += count
    assert sorted(seen) == sorted(crossed(STANDARD, used(0), used(total)))
    assert len(set(seen)) == len(seen)


def test_steps_of_money_grow_so_that_no_bill_rings_often() -> None:
    steps = [step for step, _ in zip(spend_steps(), range(7), strict=False)]
    assert steps == [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000]


def test_the_forecast_is_where_the_last_days_lead() -> None:
    period = {"included": 50_000, "period_start": 0, "period_end": 30 * DAY}
    even = dict.fromkeys(range(10), 2_500)
    assert forecast(even, used=25_000, at=10 * DAY - 1, **period) == pytest.approx(20 * DAY, abs=DAY)
    assert forecast(dict.fromkeys(range(10), 100), used=1_000, at=10 * DAY, **period) is None  # not this period
    assert forecast({0: 40_000}, used=40_000, at=20 * DAY, **period) is None  # nothing lately
    assert forecast(even, used=50_000, at=10 * DAY, **period) is None  # it is reached
    assert forecast({0: 100}, used=100, at=0, **period) == 0
