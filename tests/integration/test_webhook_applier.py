"""The applier on real PostgreSQL and the fake Stripe: present state, any order, effect and mark together."""

import itertools
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from billing import alarms, applier, events
from billing import stripe_gateway as gateway
from billing.applier import Applier
from billing.resync import backfill, resync
from tests.integration.stripe_world import SECRET, START, StripeWorld, stripe_world
from tests.stack.database import Database
from tests.stack.fixtures import fresh_database
from tests.stack.providers import Server
from tests.stack.stripe import FakeStripe

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SIX = (
    "checkout.session.completed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "invoice.paid",
    "invoice.payment_failed",
)


@pytest.fixture
def world(database: Database, fake_stripe: FakeStripe) -> Iterator[StripeWorld]:
    with stripe_world(database, fake_stripe) as made:
        yield made


def test_a_checkout_becomes_a_customer_a_subscription_and_periods(world: StripeWorld) -> None:
    world.check_out()
    world.settle()
    (subscription,) = world.rows("SELECT plan, status, anchor, period_start FROM subscriptions")
    assert subscription == ("standard", "active", START, START)
    periods = world.rows("SELECT starts_at, ends_at, plan FROM billing_periods ORDER BY starts_at")
    assert [(start, plan) for start, _, plan in periods] == [
        ((START - 2 * DAY).replace(minute=0), "developer"),
        (START, "standard"),
    ]
    assert periods[0][1] == START
    world.pass_time(HOUR)
    world.settle()
    assert world.rows("SELECT status, total_cents FROM invoices_mirror") == [("paid", 4900)]
    assert (world.access().state, world.access().shown) == ("ok", True)
    assert world.outbox() == ["billing.plan_changed"]


def six_events(world: StripeWorld) -> list[dict[str, Any]]:
    """A life of a customer in Stripe, of which nothing was heard here: paid once, then failed, then ended."""
    world.check_out()
    world.pass_time(2 * HOUR)
    world.card(declined=True)
    world.pass_time(timedelta(days=31))
    (subscription,) = world.fake.box.all("subscription")
    world.fake.form("DELETE", f"/v1/subscriptions/{subscription['id']}")
    by_type = {event["type"]: event for event in world.fake.box.events}
    return [by_type[kind] for kind in SIX]


def test_every_order_of_the_six_events_ends_in_the_same_state(
    postgres: Server, migrated_template: str, fake_stripe: FakeStripe
) -> None:
    states: list[dict[str, Any]] = []
    with fresh_database(postgres, migrated_template) as copy:
        database = Database(postgres, copy.name)
        with stripe_world(database, fake_stripe) as world:
            six = six_events(world)
            saved = _save(world)
            # A sixth of the 720 orders, others in each run; the seed that pytest prints gives them again.
            for order in random.sample(list(itertools.permutations(range(6))), 120):
                _forget(world, saved)
                _apply_in(world, [six[i] for i in order])
                states.append(world.state())
    assert states[0]["subscriptions"][0][3] == "canceled"
    assert states[0]["access"][0][0] == "cancelled"
    assert all(state == states[0] for state in states)


def test_every_order_with_duplicates_and_pauses_between_ends_in_the_same_state(world: StripeWorld) -> None:
    six = six_events(world)
    saved = _save(world)
    states = []
    for seed in range(25):
        rng = random.Random(seed)
        _forget(world, saved)
        chosen = six + rng.choices(six, k=4)
        rng.shuffle(chosen)
        for event in chosen:
            world.receive(event)
            if rng.random() < 0.5:
                world.apply()
        _apply_in(world, [])
        states.append(world.state())
    assert all(state == states[0] for state in states)


_TABLES = (
    "billing_customers",
    "subscriptions",
    "billing_periods",
    "invoices_mirror",
    "billing_access",
    "outbox",
    "stripe_events",
    "alarms",
)


def _save(world: StripeWorld) -> dict[str, list[Any]]:
    return {"billing_customers": world.rows("SELECT * FROM billing_customers"), "now": [world.now]}


def _forget(world: StripeWorld, saved: dict[str, list[Any]]) -> None:
    """Back to before anything was heard: our rows go, Stripe's stay."""
    world.now = saved["now"][0]
    with world.owner.transaction():
        world.owner.execute("SET LOCAL session_replication_role = replica")
        for table in (*_TABLES, "billing_actions", "action_heads"):
            world.owner.execute(f"DELETE FROM {table}")
        first = (START - 2 * DAY).replace(minute=0)
        world.owner.execute(
            "INSERT INTO billing_periods (organization_id, starts_at, ends_at, plan, plan_version)"
            " VALUES (%s, %s, %s + interval '1 month', 'developer', 1)",
            (world.organization_id, first, first),
        )
        for row in saved["billing_customers"]:
            world.owner.execute("INSERT INTO billing_customers VALUES (%s, %s, %s, %s, %s)", row)


