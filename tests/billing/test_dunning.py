"""Dunning as a state machine: what is owed and when decides, the order of the news never does."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.access import Access
from billing.dunning import GRACE, Owed, standing

START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)

OWED = st.builds(
    Owed,
    st.sampled_from(("in_1", "in_2", "in_3")),
    st.integers(1, 10_000),
    st.integers(0, 20 * 24).map(lambda hours: START + timedelta(hours=hours)),
)


def owed(days: int, invoice: str = "in_1") -> Owed:
    return Owed(invoice, 4900, START + days * DAY)


@pytest.mark.parametrize(
    ("debts", "alive", "days", "state"),
    [
        ([], True, 0, "ok"),
        ([owed(0)], True, 0, "grace"),
        ([owed(0)], True, 6, "grace"),
        ([owed(0)], True, 7, "suspended"),
        ([owed(0), owed(6, "in_2")], True, 7, "suspended"),  # a later failure never extends it
        ([owed(6, "in_2")], True, 8, "grace"),  # the first one is paid: its grace is over, not the other's
        ([owed(0)], False, 1, "cancelled"),
        ([], False, 0, "cancelled"),
    ],
)
def test_the_states(debts: list[Owed], alive: bool, days: int, state: str) -> None:
    assert standing(debts, subscribed=True, alive=alive, now=START + days * DAY).state == state


def test_who_never_had_a_subscription_is_ok() -> None:
    assert standing([], subscribed=False, alive=False, now=START).state == "ok"


@given(st.lists(OWED, max_size=4), st.booleans(), st.integers(0, 40 * 24))
def test_the_order_of_the_news_and_later_failures_change_nothing(debts: list[Owed], alive: bool, hours: int) -> None:
    now = START + timedelta(hours=hours)
    found = {standing(list(order), subscribed=True, alive=alive, now=now) for order in itertools.permutations(debts)}
    assert len(found) == 1
    (one,) = found
    if debts:
        first = min(debt.failed_at for debt in debts)
        assert (one.first_failed_at, one.deadline_at) == (first, first + GRACE)
        assert (one.state == "suspended") == (alive and now >= first + GRACE)
        assert one.owed_cents == sum(debt.cents for debt in debts)


def test_what_access_says_is_one_line() -> None:
    until = START + GRACE
    assert Access("ok", shown=True, until=None, owed_cents=0).said == ""
    assert "until 2026-11-08 00:00 UTC" in Access("grace", shown=True, until=until, owed_cents=1).said
    assert "shown once it is paid" in Access("suspended", shown=False, until=None, owed_cents=1).said
