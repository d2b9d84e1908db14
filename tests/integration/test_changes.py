"""Periods: how they begin and end, whose hour is whose, what arrives late, and what was booked before a change was known."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from billing import actions
from billing.changes import end_subscription, roll_periods, schedule_downgrade, start_period
from billing.plans import latest
from billing.preview import preview
from schemas.errors import PlanChanged, UnknownOrganization, UnknownPlan
from tests.integration.books import BEGAN, FIRST, SIGNED_UP, Books, open_books
from tests.stack.providers import Server


@pytest.fixture(scope="module")
def books(postgres: Server) -> Iterator[Books]:
    with open_books(postgres) as opened:
        yield opened


@pytest.fixture
def webhook(books: Books) -> Iterator[psycopg.Connection]:
    with psycopg.connect(books.database.url("driftlock_webhook"), autocommit=True) as connection:
        yield connection


def periods(books: Books, o: uuid.UUID) -> list[tuple[datetime, datetime, str]]:
    return books.owner.execute(
        "SELECT starts_at, ends_at, plan FROM billing_periods WHERE organization_id = %s ORDER BY 1", (o,)
    ).fetchall()


def upgrade(webhook: psycopg.Connection, o: uuid.UUID, plan: str, at: datetime, now: datetime | None = None) -> bool:
    return start_period(
        webhook,
        o,
        latest(plan),
        at=at,
        anchor=at,
        subscription_id=f"sub_{o}",
        by="stripe",
        now=now or at,
    )


def test_an_upgrade_starts_a_new_period_and_its_first_hour_is_of_the_plan_before(
    books: Books, webhook: psycopg.Connection
) -> None:
    o = books.subscribed()
    at = datetime(2026, 3, 12, 10, 37, tzinfo=UTC)
    books.use(o, 40_000, at - timedelta(hours=2))
    assert upgrade(webhook, o, "growth", at)
    assert not upgrade(webhook, o, "growth", at)
    books.use(o, 3, at + timedelta(minutes=5))
    books.use(o, 4, at + timedelta(minutes=23))
    assert periods(books, o)[-2:] == [
        (BEGAN, at, "standard"),
        (at, datetime(2026, 4, 12, 10, 37, tzinfo=UTC), "growth"),
    ]
    assert preview(books.jobs, o, at - timedelta(minutes=1)).units.billable == 40_003
    assert preview(books.jobs, o, at).units.billable == 4
    assert preview(books.jobs, o, at).total_cents == 24_900
    kinds = [p["plan"] for k, p in books.letters(o) if k == "billing.plan_changed"]
    assert kinds == ["standard", "growth"]
    assert actions.verify(books.jobs, o) is None
    books.sound(o)


@pytest.mark.parametrize("clock", [(10, 0, 0), (10, 37, 0), (10, 59, 59)])
def test_an_hour_is_never_split_between_plans(
    books: Books, webhook: psycopg.Connection, clock: tuple[int, int, int]
) -> None:
    o = books.subscribed()
    at = datetime(2026, 3, 12, *clock, tzinfo=UTC)
    upgrade(webhook, o, "growth", at)
    for minute in (0, 30, 59):
        books.use(o, 1, at.replace(minute=minute, second=0))
    books.use(o, 1, at.replace(hour=9, minute=59))
    books.use(o, 1, at.replace(hour=11, minute=0, second=0))
    tens = "growth" if clock == (10, 0, 0) else "standard"
    assert [plan for (plan,) in books.entries(o, "plan")] == [tens] * 3 + ["standard", "growth"]
    books.sound(o)


def test_a_subscription_that_is_known_late_takes_what_was_booked_as_free(books: Books) -> None:
    o = books.sign_up()
    books.use(o, 5, BEGAN)  # its hour belongs to the free plan
    (moved,) = books.use(o, 900, FIRST)
    books.use(o, 400, FIRST + timedelta(hours=1))  # 95 within the included, 200 free over them, 105 withheld
    books.subscribe(o, "standard", BEGAN)
    assert books.hours(o) == {FIRST: 900, FIRST + timedelta(hours=1): 95}
    free, paid = preview(books.jobs, o, SIGNED_UP + timedelta(days=1)), preview(books.jobs, o, FIRST)
    assert (free.units.net, free.units.waived, free.units.free_withheld) == (5, 200, 105)
    assert (paid.terms.plan, paid.units.billable, paid.units.net) == ("standard", 0, 995)
    moves = [(units, plan) for kind, units, plan in books.entries(o, "kind, units, plan") if kind == "correction"]
    assert sorted(moves) == [(-900, "developer"), (-95, "developer"), (95, "standard"), (900, "standard")]
    # The split goes on behind them: no bill passes the cap.
    books.use(o, 60_000, FIRST + timedelta(hours=2))
    paid = preview(books.jobs, o, FIRST)
    assert (paid.units.net, paid.units.capped, paid.total_cents) == (60_000, 995, 5900)
    assert {e[0] for e in books.entries(o, "usage_id")} >= {moved}
    books.sound(o)


def test_an_upgrade_that_is_known_late_moves_whole_hours_only(books: Books, webhook: psycopg.Connection) -> None:
    o = books.subscribed()
    at = datetime(2026, 3, 12, 10, 37, tzinfo=UTC)
    books.use(o, 10, at.replace(minute=50))
    books.use(o, 20, at.replace(hour=11, minute=0))
    hours = books.hours(o)
    upgrade(webhook, o, "growth", at, now=at + timedelta(hours=3))
    assert books.hours(o) == hours
    assert preview(books.jobs, o, at).units.net == 20
    assert preview(books.jobs, o, at - timedelta(minutes=1)).units.net == 10
    books.sound(o)


def test_a_change_before_a_later_period_is_refused(books: Books, webhook: psycopg.Connection) -> None:
    o = books.subscribed()
    roll_periods(books.jobs, BEGAN.replace(month=4))
    with pytest.raises(PlanChanged, match="has a period that starts at"):
        upgrade(webhook, o, "growth", BEGAN + timedelta(days=9))


def test_a_downgrade_waits_for_the_periods_end(books: Books, webhook: psycopg.Connection) -> None:
    o = books.subscribed("growth")
    now = BEGAN + timedelta(days=4)
    for _ in range(2):
        schedule_downgrade(webhook, o, f"sub_{o}", "standard", by="stripe", now=now)
    books.use(o, 100_000, now)
    assert preview(books.jobs, o, now).total_cents == 24_900
    april = BEGAN.replace(month=4)
    books.use(o, 7, april + timedelta(minutes=20))  # its hour began in the period before
    books.use(o, 8, april + timedelta(minutes=23))
    assert preview(books.jobs, o, now).units.billable == 100_007
    assert (preview(books.jobs, o, april).terms.plan, preview(books.jobs, o, april).units.billable) == ("standard", 8)
    assert [p["from_at"] for k, p in books.letters(o) if p.get("plan") == "standard"] == [int(april.timestamp() * 1000)]
    schedule_downgrade(webhook, o, f"sub_{o}", None, by="stripe", now=now)
    with pytest.raises(UnknownPlan):
        schedule_downgrade(webhook, o, f"sub_{o}", "platinum", by="stripe", now=now)
    with pytest.raises(UnknownOrganization, match="no subscription"):
        schedule_downgrade(webhook, o, "sub_none", "standard", by="stripe", now=now)
    books.sound(o)


def test_the_end_of_a_subscription_begins_the_free_plan(books: Books, webhook: psycopg.Connection) -> None:
    o = books.subscribed()
    at = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
    books.use(o, 6, at.replace(hour=10))  # before the end was known
    assert end_subscription(webhook, o, f"sub_{o}", at=at, by="stripe", now=at + timedelta(hours=5))
    books.use(o, 2, at)
    books.use(o, 3, at.replace(hour=11))
    assert books.hours(o) == {at.replace(hour=9, minute=0): 2, at.replace(hour=10, minute=0): 0}
    assert preview(books.jobs, o, at).units.net == 9
    roll_periods(books.jobs, at + timedelta(days=40))
    assert [p[2] for p in periods(books, o)][-2:] == ["developer", "developer"]
    assert periods(books, o)[-1][0] == at.replace(month=4)
    books.sound(o)


def test_periods_are_rolled_by_the_calendar_for_who_uses_nothing(books: Books) -> None:
    free = books.sign_up(datetime(2026, 1, 31, 9, 12, tzinfo=UTC))
    paid = books.subscribed()
    now = datetime(2026, 4, 30, 8, 59, 59, tzinfo=UTC)
    assert roll_periods(books.jobs, now) >= 1
    assert roll_periods(books.jobs, now) == 0
    starts = [p[0] for p in periods(books, free)]
    assert [(s.month, s.day, s.hour) for s in starts] == [(1, 31, 9), (2, 28, 9), (3, 31, 9)]
    roll_periods(books.jobs, now + timedelta(seconds=1))
    assert periods(books, free)[-1][0] == datetime(2026, 4, 30, 9, tzinfo=UTC)
    assert periods(books, paid)[-1][:2] == (BEGAN.replace(month=4), BEGAN.replace(month=5))


def test_late_usage_is_of_the_next_period_flagged_and_under_its_cap(books: Books) -> None:
    o = books.subscribed()
    end = BEGAN.replace(month=4)
    books.use(o, 60_000, FIRST)
    unit = end - timedelta(hours=2)
    books.use(o, 1, unit, later=timedelta(hours=50) - timedelta(milliseconds=1))
    books.use(o, 2, unit, later=timedelta(hours=50))
    assert books.entries(o, "late, disposition, period_start")[-2:] == [
        (False, "capped", BEGAN), (True, "billable", end),
    ]  # fmt: skip
    assert preview(books.jobs, o, end).units.net == 2
    books.sound(o)
