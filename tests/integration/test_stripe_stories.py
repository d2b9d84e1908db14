"""Whole stories of a tenant and its money, with the plans' real numbers, on PostgreSQL and the fake Stripe."""

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from billing import changes, checkout, invoices, preview
from billing import stripe_gateway as gateway
from billing import stripe_objects as objects
from billing.checkout import CheckoutRefused
from billing.meter import send_due_hours
from billing.resync import resync
from billing.tenant import tenant
from schemas.errors import UnknownPlan
from tests.integration.stripe_world import START, URLS, StripeWorld, stripe_world
from tests.stack.database import Database
from tests.stack.stripe import FakeStripe

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def world(database: Database, fake_stripe: FakeStripe) -> Iterator[StripeWorld]:
    with stripe_world(database, fake_stripe) as made:
        yield made


def send(world: StripeWorld) -> None:
    send_due_hours(world.meter_role, world.stripe, world.meter, lambda: world.now, random.Random(1))


def upcoming(world: StripeWorld) -> int:
    """Cents of Stripe's upcoming metered lines."""
    (subscription,) = world.rows("SELECT id FROM subscriptions WHERE ended_at IS NULL")
    metered = {row[0] for row in world.rows("SELECT id FROM stripe_prices WHERE part = 'overage'")}
    return sum(line.amount for line in gateway.preview_invoice(world.stripe, subscription[0]) if line.price in metered)


def test_checkout_to_standard_and_its_first_bill(world: StripeWorld) -> None:
    world.book(400)
    session = world.check_out("standard")
    assert (session.url or "").startswith("https://checkout.stripe.example/")
    world.settle()
    # The hour in which it began belongs to the plan before, the next ones to standard.
    world.book(7)
    world.pass_time(HOUR)
    world.settle()
    world.book(55_000)
    world.pass_time(HOUR)
    send(world)
    sums = world.rows("SELECT plan, sum(units)::int FROM ledger GROUP BY plan ORDER BY plan")
    assert sums == [("developer", 407), ("standard", 55_000)]
    shown = preview.preview(world.owner, world.organization_id, world.now)
    assert (shown.total_cents, shown.overage_cents, upcoming(world)) == (5400, 500, 500)
    world.pass_time(31 * DAY)
    world.settle()
    totals = world.rows("SELECT total_cents FROM invoices_mirror WHERE status = 'paid' ORDER BY created_at")
    assert totals == [(4900,), (5400,)]
    with tenant(world.api, world.organization_id):
        shown_to_tenant = invoices.of_organization(world.api, world.organization_id)
    assert [(i.status, i.total_cents) for i in shown_to_tenant] == [("paid", 5400), ("paid", 4900)]


def test_a_failed_payment_then_grace_then_paid(world: StripeWorld) -> None:
    world.check_out()
    world.settle()
    world.card(declined=True)
    world.pass_time(HOUR)
    world.settle()
    failed_at = world.now
    assert (world.access().state, world.access().shown, world.access().until) == ("grace", True, failed_at + 7 * DAY)
    # Later failures (after 3 and 5 days) never move the end of the grace.
    for days in (3, 2):
        world.pass_time(days * DAY)
        world.settle()
        assert (world.access().state, world.access().until) == ("grace", failed_at + 7 * DAY)
    assert world.rows("SELECT attempt_count FROM invoices_mirror") == [(3,)]
    # Metering never stops for it: what is used is billed, shown or not.
    world.pass_time(2 * DAY - timedelta(seconds=1))
    assert world.access().shown
    world.pass_time(timedelta(seconds=1))
    assert (world.access().state, world.access().shown) == ("suspended", False)  # before the applier has written so
    world.settle()
    assert (world.access().state, world.access().shown, world.access().owed_cents) == ("suspended", False, 4900)
    world.book(3)
    world.pass_time(HOUR)
    send(world)
    assert world.rows("SELECT sent_units FROM meter_hours") == [(3,)]
    # The card works again: what was found meanwhile appears.
    world.card(declined=False)
    (invoice,) = world.fake.box.all("invoice")
    world.fake.form("POST", f"/v1/invoices/{invoice['id']}/pay")
    world.settle()
    assert (world.access().state, world.access().shown, world.access().owed_cents) == ("ok", True, 0)
    assert world.outbox() == [
        "billing.plan_changed",
        "billing.dunning:grace",
        "billing.payment_failed",
        "billing.dunning:suspended",
        "billing.dunning:ok",
    ]


