"""The plan as a tenant changes it: pages of Stripe's, what is planned, and what is refused, on the stateful fake Stripe."""

from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.accounts.errors import Conflict, Invalid
from pipeline.tenants import plan
from pipeline.tenants.plan import NotConnected, StripeAway
from tests.integration.stripe_world import StripeWorld, stripe_world
from tests.stack.database import Database
from tests.stack.stripe import FakeStripe

CONSOLE = "https://console.example"


@pytest.fixture
def world(database: Database, fake_stripe: FakeStripe) -> Iterator[StripeWorld]:
    with stripe_world(database, fake_stripe) as made:
        yield made


def check_out(world: StripeWorld, name: str = "standard", **changed: Any) -> str:
    said: dict[str, Any] = {
        "console_url": CONSOLE,
        "key": "one",
        "promotion_code": "",
        "by": "user/1",
        "now": world.now,
        "stripe": world.stripe,
    } | changed
    stripe = said.pop("stripe")
    return plan.check_out(world.api, stripe, world.organization_id, name, **said).url


def change(world: StripeWorld, name: str) -> str:
    return plan.change(world.api, world.stripe, world.organization_id, name, by="user/1", now=world.now).change


def tell(world: StripeWorld) -> None:
    """Stripe says that the subscription got a schedule, which the fake does by itself for other changes only."""
    (subscription,) = world.fake.box.all("subscription")
    event = {"id": "evt_schedule", "type": "customer.subscription.updated", "livemode": False}
    more = {"created": int(world.now.timestamp()), "data": {"object": {"id": subscription["id"]}}}
    world.receive(event | more)
    world.settle()


def test_from_the_free_plan_up_down_and_out(world: StripeWorld) -> None:
    free = plan.subscribed(world.api, world.organization_id)
    assert (free.plan, free.customer, free.subscribed, free.next_plan) == ("developer", False, False, None)
    url = check_out(world)
    assert url.startswith("https://checkout.stripe.example/")
    assert check_out(world) == url, "the same key, the same page"
    assert plan.subscribed(world.api, world.organization_id).customer
    session = next(iter(world.fake.box.objects["checkout.session"].values()))
    assert session["success_url"] == f"{CONSOLE}/billing?done=checkout"
    world.fake.say("checkout/complete", {"id": session["id"]})
    world.settle()
    assert plan.subscribed(world.api, world.organization_id).plan == "standard"
    portal = plan.portal(world.api, world.stripe, world.organization_id, console_url=CONSOLE)
    assert portal.url.startswith("https://")
    with pytest.raises(Conflict, match="there is a subscription to standard already"):
        check_out(world, "growth", key="two")
    assert change(world, "growth") == "upgrade"
    world.settle()
    assert plan.subscribed(world.api, world.organization_id).plan == "growth"
    assert change(world, "standard") == "downgrade"
    tell(world)
    planned = plan.subscribed(world.api, world.organization_id)
    assert (planned.plan, planned.next_plan) == ("growth", "standard")
    assert planned.period_end is not None
    assert planned.period_end > world.now
    assert change(world, "growth") == "keep"
    assert change(world, "developer") == "cancel"
    world.settle()
    assert plan.subscribed(world.api, world.organization_id).next_plan == "developer"
    acted = [row[0] for row in world.rows("SELECT action FROM billing_actions WHERE actor = 'user/1' ORDER BY seq")]
    assert acted == [
        "customer.link",
        "checkout.start",
        "checkout.start",
        *(f"plan.{c}" for c in ("upgrade", "downgrade", "keep", "cancel")),
    ]


def test_what_can_not_be_asked_is_refused_in_a_line(world: StripeWorld) -> None:
    with pytest.raises(Invalid, match="no plan 'gold'"):
        check_out(world, "gold")
    with pytest.raises(Conflict, match="costs nothing"):
        check_out(world, "developer")
    with pytest.raises(Conflict, match="promotion code"):
        check_out(world, promotion_code="NONE")
    with pytest.raises(Conflict, match="check out a plan first"):
        plan.portal(world.api, world.stripe, world.organization_id, console_url=CONSOLE)
    with pytest.raises(Conflict, match="check out a plan first"):
        change(world, "growth")
    with pytest.raises(Invalid):
        change(world, "gold")
    for missing in ({"stripe": None}, {"console_url": ""}):
        with pytest.raises(NotConnected, match="STRIPE_API_KEY"):
            check_out(world, **missing)
    assert world.rows("SELECT 1 FROM billing_customers") == []


def test_stripe_being_away_changes_nothing_and_says_so(world: StripeWorld) -> None:
    world.fake.fail("drop")
    with pytest.raises(StripeAway):
        check_out(world)
    assert world.rows("SELECT 1 FROM billing_actions WHERE actor = 'user/1'") == []
    world.fake.heal()
    assert check_out(world).startswith("https://")
    world.owner.execute("UPDATE stripe_prices SET retired_at = now()")
    with pytest.raises(Conflict, match="ask whoever runs this installation"):
        check_out(world, "growth", key="two")
