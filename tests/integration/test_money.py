"""Stories of money with the real plan numbers: what is billed, what is told, what an invoice says."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing import agreements, plans
from billing.agreements import Wanted, set_cap, set_override
from billing.preview import episodes, preview
from billing.quota import quota
from schemas.errors import BillingRefused, UnknownOrganization, UnknownPlan
from schemas.models import BadMessage, usage_from_bytes
from tests.integration.books import BEGAN, FIRST, SIGNED_UP, Books, open_books
from tests.stack.providers import Server

LATER = FIRST + timedelta(days=3)


@pytest.fixture(scope="module")
def books(postgres: Server) -> Iterator[Books]:
    with open_books(postgres) as opened:
        yield opened


@pytest.mark.parametrize(
    ("plan", "units", "mode", "cents"),
    [
        ("standard", 50_001, "soft", 4900),
        ("standard", 55_000, "soft", 5400),
        ("standard", 60_000, "soft", 5900),
        ("standard", 75_000, "soft", 5900),
        ("standard", 75_000, "block", 5900),
        ("standard", 75_000, "allow", 7400),
        ("growth", 600_000, "soft", 29_900),
        ("growth", 700_000, "soft", 29_900),
    ],
)
def test_the_examples_of_the_design(books: Books, plan: str, units: int, mode: Any, cents: int) -> None:
    o = books.subscribed(plan)
    if mode != "soft":
        set_cap(books.jobs, o, mode, None, by="user/1", at=BEGAN)
    books.use(o, units)
    found = preview(books.jobs, o, LATER)
    assert found.total_cents == cents
    assert found.units.net + found.units.capped == units
    assert sum(books.hours(o).values()) == found.units.net
    books.sound(o)


def test_story_sign_up_is_developer(books: Books) -> None:
    o = books.sign_up()
    books.use(o, 999, SIGNED_UP)
    books.use(o, 2, SIGNED_UP)
    assert books.sums(o) == {"billable": 1_000, "waived": 1}
    books.use(o, 300, SIGNED_UP)
    assert books.sums(o) == {"billable": 1_000, "waived": 200, "free_withheld": 101}
    assert books.hours(o) == {}
    found = preview(books.jobs, o, SIGNED_UP)
    assert (found.total_cents, found.terms.plan, found.marginal_cents, found.worst_cents) == (0, "developer", None, 0)
    stands = quota(books.jobs, o, SIGNED_UP)
    assert (stands.use.used, stands.over_cap, stands.blocked) == (1_301, True, False)
    rungs = [a[:2] for a in books.alerts(o) if a[0] != "forecast"]
    assert rungs == [("percent", 70), ("percent", 90), ("percent", 100), ("cap", 1_200)]
    books.sound(o)


def test_story_true_counts_false_does_not(books: Books) -> None:
    o = books.subscribed()
    books.write([books.record(o, FIRST)])
    refused = '{"v":1,"is_anomaly":%s}'
    for said in ('"true"', "1", "null"):
        with pytest.raises(BadMessage, match="is_anomaly"):
            usage_from_bytes((refused % said).encode())
    good = books.record(o, FIRST).to_bytes()
    assert usage_from_bytes(good).count == 1
    for count in (b"0", b"-1", b"1.5", b'"1"', b"null", b"10001", b"true"):
        with pytest.raises(BadMessage, match="count"):
            usage_from_bytes(good.replace(b'"count":1', b'"count":' + count))
    with pytest.raises(BadMessage, match="count"):
        usage_from_bytes(good.replace(b'"count":1,', b""))
    assert books.sums(o) == {"billable": 1}
    assert preview(books.jobs, o, FIRST).total_cents == 4900


def test_story_alerts_at_35_000_45_000_50_000(books: Books) -> None:
    o = books.subscribed()
    seen = []
    for units in (34_999, 1, 9_999, 1, 4_999, 1):
        books.use(o, units)
        seen.append([(kind, threshold) for kind, threshold, _ in books.alerts(o) if kind == "percent"])
    assert seen == [
        [],
        [("percent", 70)],
        [("percent", 70)],
        [("percent", 70), ("percent", 90)],
        [("percent", 70), ("percent", 90)],
        [("percent", 70), ("percent", 90), ("percent", 100)],
    ]
    told = {(p["threshold"], p["used"]) for _, p in books.letters(o) if p.get("alert") == "percent"}
    assert told == {(70, 35_000), (90, 45_000), (100, 50_000)}


def test_story_unit_60_001_is_capped_and_the_rest_of_the_ladder(books: Books) -> None:
    o = books.subscribed()
    books.use(o, 60_000)
    assert books.sums(o) == {"billable": 60_000}
    (last,) = books.use(o, 1)
    assert books.entries(o, "usage_id, part, disposition, units")[-1] == (last, 2, "capped", 1)
    assert books.sums(o) == {"billable": 60_000, "capped": 1}
    # One batch crossed everything: of each ladder only the highest is told.
    assert {a[:2] for a in books.alerts(o) if a[2]} == {("cap", 60_000), ("spend", 1_000)}
    assert {a[:2] for a in books.alerts(o) if not a[2]} == {
        ("percent", 70), ("percent", 90), ("percent", 100), ("overage", 50_000), ("spend", 500),
    }  # fmt: skip
    (cap,) = [p for k, p in books.letters(o) if k == "usage.cap_reached"]
    assert (cap["used"], cap["cap"], cap["mode"], cap["overage_cents"]) == (60_000, 60_000, "soft", 1_000)
    assert len(books.letters(o)) == 3  # cap, spend, and the plan that changed before
    assert quota(books.jobs, o, LATER).over_cap


def test_a_record_over_both_borders_has_three_parts_with_one_id(books: Books) -> None:
    o = books.subscribed()
    set_override(books.jobs, o, "standard", Wanted(cap_percent=100), by="op", reason="test", at=BEGAN)
    books.use(o, 49_990)
    (usage,) = books.use(o, 20)
    assert books.entries(o, "usage_id, part, disposition, units, count")[-2:] == [
        (usage, 0, "billable", 10, 20), (usage, 2, "capped", 10, 20),
    ]  # fmt: skip
    set_override(books.jobs, o, "standard", Wanted(), by="op", reason="withdrawn", at=LATER)
    (usage,) = books.use(o, 9_999, LATER)
    (usage,) = books.use(o, 5, LATER)
    assert books.entries(o, "part, disposition, units")[-2:] == [(1, "billable", 1), (2, "capped", 4)]
    books.sound(o)


def test_raising_the_cap_is_not_retroactive(books: Books) -> None:
    o = books.subscribed()
    books.use(o, 65_000)
    set_cap(books.jobs, o, "soft", 140, by="user/1", at=LATER)
    assert preview(books.jobs, o, LATER).total_cents == 5900
    assert not quota(books.jobs, o, LATER).over_cap
    # A record that had arrived before the cap was raised, and is booked after, is under the old one.
    books.use(o, 10, LATER - timedelta(minutes=1))
    books.use(o, 7_000, LATER)
    books.use(o, 7_000, LATER)
    assert books.sums(o) == {"billable": 70_000, "capped": 5_010 + 4_000}
    found = preview(books.jobs, o, LATER)
    assert (found.total_cents, found.worst_cents) == (6_900, 6_900)
    books.sound(o)


def test_block_says_so_and_bills_no_more_than_soft(books: Books) -> None:
    o = books.subscribed()
    set_cap(books.jobs, o, "block", None, by="user/1", at=BEGAN)
    books.use(o, 59_999)
    assert not quota(books.jobs, o, LATER).blocked
    books.use(o, 2)
    assert quota(books.jobs, o, LATER).blocked
    assert books.sums(o) == {"billable": 60_000, "capped": 1}


def test_an_override_prices_the_next_period(books: Books) -> None:
    o = books.subscribed()
    deal = Wanted(included=80_000, overage_cents=Decimal("0.08"))
    set_override(books.jobs, o, "standard", deal, by="op", reason="ticket 7", at=LATER)
    books.use(o, 60_000, LATER)
    assert preview(books.jobs, o, LATER).total_cents == 5900
    april = FIRST + timedelta(days=32)
    books.use(o, 90_001, april)
    found = preview(books.jobs, o, april)
    assert (found.terms.included, found.total_cents) == (80_000, 4900 + 800)
    assert (found.units.net, found.terms.cap, found.worst_cents) == (90_001, 96_000, 4900 + 1280)


@pytest.mark.parametrize(
    ("plan", "wanted", "said"),
    [
        ("standard", Wanted(included=-1), "included must be 0 or more"),
        ("standard", Wanted(cap_percent=99), "cap_percent must be 100 or more"),
        ("standard", Wanted(overage_cents=Decimal(0)), "overage_cents must be over 0"),
        ("standard", Wanted(streams=0), "streams must be 1 or more"),
        ("standard", Wanted(overage_cents=Decimal("NaN")), "overage_cents must be over 0"),
        ("standard", Wanted(overage_cents=Decimal("0.0000000000001")), "12 places"),
        ("standard", Wanted(included=1 << 63), "included must be at most"),
        ("developer", Wanted(overage_cents=Decimal(1)), "takes no overage rate"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(books: Books, plan: str, wanted: Wanted, said: str) -> None:
    o = books.sign_up()
    with pytest.raises(BillingRefused, match=said):
        set_override(books.jobs, o, plan, wanted, by="op", reason="x", at=BEGAN)


@pytest.mark.parametrize(("by", "reason"), [("", "x"), ("op", " ")])
def test_an_override_without_a_name_or_a_reason_is_refused(books: Books, by: str, reason: str) -> None:
    with pytest.raises(BillingRefused, match="who agreed on it, and why"):
        set_override(books.jobs, books.sign_up(), "standard", Wanted(), by=by, reason=reason, at=BEGAN)


def test_what_is_unknown_is_refused(books: Books) -> None:
    o = books.sign_up()
    with pytest.raises(UnknownPlan, match="developer, growth, standard"):
        set_override(books.jobs, o, "platinum", Wanted(), by="op", reason="x", at=BEGAN)
    with pytest.raises(UnknownOrganization, match="there is no organization"):
        set_cap(books.jobs, uuid.uuid4(), "soft", None, by="op", at=BEGAN)
    with pytest.raises(UnknownOrganization, match="no billing period"):
        preview(books.jobs, o, SIGNED_UP - timedelta(days=1))
    with pytest.raises(UnknownOrganization, match="roll-periods"):
        preview(books.jobs, o, SIGNED_UP + timedelta(days=99))
    set_cap(books.jobs, o, "soft", 150, by="op", at=BEGAN)
    with pytest.raises(BillingRefused, match="clock"):
        set_cap(books.jobs, o, "soft", 160, by="op", at=BEGAN - timedelta(seconds=1))
    with pytest.raises(BillingRefused, match="100000"):
        set_cap(books.jobs, o, "soft", 99, by="op", at=BEGAN)
    with pytest.raises(BillingRefused, match="no e-mail address"):
        agreements.set_billing_email(books.jobs, o, "a@b, c@d", by="op", at=BEGAN)


def test_a_plan_version_of_a_later_release_is_read_from_the_database(books: Books) -> None:
    standard = plans.latest("standard")
    books.owner.execute(
        "INSERT INTO plan_versions SELECT plan, 900, monthly_cents, included + 1, overage_cents, cap_percent,"
        " requests_per_minute, streams, retention_days FROM plan_versions WHERE plan = 'standard' AND version = 1"
    )
    found = plans.of_version(books.sink, "standard", 900)
    assert found == replace(standard, version=900, included=50_001)
    assert plans.of_version(books.sink, "standard", standard.version) == standard
    with pytest.raises(UnknownPlan, match="no version 901"):
        plans.of_version(books.sink, "standard", 901)


def test_an_invoice_line_leads_to_its_episodes(books: Books) -> None:
    o = books.subscribed()
    inside = books.use(o, 49_999)
    (border,) = books.use(o, 2)
    over = books.use(o, 9_999) + books.use(o, 5)
    found = preview(books.jobs, o, LATER)
    lines = {
        name: list(episodes(books.jobs, o, found.period_start, name))
        for name in ("included", "overage", "adjusted", "not_billed")
    }
    assert [e.episode for e in lines["included"]] == [*inside, border]
    assert [e.episode for e in lines["overage"]] == [border, *over[:-1]]
    assert [e.episode for e in lines["not_billed"]] == over[-1:]
    assert sum(e.units for e in lines["overage"]) == found.lines[1].quantity == 10_000
    assert sum(e.units for e in lines["included"]) == 50_000


def test_what_an_anomaly_costs(books: Books) -> None:
    o = books.subscribed()
    assert preview(books.jobs, o, LATER).effective_cents is None
    books.use(o, 55_000)
    found = preview(books.jobs, o, LATER)
    assert found.effective_cents == Decimal("0.098182")  # 5400 / 55000
    assert found.marginal_cents == Decimal("0.1")
    assert found.worst_cents == 5900
    g = books.subscribed("growth")
    assert preview(books.jobs, g, LATER).worst_cents == 29_900


def test_the_forecast_is_told_when_it_first_leads_past_the_included(books: Books) -> None:
    o = books.subscribed()
    for day in range(6):
        books.use(o, 5_000, FIRST + timedelta(days=day))
    assert [a for a in books.alerts(o) if a[0] == "forecast"] == [("forecast", 100, True)]
    (told,) = [p for _, p in books.letters(o) if p.get("alert") == "forecast"]
    # 25,000 in the first 4 days: as many again in as many days more.
    assert told["full_on"] == "2026-03-10"
    stands = quota(books.jobs, o, FIRST + timedelta(days=5))
    assert stands.full_at is not None
    assert stands.full_at.date() == date(2026, 3, 10)
