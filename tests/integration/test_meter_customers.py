"""The sender and the applier together: a customer that is relinked, totals that Stripe rejects after it took them."""

import contextlib
import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from billing import alarms
from billing import stripe_gateway as gateway
from billing.meter import Report, send_due_hours, waiting
from billing.reconcile import reconcile
from tests.integration.meter_world import Died
from tests.integration.stripe_world import StripeWorld, stripe_world
from tests.integration.test_stripe_stories import send
from tests.stack.database import Database
from tests.stack.stripe import FakeStripe

HOUR = timedelta(hours=1)


@pytest.fixture
def world(database: Database, fake_stripe: FakeStripe) -> Iterator[StripeWorld]:
    """On standard for an hour, with 7 units that are at Stripe."""
    with stripe_world(database, fake_stripe) as made:
        made.check_out()
        made.settle()
        made.pass_time(HOUR)
        made.book(7)
        made.pass_time(HOUR)
        made.settle()
        send(made)
        yield made


def new_customer(world: StripeWorld, *, delete: bool = True) -> str:
    """The old customer is deleted at Stripe, and another of the same organization subscribes."""
    old = world.rows("SELECT id FROM billing_customers")[0][0]
    if delete:
        world.fake.form("DELETE", f"/v1/customers/{old}")
    metadata = f"name=Org&metadata[organization_id]={world.organization_id}"
    made = str(world.fake.form("POST", "/v1/customers", metadata).json()["id"])
    subscribe(world, made)
    return made


def subscribe(world: StripeWorld, customer: str) -> None:
    """A customer subscribes to standard at Stripe."""
    prices = world.rows("SELECT id FROM stripe_prices WHERE plan = 'standard' ORDER BY part = 'overage'")
    items = "&".join(f"items[{n}][price]={price}" for n, (price,) in enumerate(prices))
    assert world.fake.form("POST", "/v1/subscriptions", f"customer={customer}&{items}").status_code == 200


def test_a_relinked_customer_gets_rows_of_its_own_and_the_old_ones_are_frozen(world: StripeWorld) -> None:
    new = new_customer(world)
    began = world.now
    world.pass_time(HOUR)
    world.book(100)  # of an hour after the new subscription's start, booked before anybody knew of it
    world.settle()
    links = world.rows("SELECT id = %s, unlinked_at IS NULL FROM billing_customers ORDER BY linked_at", new)
    assert links == [(False, False), (True, True)]
    world.book(20)
    world.pass_time(HOUR)
    send(world)
    hours = world.rows("SELECT customer_id = %s, state, sent_units FROM meter_hours ORDER BY hour, 1", new)
    assert [row for row in hours if row[0]] == [(True, "sent", 120)]
    assert {row[1] for row in hours if not row[0]} == {"frozen"}
    until = world.now.replace(minute=0)
    found = reconcile(world.meter_role, world.stripe, world.meter, until - 48 * HOUR, until)
    assert (found.differences, found.stripe_units) == ((), 120)
    (linked,) = world.rows("SELECT linked_at FROM billing_customers WHERE id = %s", new)
    assert linked[0] == began
    # A replaced customer that changes again changes nothing here, and nothing is sent for it.
    assert world.settle() == []
    assert waiting(world.meter_role, world.now) == (0, None)


def test_a_replaced_customer_that_subscribes_again_rings_and_stands_in_nobodys_way(world: StripeWorld) -> None:
    old = world.rows("SELECT id FROM billing_customers")[0][0]
    world.fake.form("DELETE", f"/v1/subscriptions/{world.rows('SELECT id FROM subscriptions')[0][0]}")
    new = new_customer(world, delete=False)
    world.pass_time(HOUR)
    world.settle()
    assert world.rows("SELECT id FROM billing_customers WHERE unlinked_at IS NULL") == [(new,)]
    subscribe(world, old)
    for _ in range(5):
        world.pass_time(HOUR)
        world.settle()
    assert alarms.ringing(world.hooks)["customer_conflict"] == 1
    (live,) = world.rows("SELECT id, customer_id FROM subscriptions WHERE status = 'active'")
    assert live[1] == new
    world.fake.form("POST", f"/v1/subscriptions/{live[0]}", "metadata[seen]=1")
    assert "applied" in {done.became for done in world.settle()}


def test_what_never_reached_stripe_for_a_replaced_customer_rings(world: StripeWorld) -> None:
    world.book(30)
    world.pass_time(HOUR)
    new_customer(world)
    world.pass_time(timedelta(minutes=1))
    world.settle()
    assert report(world) == Report()
    assert alarms.ringing(world.hooks) == {"frozen_unsent": 1}
    (said,) = world.rows("SELECT said FROM alarms")[0]
    assert "1 hours (30 units)" in said