def test_a_subscription_that_ends_leaves_the_free_plan(world: StripeWorld) -> None:
    world.check_out()
    world.settle()
    assert checkout.change_plan(
        world.api, world.stripe, world.organization_id, "developer", by="user:1", now=world.now
    ) == ("cancel")
    world.settle()
    assert world.rows("SELECT cancel_at_period_end FROM subscriptions") == [(True,)]
    world.pass_time(31 * DAY)
    world.settle()
    assert world.rows("SELECT status FROM subscriptions") == [("canceled",)]
    assert (world.access().state, world.access().shown) == ("cancelled", True)
    world.book(5, world.now + HOUR)
    plans = world.rows("SELECT plan, customer_id FROM ledger")
    assert plans == [("developer", None)]
    # And back: a new checkout begins a new subscription of the same customer.
    world.check_out("growth")
    world.settle()
    assert world.access().state == "ok"
    assert world.rows("SELECT plan FROM subscriptions WHERE ended_at IS NULL") == [("growth",)]
    assert world.rows("SELECT count(*) FROM billing_customers") == [(1,)]


def test_a_subscription_that_ends_with_a_debt_hides_it_all_after_the_grace(world: StripeWorld) -> None:
    world.check_out()
    world.settle()
    world.card(declined=True)
    world.pass_time(HOUR)
    world.fresh_events()  # nothing of it was heard: the state follows from what is fetched
    (subscription,) = world.fake.box.all("subscription")
    world.fake.form("DELETE", f"/v1/subscriptions/{subscription['id']}")
    world.pass_time(2 * HOUR)
    world.settle()
    resync(world.given(), world.now - DAY)
    assert (world.access().state, world.access().shown, world.access().owed_cents) == ("cancelled", True, 4900)
    world.pass_time(7 * DAY)
    assert (world.access().state, world.access().shown) == ("cancelled", False)
    world.card(declined=False)
    for invoice in world.fake.box.all("invoice"):
        if invoice["status"] == "open":
            world.fake.form("POST", f"/v1/invoices/{invoice['id']}/pay")
    world.settle()
    assert (world.access().state, world.access().shown) == ("cancelled", True)


def test_an_upgrade_starts_a_period_and_late_news_of_it_moves_what_was_booked(world: StripeWorld) -> None:
    world.check_out("standard")
    world.settle()
    world.pass_time(10 * DAY)
    changed_at = world.now
    assert (
        checkout.change_plan(world.api, world.stripe, world.organization_id, "growth", by="user:1", now=world.now)
        == "upgrade"
    )
    world.book(11)  # in the hour of the change: standard
    world.pass_time(2 * HOUR)
    world.book(500_100)  # after it, but the webhook is late: booked to standard
    world.settle()
    world.pass_time(HOUR)
    world.book(900)
    world.pass_time(HOUR)
    send(world)
    periods = world.rows("SELECT starts_at, plan FROM billing_periods ORDER BY starts_at DESC LIMIT 2")
    assert periods == [(changed_at, "growth"), (START, "standard")]
    net = world.rows(
        "SELECT plan, sum(units) FILTER (WHERE disposition = 'billable')::int FROM ledger GROUP BY plan ORDER BY plan"
    )
    assert dict(net)["standard"] == 11
    shown = preview.preview(world.owner, world.organization_id, world.now)
    assert shown.overage_cents == upcoming(world)
    assert world.rows("SELECT units, sent_units FROM meter_hours WHERE units <> sent_units") == []


def test_news_of_an_upgrade_that_comes_after_the_calendar_made_the_next_period(world: StripeWorld) -> None:
    world.check_out("standard")
    world.settle()
    (ends,) = world.rows("SELECT ends_at FROM billing_periods WHERE plan = 'standard'")[0]
    world.pass_time(ends - world.now - timedelta(minutes=10))
    changed_at = world.now
    checkout.change_plan(world.api, world.stripe, world.organization_id, "growth", by="user:1", now=world.now)
    world.pass_time(timedelta(minutes=15))
    changes.roll_periods(world.owner, world.now)
    assert world.rows("SELECT max(starts_at) FROM billing_periods") == [(ends,)]
    world.settle()  # nothing was used in the period that the calendar made: it makes room
    periods = world.rows("SELECT starts_at, plan FROM billing_periods ORDER BY starts_at DESC LIMIT 2")
    assert periods == [(changed_at, "growth"), (START, "standard")]
    assert world.rows("SELECT state FROM stripe_events WHERE state NOT IN ('applied', 'ignored')") == []


def test_old_news_of_a_subscription_that_is_over_leaves_the_next_ones_periods_alone(world: StripeWorld) -> None:
    world.check_out("standard")
    world.settle()
    world.pass_time(3 * DAY)
    (first,) = world.fake.box.all("subscription")
    world.fake.form("DELETE", f"/v1/subscriptions/{first['id']}")
    world.settle()
    world.pass_time(DAY)
    world.check_out("growth")
    world.settle()
    periods = world.rows("SELECT starts_at, ends_at, plan FROM billing_periods ORDER BY starts_at")
    assert [plan for *_, plan in periods] == ["developer", "standard", "developer", "growth"]
    again = next(e for e in world.fake.box.events if e["type"] == "customer.subscription.deleted")
    world.deliver([{**again, "id": "evt_again"}])
    assert [done.became for done in world.apply()] == ["applied"]
    assert resync(world.given(), START).failed == ()
    assert world.rows("SELECT starts_at, ends_at, plan FROM billing_periods ORDER BY starts_at") == periods


