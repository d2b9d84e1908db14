"""The file of plans: what it says, and what is refused."""

from decimal import Decimal

import pytest

from billing.plans import latest, plans, read
from schemas.errors import PlanChanged, UnknownPlan

PLAN = """
[[plan]]
plan = "x"
title = "X"
version = 1
monthly_cents = "100"
included = 10
overage_cents = "0.5"
cap_percent = 120
requests_per_minute = 1
streams = 1
retention_days = 1
"""


def test_the_three_plans_and_their_caps() -> None:
    assert {(p.plan, p.included, p.cap) for p in plans()} == {
        ("developer", 1_000, 1_200),
        ("standard", 50_000, 60_000),
        ("growth", 500_000, 600_000),
    }
    assert latest("standard").overage_cents == Decimal("0.1")
    assert latest("growth").overage_cents == Decimal("0.05")
    assert latest("developer").overage_cents is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAN.replace('"0.5"', "0.5"), "never a float"),
        (PLAN.replace('"100"', "100"), "never a float"),
        (PLAN + PLAN, "twice"),
        (PLAN.replace("included = 10\n", ""), "can't be read"),
        (PLAN + "colour = 1\n", "can't be read"),
        ("plan = [", "can't be read"),
    ],
)
def test_a_wrong_file_is_one_line(text: str, said: str) -> None:
    with pytest.raises(PlanChanged, match=said) as error:
        read(text)
    assert "\n" not in str(error.value)


def test_the_newest_version_is_the_latest() -> None:
    both = read(PLAN + PLAN.replace("version = 1", "version = 2").replace("included = 10", "included = 20"))
    assert [p.version for p in both] == [1, 2]


def test_an_unknown_plan_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownPlan, match="no plan 'platinum': developer, growth, standard"):
        latest("platinum")
