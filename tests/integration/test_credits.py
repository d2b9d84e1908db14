"""Credits, waivers and corrections: what they take off, how often, how much at most, and what they never do."""

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from billing import actions
from billing.credits import TakenBack, correct, credit_false_positive, mark_false_positive, waive
from billing.preview import preview
from billing.tenant import tenant
from schemas.errors import BillingRefused
from tests.integration.books import BEGAN, FIRST, SIGNED_UP, Books, open_books
from tests.stack.providers import Server

LATER = FIRST + timedelta(days=3)
CLOSED = BEGAN.replace(month=4) + timedelta(hours=48)


@pytest.fixture(scope="module")
def books(postgres: Server) -> Iterator[Books]:
    with open_books(postgres) as opened:
        yield opened


def credit(books: Books, o: uuid.UUID, anomaly: uuid.UUID, at: datetime = LATER, percent: int = 10) -> TakenBack:
    mark_false_positive(books.jobs, o, anomaly, by="user/1", note="", at=at)
    return credit_false_positive(books.jobs, o, anomaly, by="user/1", at=at, limit_percent=percent)


def singles(books: Books, o: uuid.UUID, count: int, at: datetime = FIRST) -> list[uuid.UUID]:
    records = [books.record(o, at) for _ in range(count)]
    books.write(records)
    return [record.usage_id for record in records]


def test_a_false_positive_is_credited_in_the_hour_of_its_unit_once(books: Books) -> None:
    o = books.subscribed()
    first, *_ = singles(books, o, 30)
    singles(books, o, 5, FIRST + timedelta(hours=1))
    assert credit(books, o, first).outcome == "credited"
    assert credit(books, o, first).outcome == "known"
    assert books.hours(o) == {FIRST: 29, FIRST + timedelta(hours=1): 5}
    assert preview(books.jobs, o, LATER).units.net == 34
    assert books.entries(o, "kind, disposition, units, corrects, reason")[-1] == (
        "credit", "billable", -1, first, "false positive",
    )  # fmt: skip
    assert actions.verify(books.jobs, o) is None
    books.sound(o)


def test_the_api_credits_its_own_tenant_and_nobody_elses(books: Books) -> None:
    o, other = books.subscribed(), books.subscribed()
    (mine,), (theirs,) = singles(books, o, 1), singles(books, other, 1)
    for of, anomaly in ((o, mine), (other, theirs)):
        mark_false_positive(books.jobs, of, anomaly, by="user/1", note="", at=LATER)
    with psycopg.connect(books.database.url("driftlock_api"), autocommit=True) as api:
        with tenant(api, o):
            assert credit_false_positive(api, o, mine, by="u", at=LATER, limit_percent=10).outcome == "credited"
        with pytest.raises(BillingRefused, match="not marked"), tenant(api, o):
            credit_false_positive(api, other, theirs, by="u", at=LATER, limit_percent=10)
    assert (books.hours(o), books.hours(other)) == ({FIRST: 0}, {FIRST: 1})
    books.sound(o)


def test_the_limit_is_a_share_of_the_periods_units_and_grows_with_them(books: Books) -> None:
    o = books.subscribed()
    ids = singles(books, o, 25)
    assert [credit(books, o, i).outcome for i in ids[:4]] == ["credited"] * 3 + ["limit"]  # 10 % of 25, rounded up
    assert credit(books, o, ids[3], percent=0).outcome == "limit"
    singles(books, o, 6)
    assert credit(books, o, ids[3]).outcome == "credited"
    # Another period has a share of its own.
    april = BEGAN.replace(month=4) + timedelta(hours=3)
    (next_month,) = singles(books, o, 1, april)
    assert credit(books, o, next_month, april).outcome == "credited"
    books.sound(o)


def test_a_credit_never_makes_capped_units_billable(books: Books) -> None:
    o = books.subscribed()
    (one,) = singles(books, o, 1)
    books.use(o, 59_999)
    (capped,) = singles(books, o, 1)
    assert credit(books, o, one).outcome == "credited"
    assert credit(books, o, capped).outcome == "not_billed"
    singles(books, o, 5)
    assert books.sums(o) == {"billable": 60_000, "capped": 6}
    assert preview(books.jobs, o, LATER).units.net == 59_999
    assert preview(books.jobs, o, LATER).total_cents == 5900  # 9,999 over: $9.999
    books.sound(o)


def test_what_was_not_billed_is_not_credited(books: Books) -> None:
    o = books.subscribed()
    warm = books.record(o, FIRST, calibrated=False)
    books.write([warm])
    assert credit(books, o, warm.usage_id).outcome == "not_billed"
    assert credit(books, o, uuid.uuid4()).outcome == "not_billed"
    with pytest.raises(BillingRefused, match="not marked false_positive"):
        credit_false_positive(books.jobs, o, uuid.uuid4(), by="u", at=LATER, limit_percent=10)
    assert len(books.entries(o, "seq")) == 1


