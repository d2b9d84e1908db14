"""Every kind of request that our gateway makes has the shape of Stripe's own specification, as stripe-mock checks it.

stripe-mock keeps no state and knows no ids; what is compared is method, path and parameters. The requests are recorded
by the fake while the gateway works through all of its functions, so that the fake can't drift into a dialect of its own.
"""

import contextlib
import inspect
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from billing import assumptions
from billing import stripe_gateway as gateway
from billing import stripe_objects as objects
from billing import stripe_orders as orders
from billing.plans import latest, plans
from billing.stripe_prices import sync_meter, sync_plan
from pipeline.embedded import components, process
from pipeline.embedded.ports import free_ports
from schemas.errors import ComponentMissing
from tests.stack.fixtures import scratch
from tests.stack.providers import needed
from tests.stack.stripe import KEY, FakeStripe

HOUR = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def stripe_mock() -> Iterator[str]:
    """The address of a running stripe-mock."""
    program = needed(_program)
    http, https = free_ports(2)
    argv: list[str | Path] = [program, "-http-addr", f"127.0.0.1:{http}", "-https-addr", f"127.0.0.1:{https}"]
    with scratch() as folder:
        child = process.start("stripe-mock", argv, log=folder / "stripe-mock.log")
        try:
            process.wait_ready(child, lambda: _answers(http), timeout_s=60)
            yield f"http://127.0.0.1:{http}"
        finally:
            process.kill(child)


def _program() -> Path:
    if found := components.stripe_mock():
        return found
    raise ComponentMissing("stripe-mock is missing: run `make components`")


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v1/customers", headers={"Authorization": f"Bearer {KEY}"}).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def requests(fake_stripe: FakeStripe) -> list[tuple[str, str, str]]:
    """(method, path, body or query) of each request of a whole story."""
    at = fake_stripe.connect()
    meter = sync_meter(at)
    assert sync_meter(at) == meter  # the second time it is found by listing
    for plan in plans():
        sync_plan(at, meter, plan)
    prices = sync_plan(at, meter, latest("standard"))
    customer = gateway.ensure_customer(at, "6f1f3e0e-8f0b-5d63-9e3b-2d4d53a5a101", "Org")
    subscription = orders.ensure_subscription(at, customer, prices)
    objects.read_subscription(at, subscription.id)
    gateway.send_meter_event(at, meter, customer, 5, HOUR, f"{customer}:{meter.id}:20261123T12:1.1")
    gateway.read_hours(at, meter, customer, HOUR, HOUR + 3600)
    gateway.preview_invoice(at, subscription.id)
    _of_the_tenant(at, fake_stripe, customer, prices)
    _of_the_applier(at, customer, subscription.id)
    assumptions.verify(at, lambda: int(fake_stripe.now().timestamp()), lambda _s: None, "contract")
    return [(entry["method"], entry["path"], entry["body"]) for entry in fake_stripe.box.log]


def _of_the_tenant(at: gateway.Connection, fake: FakeStripe, customer: str, prices: Sequence[gateway.Price]) -> None:
    """Checkout with and without a promotion code, the portal, and every change of a plan."""
    chosen = [(price.id, n == 1) for n, price in enumerate(prices)]
    urls = ("https://app.example/done", "https://app.example/left")
    fake.form("POST", "/v1/coupons", "id=half&duration=once&percent_off=50")
    fake.form("POST", "/v1/promotion_codes", "promotion[type]=coupon&promotion[coupon]=half&code=SPRING")
    code = orders.find_promotion_code(at, "SPRING") or ""
    orders.start_checkout(at, customer, "org", chosen, urls, "a", code)
    session = orders.start_checkout(at, customer, "org", chosen, urls, "b")
    objects.read_session(at, session.id)
    orders.open_portal(at, customer, urls[0])
    (found, *_) = objects.list_subscriptions(at)
    orders.change_at_period_end(at, found, chosen)
    scheduled = objects.read_subscription(at, found.id)
    assert orders.next_prices(at, scheduled, fake.now()) != ()
    orders.keep_plan(at, scheduled)
    orders.cancel_at_period_end(at, found.id)
    orders.cancel_at_period_end(at, found.id, cancel=False)
    orders.restart_on(at, objects.read_subscription(at, found.id), [price.id for price in prices])


def _of_the_applier(at: gateway.Connection, customer: str, subscription_id: str) -> None:
    """Present states, lists, and a draft that is held."""
    objects.read_customer(at, customer)
    objects.read_subscription(at, subscription_id)
    (invoice, *_) = objects.list_invoices(at, customer, 1)
    objects.read_invoice(at, invoice.id)
    assert gateway.invoice_lines(at, invoice.id) != ()
    orders.hold_invoice(at, invoice.id, hold=True)
    with contextlib.suppress(gateway.StripeRefused):  # it is a draft
        orders.credit_note(at, invoice.id, 1, "false positive", "key")
    assert orders.find_credit_note(at, invoice.id, "key") is None
    assert list(objects.list_events(at, 1)) != []


def replay(url: str, method: str, path: str, body: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/x-www-form-urlencoded"}
    if method == "GET":
        return httpx.get(f"{url}{path}?{body}", headers=headers)
    return httpx.request(method, f"{url}{path}", content=body, headers=headers)


def test_stripe_mock_accepts_every_request_of_ours(stripe_mock: str, requests: list[tuple[str, str, str]]) -> None:
    refused = []
    for request in requests:
        answer = replay(stripe_mock, *request)
        if answer.status_code != 200:
            refused.append((*request, answer.status_code, answer.json()["error"]["message"]))
    assert refused == []


def test_the_story_makes_every_request_that_the_code_knows(requests: list[tuple[str, str, str]]) -> None:
    sources = "".join(map(inspect.getsource, (gateway, objects, orders, assumptions)))
    called = set(re.findall(r"client\.v1\.([a-z_.]+)\(", sources))
    ids = r"(?<=/)(cus|sub|sub_sched|mtr_test|in|cs_test|clock)_[0-9a-f]+"
    made = {(method, re.sub(ids, "{id}", path)) for method, path, _ in requests}
    assert len(called) == len(made - FAKED), f"not in the story: {sorted(called)} against {sorted(made)}"


FAKED = {("POST", "/v1/coupons"), ("POST", "/v1/promotion_codes")}
"""What a person does at Stripe, and we never ask for."""


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/billing/meter_events", "event_name=a&payload[value]=1&identification=x"),
        ("POST", "/v1/billing/meters", "display_name=a&event_name=a&default_aggregation[formula]=sum&window=hour"),
        ("POST", "/v1/prices", "product=p&unit_amount=1"),
        ("POST", "/v1/subscriptions", "customer=c&items[0][price]=p&colection_method=send_invoice"),
    ],
)
def test_stripe_mock_and_the_fake_refuse_the_same(
    stripe_mock: str, fake_stripe: FakeStripe, method: str, path: str, body: str
) -> None:
    assert replay(stripe_mock, method, path, body).status_code == 400
    assert replay(fake_stripe.url, method, path, body).status_code == 400