def test_a_downgrade_waits_for_the_periods_end(world: StripeWorld) -> None:
    world.check_out("growth")
    world.settle()
    change = checkout.change_plan(
        world.api, world.stripe, world.organization_id, "standard", by="user:1", now=world.now
    )
    assert change == "downgrade"
    (subscription,) = world.fake.box.all("subscription")
    world.receive(
        {
            "id": "evt_sched",
            "type": "customer.subscription.updated",
            "livemode": False,
            "created": int(world.now.timestamp()),
            "data": {"object": {"id": subscription["id"]}},
        }
    )
    world.settle()
    assert world.rows("SELECT plan, next_plan FROM subscriptions") == [("growth", "standard")]
    world.book(1)
    world.pass_time(30 * DAY + HOUR)
    world.book(2)  # the sink rolls the period before any webhook comes
    world.settle()
    assert world.rows("SELECT plan, next_plan FROM subscriptions") == [("standard", None)]
    plans = world.rows("SELECT plan, starts_at FROM billing_periods ORDER BY starts_at DESC LIMIT 2")
    assert plans == [("standard", START.replace(month=12)), ("growth", START)]
    assert [row[0] for row in world.rows("SELECT plan FROM ledger ORDER BY seq")] == ["developer", "standard"]


def test_a_downgrade_that_is_taken_back(world: StripeWorld) -> None:
    world.check_out("growth")
    world.settle()
    for plan, change in (("standard", "downgrade"), ("growth", "keep")):
        assert (
            checkout.change_plan(world.api, world.stripe, world.organization_id, plan, by="user:1", now=world.now)
            == change
        )
    world.pass_time(31 * DAY)
    world.settle()
    assert world.rows("SELECT plan FROM subscriptions") == [("growth",)]


def test_a_trial_is_metered_and_its_end_is_told_three_days_before(world: StripeWorld) -> None:
    customer = gateway.ensure_customer(world.stripe, str(world.organization_id), "Org")
    prices = world.rows(
        "SELECT id FROM stripe_prices WHERE plan = 'standard' AND retired_at IS NULL ORDER BY part = 'overage'"
    )
    ends = START + 14 * DAY
    items = "&".join(f"items[{n}][price]={price}" for n, (price,) in enumerate(prices))
    given = f"customer={customer}&trial_end={int(ends.timestamp())}&{items}"
    assert world.fake.form("POST", "/v1/subscriptions", given).status_code == 200
    world.settle()
    world.pass_time(HOUR)
    world.book(9)
    world.pass_time(HOUR)
    send(world)
    assert world.rows("SELECT sent_units FROM meter_hours") == [(9,)]
    world.pass_time(10 * DAY)
    world.settle()
    assert "billing.trial_ending" not in world.outbox()
    world.pass_time(DAY)
    for _ in range(3):
        world.settle()
    assert world.outbox().count("billing.trial_ending") == 1
    world.pass_time(3 * DAY)
    world.book(1)
    world.settle()
    periods = world.rows("SELECT starts_at, ends_at FROM billing_periods WHERE plan = 'standard' ORDER BY starts_at")
    assert periods == [(START, ends), (ends, ends.replace(month=1, year=2027))]


def test_promotion_codes_are_stripes(world: StripeWorld) -> None:
    world.fake.form("POST", "/v1/coupons", "id=half&duration=once&percent_off=50")
    world.fake.form("POST", "/v1/promotion_codes", "promotion[type]=coupon&promotion[coupon]=half&code=SPRING")
    with pytest.raises(CheckoutRefused, match="not valid"):
        world.check_out(promotion_code="NOPE")
    made = world.check_out(promotion_code="spring")
    session = world.fake.box.get("checkout.session", made.id)
    assert (len(session["discounts"]), "allow_promotion_codes" in session) == (1, False)


def test_what_can_not_be_asked_is_refused_in_one_line(world: StripeWorld) -> None:
    def start(plan: str) -> objects.Session:
        return checkout.start(
            world.api, world.stripe, world.organization_id, plan, urls=URLS, key="k", by="user:1", now=world.now
        )

    for plan in ("developer", "platinum"):
        with pytest.raises((CheckoutRefused, UnknownPlan), match=plan):
            start(plan)
    with pytest.raises(CheckoutRefused, match="check out a plan first"):
        checkout.portal(world.api, world.stripe, world.organization_id, URLS[0])
    with pytest.raises(CheckoutRefused, match="check out a plan first"):
        checkout.change_plan(world.api, world.stripe, world.organization_id, "growth", by="user:1", now=world.now)
    assert start("standard").id == start("standard").id  # the same key: the same session
    world.check_out()
    world.settle()
    with pytest.raises(CheckoutRefused, match="already"):
        start("standard")
    assert checkout.portal(world.api, world.stripe, world.organization_id, URLS[0]).startswith(
        "https://billing.stripe."
    )
