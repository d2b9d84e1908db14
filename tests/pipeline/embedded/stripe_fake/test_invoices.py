"""Subscriptions, invoices and what they charge; checkout, portal, coupons; events and signed webhooks."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import stripe

from billing import stripe_gateway as gateway
from billing import stripe_objects as objects
from billing import stripe_orders as orders
from billing.plans import latest
from billing.stripe_prices import sync_meter, sync_plan
from pipeline.embedded.stripe_fake.periods import months_after
from tests.stack.stripe import FakeStripe

BEGAN = datetime(2026, 1, 31, 10, 37, tzinfo=UTC)
HOUR = int(datetime(2026, 2, 3, 5, tzinfo=UTC).timestamp())


@pytest.fixture
def subscribed(fake_stripe: FakeStripe) -> tuple[gateway.Connection, gateway.Meter, objects.Subscription]:
    fake_stripe.move(BEGAN)
    return subscribe(fake_stripe, "standard")


def subscribe(fake_stripe: FakeStripe, plan: str) -> tuple[gateway.Connection, gateway.Meter, objects.Subscription]:
    at = fake_stripe.connect()
    meter = sync_meter(at)
    prices = sync_plan(at, meter, latest(plan))
    return at, meter, orders.ensure_subscription(at, gateway.ensure_customer(at, "org", "Org"), prices)


@pytest.mark.parametrize(
    ("plan", "units", "cents"),
    [
        ("standard", 0, 4900),
        ("standard", 50_000, 4900),
        ("standard", 50_001, 4900),
        ("standard", 50_005, 4901),
        ("standard", 55_000, 5400),
        ("standard", 60_000, 5900),
        ("standard", 75_000, 7400),
        ("growth", 600_000, 29_900),
    ],
)
def test_the_next_invoice_is_the_price_of_the_plan(fake_stripe: FakeStripe, plan: str, units: int, cents: int) -> None:
    fake_stripe.move(BEGAN)
    at, meter, subscription = subscribe(fake_stripe, plan)
    fake_stripe.say("clock", {"to": HOUR + 7200})
    gateway.send_meter_event(at, meter, subscription.customer, units, HOUR, "one")
    assert sum(line.amount for line in gateway.preview_invoice(at, subscription.id)) == cents


def test_usage_counts_in_the_period_that_holds_the_start_of_its_hour(
    fake_stripe: FakeStripe, subscribed: tuple[gateway.Connection, gateway.Meter, objects.Subscription]
) -> None:
    at, meter, subscription = subscribed
    fake_stripe.say("clock", {"by": 7200})
    began = int(BEGAN.timestamp())
    first = began - began % 3600
    gateway.send_meter_event(at, meter, subscription.customer, 60_000, first, "before")
    assert sum(line.amount for line in gateway.preview_invoice(at, subscription.id)) == 4900
    gateway.send_meter_event(at, meter, subscription.customer, 60_000, first + 3600, "inside")
    assert sum(line.amount for line in gateway.preview_invoice(at, subscription.id)) == 5900


def test_periods_return_to_the_anchor_clamped_to_the_months_end(
    fake_stripe: FakeStripe, subscribed: tuple[gateway.Connection, gateway.Meter, objects.Subscription]
) -> None:
    at, _, subscription = subscribed
    ends = []
    for _ in range(3):
        now = objects.read_subscription(at, subscription.id)
        ends.append(datetime.fromtimestamp(now.period_end, UTC))
        fake_stripe.say("clock", {"to": now.period_end})
    assert [(e.month, e.day, e.hour, e.minute) for e in ends] == [(2, 28, 10, 37), (3, 31, 10, 37), (4, 30, 10, 37)]
    assert months_after(int(BEGAN.timestamp()), 12) == int(BEGAN.replace(year=2027).timestamp())


def test_a_period_that_ends_is_invoiced_with_its_usage_after_an_hour_of_grace(
    fake_stripe: FakeStripe, subscribed: tuple[gateway.Connection, gateway.Meter, objects.Subscription]
) -> None:
    at, meter, subscription = subscribed
    fake_stripe.say("clock", {"to": HOUR + 7200})
    gateway.send_meter_event(at, meter, subscription.customer, 55_000, HOUR, "one")
    fake_stripe.say("clock", {"to": subscription.period_end + 60})
    gateway.send_meter_event(at, meter, subscription.customer, 60_000, HOUR + 1, "two")
    listed = fake_stripe.form("GET", f"/v1/invoices?customer={subscription.customer}").json()["data"]
    assert [(i["status"], i["total"], i["billing_reason"]) for i in listed] == [
        ("draft", 5900, "subscription_cycle"),
        ("paid", 4900, "subscription_create"),
    ]
    fake_stripe.say("clock", {"by": 3600})
    final = fake_stripe.form("GET", f"/v1/invoices/{listed[0]['id']}").json()
    assert (final["status"], final["total"], final["amount_paid"]) == ("paid", 5900, 5900)
    note = fake_stripe.form("POST", "/v1/credit_notes", f"invoice={final['id']}&amount=100")
    assert note.status_code == 200
    assert fake_stripe.form("POST", "/v1/credit_notes", f"invoice={final['id']}&amount=5801").status_code == 400


def test_a_declined_card_leaves_the_invoice_open(
    fake_stripe: FakeStripe, subscribed: tuple[gateway.Connection, gateway.Meter, objects.Subscription]
) -> None:
    _, _, subscription = subscribed
    fake_stripe.form("POST", f"/v1/customers/{subscription.customer}", "metadata[fake_card]=declined")
    fake_stripe.say("clock", {"by": 3600})
    newest = fake_stripe.form("GET", "/v1/events").json()["data"][1]  # the newest says that it is past due
    assert newest["type"] == "invoice.payment_failed"


def test_cancelling_invoices_the_usage_so_far_and_ends(
    fake_stripe: FakeStripe, subscribed: tuple[gateway.Connection, gateway.Meter, objects.Subscription]
) -> None:
    at, meter, subscription = subscribed
    fake_stripe.say("clock", {"to": HOUR + 7200})
    gateway.send_meter_event(at, meter, subscription.customer, 55_000, HOUR, "one")
    ended = fake_stripe.form("DELETE", f"/v1/subscriptions/{subscription.id}").json()
    assert ended["status"] == "canceled"
    invoice = fake_stripe.form("GET", f"/v1/invoices/{ended['latest_invoice']}").json()
    assert invoice["total"] == 500
    assert fake_stripe.form("GET", "/v1/subscriptions").json()["data"] == []


def test_a_checkout_that_is_completed_begins_the_subscription(fake_stripe: FakeStripe) -> None:
    at = fake_stripe.connect()
    prices = sync_plan(at, sync_meter(at), latest("standard"))
    customer = gateway.ensure_customer(at, "org", "Org")
    items = f"line_items[0][price]={prices[0].id}&line_items[0][quantity]=1&line_items[1][price]={prices[1].id}"
    session = fake_stripe.form("POST", "/v1/checkout/sessions", f"mode=subscription&customer={customer}&{items}").json()
    assert session["status"] == "open"
    done = fake_stripe.say("checkout/complete", {"id": session["id"]})
    assert objects.read_subscription(at, done["subscription"]).prices == (prices[0].id, prices[1].id)
    portal = fake_stripe.form("POST", "/v1/billing_portal/sessions", f"customer={customer}&return_url=http://x")
    assert portal.json()["url"].startswith("https://billing.")


def test_promotion_codes_are_unique_while_active(fake_stripe: FakeStripe) -> None:
    fake_stripe.form("POST", "/v1/coupons", "id=ten&duration=once&percent_off=10")
    code = "promotion[type]=coupon&promotion[coupon]=ten&code=TEN"
    assert fake_stripe.form("POST", "/v1/promotion_codes", code).status_code == 200
    assert fake_stripe.form("POST", "/v1/promotion_codes", code.lower()).status_code == 400
    assert len(fake_stripe.form("GET", "/v1/promotion_codes?code=ten").json()["data"]) == 1


@contextmanager
def receiver(taken: list[tuple[bytes, str]], answers: list[int]) -> Iterator[str]:
    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((body, self.headers["Stripe-Signature"]))
            self.send_response(answers.pop(0) if answers else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_webhooks_are_signed_as_stripes_library_verifies_them(fake_stripe: FakeStripe) -> None:
    fake_stripe.say("clock", {"frozen": False, "to": int(datetime.now(UTC).timestamp())})
    taken: list[tuple[bytes, str]] = []
    with receiver(taken, [500]) as url:
        fake_stripe.say("webhooks", {"url": url, "secret": "whsec_x", "hold": True})  # pragma: allowlist secret
        for name in "ab":
            fake_stripe.form("POST", "/v1/customers", f"name={name}")
        a, b = (event["id"] for event in fake_stripe.http.get("/_fake/webhooks").json())
        assert all(one["delivered"] for one in fake_stripe.say("webhooks/deliver", {"ids": [b, a, b]}))
        assert fake_stripe.http.get("/_fake/webhooks").json() == []
    assert [json.loads(body)["id"] for body, _ in taken] == [b, b, a, b]  # the first was answered with 500
    for body, header in taken:
        stripe.Webhook.construct_event(body, header, "whsec_x")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(taken[0][0], taken[0][1], "whsec_y")


def test_webhooks_never_leave_the_machine(fake_stripe: FakeStripe) -> None:
    answer = fake_stripe.http.post("/_fake/webhooks", json={"url": "http://example.com", "secret": "x"})
    assert answer.status_code == 400
