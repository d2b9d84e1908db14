"""Any usage, plan changes, credits and caps: every invoice is, to the cent, that of a reference that knows only the promise.

The reference (tests/billing/reference.py and the calendar here) imports nothing of billing.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.agreements import set_cap
from billing.changes import roll_periods, start_period
from billing.credits import credit_false_positive, mark_false_positive
from billing.plans import latest
from billing.preview import preview
from tests.billing.reference import PLANS, Month
from tests.integration.books import BEGAN, Books, open_books
from tests.stack.providers import Server

USE = st.tuples(st.just("use"), st.integers(1, 9) | st.integers(1, 10_000) | st.just(10_000), st.integers(0, 60 * 60))
FLOOD = st.tuples(st.just("flood"), st.integers(2, 70), st.integers(0, 60))
MODE = st.tuples(
    st.just("cap"), st.sampled_from(["soft", "block", "allow"]), st.none() | st.sampled_from([100, 110, 120, 150, 400])
)
CREDIT = st.tuples(st.just("credit"), st.integers(0, 50), st.just(0))
PLAN = st.tuples(st.just("plan"), st.sampled_from(["standard", "growth"]), st.integers(1, 20 * 24 * 60))
WAIT = st.tuples(st.just("wait"), st.integers(1, 25), st.just(0))
HISTORY = st.lists(USE | USE | FLOOD | FLOOD | MODE | CREDIT | CREDIT | PLAN | WAIT, min_size=1, max_size=14)


@dataclass
class Account:
    """What the promise says of one tenant: its months by start, its cap, and which records may be credited."""

    mode: str = "soft"
    percent: int | None = None
    months: list[tuple[datetime, datetime, Month]] = field(default_factory=list)
    billed: dict[uuid.UUID, tuple[Month, int]] = field(default_factory=dict)
    credited: set[uuid.UUID] = field(default_factory=set)

    def start(self, at: datetime, plan: str) -> None:
        """A month of a plan begins, and the one before ends."""
        if self.months:
            begun, _, month = self.months[-1]
            self.months[-1] = (begun, at, month)
        self.months.append((at, _next_month(at), Month(plan, self.cap(plan))))

    def cap(self, plan: str) -> int | None:
        """The cap of a plan, as it is set now."""
        if plan == "developer":
            return 1_200
        return None if self.mode == "allow" else PLANS[plan][1] * (self.percent or 120) // 100

    def month_of(self, at: datetime) -> Month:
        """The month that contains the start of an hour; the calendar turns as far as need be."""
        while at >= self.months[-1][1]:
            end, month = self.months[-1][1], self.months[-1][2]
            self.months.append((end, _next_month(end), Month(month.plan, self.cap(month.plan))))
        return next(month for start, end, month in self.months if start <= at < end)


def _next_month(at: datetime) -> datetime:
    return at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)  # days here are below 29


@pytest.fixture(scope="module")
def books(postgres: Server) -> Iterator[Books]:
    with open_books(postgres) as opened:
        yield opened


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=HISTORY)
def test_every_invoice_is_that_of_the_reference(books: Books, history: list[tuple[Any, ...]]) -> None:
    o = books.subscribed()
    account = Account()
    account.start(BEGAN, "standard")
    now = BEGAN + timedelta(minutes=23)
    for what, first, second in history:
        if what == "wait":
            now += timedelta(days=first)
        elif what in {"use", "flood"}:
            now += timedelta(minutes=second)
            _use(books, o, account, now, [first] if what == "use" else [9_999] * first)
        elif what == "cap":
            account.mode, account.percent = first, second
            set_cap(books.jobs, o, first, second, by="user", at=now)
        elif what == "plan":
            now += timedelta(minutes=second)
            if now.day > 28:
                now = _next_month(now.replace(day=1))
            _change(books, o, account, first, now)
        elif account.billed:
            _credit(books, o, account, list(account.billed)[first % len(account.billed)], now)
    roll_periods(books.jobs, now)
    account.month_of(now)
    for start, _, month in account.months:
        found = preview(books.jobs, o, start)
        assert (found.terms.plan, found.units.billable, found.units.capped) == (month.plan, month.billed, month.hidden)
        assert (-found.units.adjusted, found.total_cents) == (month.credited, month.bill())
    books.sound(o)


def _use(books: Books, o: uuid.UUID, account: Account, now: datetime, counts: list[int]) -> None:
    records = [books.record(o, now, count) for count in counts]
    books.write(records)
    for record in records:
        month = account.month_of(now.replace(minute=0, second=0))
        month.cap = account.cap(month.plan)  # as it is set when the record arrives
        if billable := month.use(record.count)["billable"]:
            account.billed[record.usage_id] = (month, billable)


def _change(books: Books, o: uuid.UUID, account: Account, plan: str, now: datetime) -> None:
    account.month_of(now)
    if account.months[-1][2].plan == plan or account.months[-1][0] == now:
        return
    account.start(now, plan)
    with psycopg.connect(books.database.url("driftlock_webhook"), autocommit=True) as webhook:
        webhook.execute("UPDATE subscriptions SET anchor = %s WHERE organization_id = %s", (now, o))
        start_period(webhook, o, latest(plan), at=now, anchor=now, subscription_id=f"sub_{o}", by="stripe", now=now)


def _credit(books: Books, o: uuid.UUID, account: Account, usage_id: uuid.UUID, now: datetime) -> None:
    month, _ = account.billed[usage_id]
    mark_false_positive(books.jobs, o, usage_id, by="user", note="", at=now)
    done = credit_false_positive(books.jobs, o, usage_id, by="user", at=now, limit_percent=10)
    if usage_id in account.credited:
        assert done.outcome == "known"
    elif month.credited * 10 >= month.billed:
        assert done.outcome == "limit"
    else:
        assert done.outcome in {"credited", "credit_note"}
        account.credited.add(usage_id)
        month.credited += 1