def test_a_credit_of_a_closed_period_is_a_credit_note(books: Books) -> None:
    o = books.subscribed()
    ids = singles(books, o, 12)
    books.use(o, 54_988)
    hours = books.hours(o)
    assert credit(books, o, ids[0], CLOSED - timedelta(seconds=1)).outcome == "credited"
    assert books.hours(o) == {FIRST: hours[FIRST] - 1}
    notes = [credit(books, o, i, CLOSED) for i in ids[1:]]
    assert {n.outcome for n in notes} == {"credit_note"}
    assert books.hours(o) == {FIRST: hours[FIRST] - 1}
    # $4.999 after the credit in the hour is $5.00 on the line; 11 units less are $4.988, which is $4.99.
    rows = books.owner.execute(
        "SELECT cents, state, customer_id FROM credit_notes WHERE organization_id = %s ORDER BY created_at, cents", (o,)
    ).fetchall()
    assert sum(cents for cents, _, _ in rows) == sum(n.cents for n in notes) == 1
    assert {(cents > 0, state) for cents, state, _ in rows} == {(True, "pending"), (False, "nothing_due")}
    assert {customer for _, _, customer in rows} == {f"cus_{o}"}
    assert preview(books.jobs, o, FIRST).total_cents == 4900 + 499
    books.sound(o)


def test_a_free_plans_credit_needs_no_note(books: Books) -> None:
    o = books.sign_up()
    (one,) = singles(books, o, 1, SIGNED_UP)
    assert credit(books, o, one, SIGNED_UP + timedelta(days=60)).outcome == "credited"
    assert books.owner.execute("SELECT count(*) FROM credit_notes WHERE organization_id = %s", (o,)).fetchone() == (0,)
    books.sound(o)


def test_a_waiver_takes_all_that_is_left_and_a_correction_some_once_a_reference(books: Books) -> None:
    o = books.subscribed()
    (usage,) = books.use(o, 100)
    said: dict[str, Any] = {"by": "op", "reason": "flood", "at": LATER}
    assert correct(books.jobs, o, usage, 30, reference="t1", **said).outcome == "credited"
    assert correct(books.jobs, o, usage, 30, reference="t1", **said).outcome == "known"
    with pytest.raises(BillingRefused, match="has 70 billable units left, not 71"):
        correct(books.jobs, o, usage, 71, reference="t2", **said)
    with pytest.raises(BillingRefused, match="1 unit or more"):
        correct(books.jobs, o, usage, 0, reference="t3", **said)
    assert (waive(books.jobs, o, usage, **said).units, books.hours(o)) == (70, {FIRST: 0})
    assert waive(books.jobs, o, usage, **said).outcome == "known"
    assert [row[0] for row in books.entries(o, "kind")] == ["usage", "correction", "waive"]
    assert preview(books.jobs, o, LATER).total_cents == 4900
    # A waiver is no credit: the share for false positives is as it was.
    (one,) = singles(books, o, 1)
    assert credit(books, o, one).outcome == "credited"
    books.sound(o)


def test_each_is_an_action_with_what_was_before_and_after(books: Books) -> None:
    o = books.subscribed()
    (one,) = singles(books, o, 1)
    credit(books, o, one)
    row = books.owner.execute(
        "SELECT actor, before, after FROM billing_actions WHERE organization_id = %s AND action = 'credit.add'", (o,)
    ).fetchone()
    assert row == (
        "user/1",
        {"usage_id": str(one), "billable": 1},
        {"billable": 0, "outcome": "credited", "cents": 0, "reason": "false positive"},
    )


def test_only_a_usage_record_is_taken_back_never_an_entry_that_moved_or_took_back(books: Books) -> None:
    o = books.sign_up()
    (usage_id,) = singles(books, o, 1)
    books.subscribe(o, "standard", BEGAN)
    moved = books.entries(o, "kind, usage_id, units")
    assert [(kind, units) for kind, _, units in moved] == [("usage", 1), ("correction", -1), ("correction", 1)]
    for _, entry_id, _ in moved[1:]:
        assert waive(books.jobs, o, entry_id, by="op", reason="r", at=LATER).outcome == "not_billed"
    assert waive(books.jobs, o, usage_id, by="op", reason="r", at=LATER).units == 1
    assert waive(books.jobs, o, usage_id, by="op", reason="r", at=LATER).outcome == "known"


def test_who_takes_back_is_named_and_says_why(books: Books) -> None:
    o = books.subscribed()
    (usage_id,) = singles(books, o, 1)
    with pytest.raises(BillingRefused, match="must be named"):
        waive(books.jobs, o, usage_id, by=" ", reason="r", at=LATER)
    with pytest.raises(BillingRefused, match="says why"):
        correct(books.jobs, o, usage_id, 1, reference="a", by="op", reason="", at=LATER)
    assert preview(books.jobs, o, LATER).units.net == 1