def _apply_in(world: StripeWorld, chosen: list[dict[str, Any]]) -> None:
    for event in chosen:
        world.receive(event)
        world.apply()
    for _ in range(4):  # what could not be applied at first is tried again
        if not events.waiting(world.hooks)[0]:
            break
        world.now += 2 * HOUR
        world.apply()
    assert events.waiting(world.hooks) == (0, None, 0), events.listed(world.hooks, ("stored", "dead"), 9)


@pytest.mark.parametrize(
    "point", ["webhooks:after-fetch", "webhooks:after-effect-before-mark", "webhooks:after-effect-before-commit"]
)
def test_a_crash_before_the_commit_leaves_neither_effect_nor_mark(world: StripeWorld, point: str) -> None:
    class Died(BaseException):
        pass

    def die(name: str) -> None:
        if name == point:
            raise Died

    world.check_out()
    created = next(e for e in world.fresh_events() if e["type"] == "customer.subscription.created")
    world.receive(created)
    with pytest.raises(Died):
        world.apply(die)
    assert world.rows("SELECT count(*) FROM subscriptions") == [(0,)]
    assert world.rows("SELECT state, attempts FROM stripe_events") == [("stored", 0)]
    assert [done.became for done in world.apply()] == ["applied"]
    assert world.rows("SELECT count(*) FROM subscriptions") == [(1,)]


def test_a_crash_after_the_commit_applies_nothing_twice(world: StripeWorld) -> None:
    class Died(BaseException):
        pass

    def die(name: str) -> None:
        if name == "webhooks:after-commit":
            raise Died

    world.check_out()
    world.deliver([e for e in world.fresh_events() if e["type"] == "customer.subscription.created"])
    with pytest.raises(Died):
        world.apply(die)
    before = world.state()
    assert world.apply() == []
    assert world.state() == before


def test_a_type_that_nobody_knows_is_stored_and_ignored(world: StripeWorld) -> None:
    world.receive(
        {"id": "evt_x", "type": "radar.something", "livemode": False, "created": 1, "data": {"object": {"id": "x"}}}
    )
    assert [done.became for done in world.apply()] == ["ignored"]
    assert world.rows("SELECT state FROM stripe_events") == [("ignored",)]


def test_an_unknown_price_rings_at_once_and_is_never_guessed(world: StripeWorld) -> None:
    world.check_out()
    world.owner.execute("DELETE FROM stripe_prices WHERE part = 'flat'")
    world.deliver()
    created = [d for d in world.apply() if d.event.type == "customer.subscription.created"]
    assert [(d.became, "is of no plan" in d.said) for d in created] == [("retried", True)]
    assert alarms.ringing(world.hooks) == {"unknown_price": 1}
    assert world.rows("SELECT count(*) FROM subscriptions") == [(0,)]
    assert "alarm.ringing" in world.outbox()
    for _ in range(5):
        world.pass_time(3 * HOUR)
        world.apply()
    waiting, _, dead = events.waiting(world.hooks)
    assert (waiting, dead > 0) == (0, True)
    assert alarms.ringing(world.hooks)["event_dead"] == dead
    assert world.rows("SELECT max(attempts) FROM stripe_events WHERE state = 'dead'") == [(5,)]
    # The price is synced after all: what was dead is applied, and nothing rings any more.
    world.owner.execute(
        "INSERT INTO stripe_prices (id, plan, plan_version, part, synced_at) SELECT p.key, 'standard', 1, 'flat', now()"
        " FROM unnest(%s::text[]) AS p (key)",
        ([p["id"] for p in world.fake.box.all("price") if p["lookup_key"] == "standard-v1-flat"],),
    )
    assert len(events.retry(world.hooks, ())) == dead
    world.apply()
    assert world.rows("SELECT plan, status FROM subscriptions") == [("standard", "active")]
    assert alarms.ringing(world.hooks) == {}


