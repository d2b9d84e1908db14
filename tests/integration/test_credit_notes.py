"""Credits of closed periods become credit notes at Stripe, each once, whatever happens between."""

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from billing import alarms, credit_notes
from tests.integration.stripe_world import StripeWorld, stripe_world
from tests.stack.database import Database
from tests.stack.stripe import FakeStripe

DAY = timedelta(days=1)


@pytest.fixture
def world(database: Database, fake_stripe: FakeStripe) -> Iterator[StripeWorld]:
    """A month on standard, whose invoice is a draft for another hour, and a credit of 3 cents for it."""
    with stripe_world(database, fake_stripe) as made:
        made.check_out()
        made.settle()
        period_start, ends, customer = made.rows("SELECT period_start, period_end, customer_id FROM subscriptions")[0]
        made.pass_time(ends + timedelta(minutes=1) - made.now)
        made.settle()
        note(made, 3, period_start, customer)
        yield made


def note(world: StripeWorld, cents: int, period_start: Any, customer: str) -> None:
    world.owner.execute(
        "INSERT INTO credit_notes (organization_id, id, period_start, customer_id, units, cents, reason, created_at)"
        " VALUES (%s, %s, %s, %s, 30, %s, 'false positive', %s)",
        (world.organization_id, uuid4(), period_start, customer, cents, world.now),
    )


def issue(world: StripeWorld, crash: Any = lambda _name: None) -> dict[str, int]:
    return credit_notes.issue_due(world.meter_role, world.stripe, world.now, random.Random(1), crash)


def state(world: StripeWorld) -> list[Any]:
    return [row[0] for row in world.rows("SELECT state FROM credit_notes ORDER BY cents")]


def final(world: StripeWorld) -> None:
    world.pass_time(timedelta(hours=2))
    world.settle()


def test_it_waits_for_the_final_invoice_and_is_issued_once(world: StripeWorld) -> None:
    assert issue(world) == {"waits": 1}
    final(world)
    assert issue(world) == {"issued": 1}
    assert issue(world) == {}
    (made,) = world.fake.box.all("credit_note")
    (cycle,) = [i for i in world.fake.box.all("invoice") if i["billing_reason"] == "subscription_cycle"]
    assert (made["amount"], made["invoice"], state(world)) == (3, cycle["id"], ["issued"])
    assert world.rows("SELECT stripe_id FROM credit_notes") == [(made["id"],)]


def test_a_credit_of_no_cent_is_none(world: StripeWorld) -> None:
    period_start, customer = world.rows("SELECT period_start, customer_id FROM credit_notes")[0]
    note(world, 0, period_start, customer)
    assert issue(world) == {"waits": 1, "nothing_due": 1}


@pytest.mark.parametrize("fault", ["drop_applied", "error_applied", "drop", "die"])
def test_an_answer_that_is_lost_makes_no_second_note_even_after_days(world: StripeWorld, fault: str) -> None:
    class Died(BaseException):
        pass

    def die(name: str) -> None:
        if fault == "die" and name == "credits:after-send-before-mark":
            raise Died

    final(world)
    if fault == "die":
        with pytest.raises(Died):
            issue(world, die)
    else:
        world.fake.fail(fault, left=1, path="/v1/credit_notes", method="POST")
        assert issue(world) == {"unanswered": 1}
    world.pass_time(2 * DAY)  # the idempotency key is forgotten by then
    assert issue(world) == {"issued": 1}
    assert len(world.fake.box.all("credit_note")) == 1


def test_a_refusal_rings(world: StripeWorld) -> None:
    final(world)
    world.owner.execute("UPDATE credit_notes SET cents = 1000000")
    assert issue(world) == {"refused": 1}
    assert (state(world), alarms.ringing(world.meter_role)) == (["refused"], {"credit_note_refused": 1})
