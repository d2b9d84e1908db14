"""The split of a record at the included units and at the cap: exact, however units are batched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.plans import latest
from billing.split import Slice, split
from billing.terms import Agreed, CapSetting, Override, Terms, terms
from tests.billing.reference import Month


def standing(plan: str, *caps: CapSetting, at: int = 100) -> Terms:
    return terms(latest(plan), Agreed(caps=caps), 0, at)


def test_the_example_of_the_design() -> None:
    agreed = Agreed((Override(1, "standard", 10_000, None, None, None, None, 100, 0),))
    ten_thousand = terms(latest("standard"), agreed, 0, 0)
    assert ten_thousand.cap == 10_000
    assert split(20, 9_990, ten_thousand) == [Slice(0, "billable", 10), Slice(2, "capped", 10)]


@pytest.mark.parametrize(
    ("plan", "delivered", "count", "expected"),
    [
        ("standard", 59_999, 1, [(1, "billable", 1)]),
        ("standard", 60_000, 1, [(2, "capped", 1)]),
        ("standard", 49_999, 2, [(0, "billable", 1), (1, "billable", 1)]),
        ("standard", 0, 70_000, [(0, "billable", 50_000), (1, "billable", 10_000), (2, "capped", 10_000)]),
        ("developer", 999, 1, [(0, "billable", 1)]),
        ("developer", 1_000, 1, [(1, "waived", 1)]),
        ("developer", 1_199, 2, [(1, "waived", 1), (2, "free_withheld", 1)]),
        ("growth", 600_000, 1, [(2, "capped", 1)]),
    ],
)
def test_borders(plan: str, delivered: int, count: int, expected: list[tuple[int, str, int]]) -> None:
    assert [tuple(part) for part in split(count, delivered, standing(plan))] == expected


@given(
    st.sampled_from(["developer", "standard", "growth"]),
    st.sampled_from(["soft", "block", "allow"]),
    st.lists(st.integers(1, 10_000) | st.integers(100_000, 400_000), max_size=20),
)
def test_any_batching_equals_the_reference(plan: str, mode: str, counts: list[int]) -> None:
    applied = standing(plan, CapSetting(1, mode, None, 0))  # type: ignore[arg-type]
    month = Month.of(plan)
    if mode == "allow" and plan != "developer":
        month.cap = None
    delivered = 0
    for count in counts:
        parts = split(count, delivered, applied)
        assert sum(part.units for part in parts) == count
        assert [part.part for part in parts] == sorted({part.part for part in parts})
        assert {part.disposition: 0 for part in parts} | {
            name: units for name, units in month.use(count).items() if units
        } == _sums(parts)
        delivered += sum(part.units for part in parts if part.part < 2)


def _sums(parts: list[Slice]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for part in parts:
        sums[part.disposition] = sums.get(part.disposition, 0) + part.units
    return sums


def test_a_raised_cap_is_for_later_units_and_a_lowered_one_takes_nothing_back() -> None:
    caps = (CapSetting(1, "soft", 150, 50), CapSetting(2, "soft", 100, 80), CapSetting(3, "allow", None, 90))
    at = {ms: standing("standard", *caps, at=ms) for ms in (49, 50, 80, 90)}
    assert [one.cap for one in at.values()] == [60_000, 75_000, 50_000, None]
    assert split(1, 60_000, at[49])[0].disposition == "capped"
    assert split(1, 60_000, at[50])[0].disposition == "billable"
    assert split(1, 60_000, at[80])[0].disposition == "capped"
    assert split(1, 60_000, at[90])[0].disposition == "billable"


def test_a_free_plans_cap_is_not_the_tenants_to_raise() -> None:
    assert standing("developer", CapSetting(1, "allow", 1_000, 0)).cap == 1_200