def test_an_object_that_nobody_expected_is_dead_after_five_attempts_and_stops_no_other(world: StripeWorld) -> None:
    world.check_out()
    (subscription,) = world.fake.box.all("subscription")
    kept = subscription.pop("start_date")
    world.deliver()
    for _ in range(6):
        became = {done.became for done in world.apply()}
        world.pass_time(3 * HOUR)
    assert "ignored" in {state for (state,) in world.rows("SELECT DISTINCT state FROM stripe_events")}
    (said,) = world.rows("SELECT last_error FROM stripe_events WHERE type = 'customer.subscription.created'")[0]
    assert "in an unknown shape" in said
    assert alarms.ringing(world.hooks)["event_dead"] >= 1
    subscription["start_date"] = kept
    events.retry(world.hooks, ())
    became = {done.became for done in world.apply()}
    assert became == {"applied"}


def test_stripe_being_down_costs_no_attempt(world: StripeWorld) -> None:
    world.check_out()
    world.deliver()
    for fault in ("drop", "error", "rate_limit"):
        world.fake.fail(fault)
        assert [done.became for done in world.apply() if done.became != "ignored"] == ["down"]
        world.pass_time(timedelta(minutes=1))
    world.fake.heal()
    assert {done.became for done in world.apply()} <= {"applied", "ignored"}
    assert world.rows("SELECT max(attempts) FROM stripe_events") == [(0,)]


def test_an_event_of_a_customer_that_is_not_linked_yet_waits(world: StripeWorld) -> None:
    world.fake.form("POST", "/v1/customers", "name=stranger")
    (customer, *_) = world.fake.box.all("customer")
    price = world.rows("SELECT id FROM stripe_prices WHERE plan = 'developer'")[0][0]
    world.fake.form("POST", "/v1/subscriptions", f"customer={customer['id']}&items[0][price]={price}")
    world.deliver([e for e in world.fresh_events() if e["type"] == "customer.subscription.created"])
    assert [(d.became, "organization_id" in d.said) for d in world.apply()] == [("retried", True)]
    metadata = f"metadata[organization_id]={world.organization_id}"
    world.fake.form("POST", f"/v1/customers/{customer['id']}", metadata)
    world.pass_time(HOUR)
    assert [d.became for d in world.apply()] == ["applied"]


def test_a_second_live_subscription_is_refused_and_rings(world: StripeWorld) -> None:
    world.check_out()
    world.settle()
    (kept,) = world.rows("SELECT id, customer_id FROM subscriptions")
    price = world.rows("SELECT id FROM stripe_prices WHERE plan = 'developer'")[0][0]
    world.fake.form("POST", "/v1/subscriptions", f"customer={kept[1]}&items[0][price]={price}")
    world.settle()
    assert world.rows("SELECT id FROM subscriptions") == [(kept[0],)]
    assert alarms.ringing(world.hooks) == {"customer_conflict": 1}


def test_what_no_webhook_brought_is_found_by_the_list_and_the_resync(world: StripeWorld) -> None:
    world.check_out()
    world.pass_time(2 * HOUR)
    world.fresh_events()  # never delivered
    found = resync(world.given(), world.now - DAY)
    assert (found.events > 0, found.subscriptions, found.invoices, found.failed) == (True, 1, 1, ())
    assert world.rows("SELECT status, total_cents FROM invoices_mirror") == [("paid", 4900)]
    before = world.state()
    world.apply()
    after = world.state()
    assert {k: v for k, v in after.items() if k != "events"} == {k: v for k, v in before.items() if k != "events"}
    assert backfill(world.given(), world.now - DAY) == 0


def test_two_appliers_never_take_one_event_twice(world: StripeWorld, database: Database) -> None:
    world.check_out()
    world.deliver()
    inner: list[str] = []

    def second(name: str) -> None:
        if name == "webhooks:after-effect-before-mark":
            with psycopg.connect(database.url("driftlock_webhook"), autocommit=True) as other:
                other.execute("SET lock_timeout = '200ms'")
                found = events.take(other, world.now)
                inner.append("" if found is None else found.id)

    done = world.apply(second)
    applied = [d.event.id for d in done if d.became == "applied"]
    assert len(applied) == len(set(applied))
    assert not set(inner) & set(applied[: len(inner)]) or all(i != a for i, a in zip(inner, applied, strict=False))


def test_the_other_mode_is_refused(world: StripeWorld) -> None:
    live = gateway.Connection(world.stripe.client, livemode=True)
    with pytest.raises(gateway.LiveModeMismatch):
        applier.require_mode(world.hooks, live)
    event = {"id": "evt_l", "type": "invoice.paid", "livemode": True, "created": 1, "data": {"object": {"id": "in_1"}}}
    with pytest.raises(events.WrongMode):
        world.receive(event)
    assert SECRET.startswith("whsec_")
    assert isinstance(world.given(), Applier)