def test_a_total_that_is_on_its_way_when_its_customer_is_replaced_does_not_thaw_its_hour(world: StripeWorld) -> None:
    world.book(30)
    world.pass_time(HOUR)
    new_customer(world)
    world.pass_time(timedelta(minutes=1))
    became: list[str] = []

    def replaced(point: str) -> None:
        if point == "meter:after-send-before-mark":
            became.extend(done.became for done in world.settle() if done.event.type == "customer.subscription.created")

    send_due_hours(world.meter_role, world.stripe, world.meter, lambda: world.now, random.Random(1), replaced)
    assert became == ["retried"]  # the sender has the customer: the applier comes again, and loses no attempt
    assert world.rows("SELECT DISTINCT attempts FROM stripe_events") == [(0,)]
    world.pass_time(timedelta(minutes=1))
    world.settle()
    assert world.rows("SELECT count(*) FROM billing_customers WHERE unlinked_at IS NOT NULL") == [(1,)]
    assert world.rows("SELECT DISTINCT state FROM meter_hours") == [("frozen",)]


def test_a_total_without_an_answer_when_its_customer_is_replaced_rings(world: StripeWorld) -> None:
    world.book(30)
    world.pass_time(HOUR)

    def die(point: str) -> None:
        if point == "meter:before-send":
            raise Died

    with contextlib.suppress(Died):
        send_due_hours(world.meter_role, world.stripe, world.meter, lambda: world.now, random.Random(1), die)
    assert world.rows("SELECT sent_units, sent_version FROM meter_hours ORDER BY hour DESC LIMIT 1") == [(30, 0)]
    new_customer(world)
    world.pass_time(timedelta(minutes=1))
    world.settle()
    assert report(world) == Report()
    assert alarms.ringing(world.hooks) == {"frozen_unsent": 1}
    (said,) = world.rows("SELECT said FROM alarms")[0]
    assert "1 hours (30 units)" in said


def test_units_that_come_for_a_customer_after_it_was_replaced_ring_and_are_not_sent(world: StripeWorld) -> None:
    before = world.now
    new_customer(world)
    world.pass_time(HOUR)
    world.settle()
    assert alarms.ringing(world.hooks) == {}
    world.book(4, before - HOUR)  # an hour that is there, and one of the old customer that is not
    world.book(5, before)
    world.pass_time(HOUR)
    assert report(world) == Report()
    assert alarms.ringing(world.hooks) == {"frozen_unsent": 1}
    (said,) = world.rows("SELECT said FROM alarms")[0]
    assert "2 hours (9 units)" in said


def test_a_total_that_is_rejected_later_rings_and_is_sent_again(world: StripeWorld) -> None:
    world.fake.say("webhooks", {"url": "http://127.0.0.1:9/", "secret": "s", "hold": True})
    world.fake.say("usage", {"rejects_later": True})
    world.fake.form("POST", f"/v1/billing/meters/{world.meter.id}/deactivate")
    world.book(5)
    world.pass_time(HOUR)
    send(world)
    assert world.rows("SELECT state FROM meter_hours ORDER BY hour DESC LIMIT 1") == [("sent",)]  # Stripe took it
    world.settle()
    assert alarms.ringing(world.hooks) == {"meter_rejected": 1}
    (said,) = world.rows("SELECT said FROM alarms")[0]
    assert "1 meter events rejected: no_meter" in said
    assert world.rows("SELECT state FROM meter_hours ORDER BY hour DESC LIMIT 1") == [("unconfirmed",)]
    world.fake.form("POST", f"/v1/billing/meters/{world.meter.id}/reactivate")
    for _ in range(6):
        world.pass_time(timedelta(minutes=10))
        send(world)
    assert world.rows("SELECT state, sent_units FROM meter_hours ORDER BY hour DESC LIMIT 1") == [("confirmed", 5)]
    until = world.now.replace(minute=0)
    assert reconcile(world.meter_role, world.stripe, world.meter, until - 48 * HOUR, until).differences == ()


def test_a_customer_that_stripe_does_not_have_yet_is_tried_later(world: StripeWorld) -> None:
    customer = world.rows("SELECT id FROM billing_customers")[0][0]
    kept = world.fake.box.objects["customer"].pop(customer)
    world.book(5)
    world.pass_time(HOUR)
    assert report(world).refused == 1
    assert report(world).refused == 0  # not before an hour is over
    world.fake.box.objects["customer"][customer] = kept
    world.pass_time(HOUR)
    assert report(world).sent == 1


def report(world: StripeWorld) -> Report:
    return send_due_hours(world.meter_role, world.stripe, world.meter, lambda: world.now, random.Random(1))


def test_an_event_that_exists_with_another_value_is_no_success(world: StripeWorld) -> None:
    customer = world.rows("SELECT id FROM billing_customers")[0][0]
    world.book(5)
    hour = world.now.replace(minute=0)
    identifier = f"{customer}:{world.meter.id}:{hour:%Y%m%dT%H}:1.1"
    gateway.send_meter_event(world.stripe, world.meter, customer, 4, int(hour.timestamp()) + 1, identifier)
    world.pass_time(HOUR)
    assert (report(world).repeated, report(world).sent) == (0, 1)
    assert world.rows("SELECT version, state FROM meter_hours ORDER BY hour DESC LIMIT 1") == [(2, "unconfirmed")]
