"""Checkout, portal and another plan over HTTP: who may, what is answered, and that pages are Stripe's."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from billing import stripe_prices
from billing.plans import plans
from tests.integration.api_world import World
from tests.stack.stripe import FakeStripe

EMAIL = "billing-routes@example.org"
ORDER = {"plan": "standard"}


@pytest.fixture
def connected(api_world: World, fake_stripe: FakeStripe) -> Iterator[World]:
    """The API with a Stripe."""
    stripe = fake_stripe.connect()
    meter = stripe_prices.sync_meter(stripe)
    with psycopg.connect(api_world.database.url(), autocommit=True) as owner:
        for plan in plans():
            made = stripe_prices.sync_plan(stripe, meter, plan)
            stripe_prices.store(owner, plan, made, datetime.now(UTC), livemode=False)
    served = api_world.serving
    served.stripe, served.console_url = stripe, "https://console.example"
    try:
        yield api_world
    finally:
        served.stripe, served.console_url = None, ""
        with psycopg.connect(api_world.database.url(), autocommit=True) as owner:
            owner.execute("DELETE FROM stripe_prices")


def test_an_owner_orders_a_plan_at_stripe(connected: World) -> None:
    headers = connected.bearer(EMAIL) | {"Idempotency-Key": "order-1"}
    ask = connected.client
    assert ask.post("/v1/billing/portal", headers=headers).status_code == 409
    first = ask.post("/v1/billing/checkout", json=ORDER, headers=headers)
    assert first.status_code == 201, first.text
    assert first.json()["url"].startswith("https://checkout.stripe.example/")
    assert ask.post("/v1/billing/checkout", json=ORDER, headers=headers).json() == first.json()
    assert ask.post("/v1/billing/portal", headers=headers).status_code == 201
    known = ask.get("/v1/billing/subscription", headers=headers).json()
    assert known == {
        "customer": True,
        "plan": "developer",
        "subscribed": False,
        "next_plan": None,
        "period_end": None,
    }, "only Stripe's event makes it a subscription"
    gold = ask.post("/v1/billing/checkout", json={"plan": "gold"}, headers=connected.bearer(EMAIL))
    assert (gold.status_code, gold.headers["content-type"]) == (422, "application/problem+json")
    assert ask.put("/v1/billing/plan", json=ORDER, headers=headers).status_code == 409


def test_no_key_and_no_installation_without_stripe_orders(api_world: World) -> None:
    key, owner = api_world.key(EMAIL), api_world.bearer(EMAIL)
    for method, path, body in (
        ("POST", "/v1/billing/checkout", ORDER),
        ("POST", "/v1/billing/portal", None),
        ("PUT", "/v1/billing/plan", ORDER),
    ):
        assert api_world.client.request(method, path, json=body, headers=key).status_code == 403
        refused = api_world.client.request(method, path, json=body, headers=owner)
        assert refused.status_code == 409
        assert "STRIPE_API_KEY" in refused.json()["detail"]
