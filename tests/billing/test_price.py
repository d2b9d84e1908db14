"""What a period costs: the examples of the design, and any usage against decimal arithmetic written another way."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.plans import latest, plans
from billing.price import billable_units, price, reached


@pytest.mark.parametrize(
    ("plan", "units", "cap", "cents"),
    [
        ("standard", 0, True, 4900),
        ("standard", 50_000, True, 4900),
        ("standard", 50_001, True, 4900),
        ("standard", 50_005, True, 4901),
        ("standard", 55_000, True, 5400),
        ("standard", 60_000, True, 5900),
        ("standard", 75_000, True, 5900),
        ("standard", 75_000, False, 7400),
        ("growth", 600_000, True, 29_900),
        ("growth", 700_000, True, 29_900),
        ("developer", 1_200, True, 0),
        ("developer", 10_000_000, False, 0),
    ],
)
def test_examples(plan: str, units: int, cap: bool, cents: int) -> None:
    assert price(latest(plan), units, cap=cap).total_cents == cents


@given(st.sampled_from(plans()), st.integers(0, 10**9), st.booleans())
def test_equals_decimal_arithmetic(plan: object, units: int, cap: bool) -> None:
    p = latest(plan.plan)  # type: ignore[attr-defined]
    rates = {"developer": ("0", "0", 1_000), "standard": ("49", "0.001", 50_000), "growth": ("249", "0.0005", 500_000)}
    flat, rate, included = rates[p.plan]
    with localcontext() as context:
        context.prec = 60
        counted = min(units, included * 12 // 10) if cap else units
        dollars = Decimal(flat) + max(Decimal(0), Decimal(counted) - included) * Decimal(rate)
        assert price(p, units, cap=cap).total_cents == int((dollars * 100).to_integral_value(ROUND_HALF_UP))


def test_units_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        price(latest("standard"), -1)


def test_developer_bills_nothing_over_the_included() -> None:
    assert billable_units(latest("developer"), 5_000) == 1_000


def test_thresholds_are_reached_exactly() -> None:
    assert [reached(used, 50_000, 70) for used in (34_999, 35_000)] == [False, True]
    assert [reached(used, 3, 70) for used in (2, 3)] == [False, True]
