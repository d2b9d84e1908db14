"""What a sensitivity would report and cost."""

from hypothesis import given
from hypothesis import strategies as st

from billing import plans, terms
from dashboards.console.prediction import SETTINGS, episodes, level, predict
from schemas.models import BIT

STANDARD = terms.terms(plans.latest("standard"), terms.NOTHING, 0, 0)
HISTOGRAMS = st.lists(st.integers(0, 10_000), max_size=64)


def test_levels_are_those_of_the_detector() -> None:
    assert [round(level(percent) / BIT, 2) for percent in SETTINGS] == [19.93, 16.61, 13.29, 9.97, 6.64]


@given(HISTOGRAMS)
def test_more_sensitive_never_reports_less_nor_costs_less(opened: list[int]) -> None:
    found = [predict(opened, 7, STANDARD, percent) for percent in range(0, 101, 5)]
    assert [p.anomalies for p in found] == sorted(p.anomalies for p in found)
    assert [p.cents for p in found] == sorted(p.cents for p in found)
    assert all(p.billed + p.over == p.anomalies and p.cents <= 5_900 for p in found)


def test_bins_count_whole_above_the_level_and_in_part_at_it() -> None:
    assert episodes([0] * 20 + [8], 50) == 8
    assert episodes([0] * 13 + [100], 50) == 71
    assert episodes([100] * 6, 100) == 0


def test_a_month_is_thirty_days_and_priced_as_the_plan_says() -> None:
    month = predict([0] * 30 + [14_000], 7, STANDARD, 50)
    assert (month.anomalies, month.one_in, month.cents) == (60_000, 10_000, 5_900)
    assert predict([], 0, STANDARD, 50).cents == 4_900
