"""The gateway against the fake: what exists is found, errors have four names, keys stay secret."""

import ast
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import billing
from billing import stripe_gateway as gateway
from billing import stripe_orders as orders
from billing.plans import latest
from billing.stripe_prices import EVENT_NAME, sync_meter, sync_plan
from schemas.errors import LiveKeyRefused, SettingsError
from tests.stack.stripe import KEY, FakeStripe

HOUR = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp())
METER = gateway.Meter("mtr_x", "x")


def test_everything_is_made_once(fake_stripe: FakeStripe) -> None:
    at = fake_stripe.connect()

    def make() -> tuple[object, ...]:
        meter = sync_meter(at)
        prices = sync_plan(at, meter, latest("standard")) + sync_plan(at, meter, latest("developer"))
        customer = gateway.ensure_customer(at, "org", "Org")
        return meter, prices, customer, orders.ensure_subscription(at, customer, prices[:2])

    first = make()
    assert make() == first
    fake_stripe.say("clock", {"by": 2 * 86_400})  # idempotency keys are forgotten, the search index has caught up
    assert make() == first
    assert gateway.find_meter(at, EVENT_NAME) == first[0]


def test_a_meter_that_does_not_sum_by_hour_is_refused(fake_stripe: FakeStripe) -> None:
    with pytest.raises(gateway.StripeRefused, match="sync-prices"):
        gateway.find_meter(fake_stripe.connect(), EVENT_NAME)
    form = f"display_name=A&event_name={EVENT_NAME}&default_aggregation[formula]=sum"
    fake_stripe.form("POST", "/v1/billing/meters", form)
    with pytest.raises(gateway.StripeRefused, match="does not sum by hour"):
        sync_meter(fake_stripe.connect())


def test_metered_prices_keep_decimal_cents(fake_stripe: FakeStripe) -> None:
    at = fake_stripe.connect()
    product = gateway.ensure_product(at, "p", "P")
    tiers = [(10, Decimal(0)), (None, Decimal("0.000000000001"))]
    price = gateway.ensure_metered_price(at, product, "k", sync_meter(at), tiers)
    made = fake_stripe.box.get("price", price.id)
    assert [(t["up_to"], t["unit_amount_decimal"]) for t in made["tiers"]] == [(10, "0"), (None, "0.000000000001")]


def sending(at: gateway.Connection) -> Callable[[], object]:
    meter = sync_meter(at)
    customer = gateway.ensure_customer(at, "org", "Org")
    return lambda: gateway.send_meter_event(at, meter, customer, 5, HOUR, "one")


def test_a_used_identifier_says_so(fake_stripe: FakeStripe) -> None:
    send = sending(fake_stripe.connect())
    send()
    with pytest.raises(gateway.StripeExists):
        send()


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ("drop", gateway.StripeUnanswered),
        ("drop_applied", gateway.StripeUnanswered),
        ("error", gateway.StripeUnanswered),
        ("error_applied", gateway.StripeUnanswered),
        ("rate_limit", gateway.StripeBusy),
    ],
)
def test_errors_have_four_names_and_nothing_is_retried(
    fake_stripe: FakeStripe, fault: str, raised: type[Exception]
) -> None:
    send = sending(fake_stripe.connect())
    fake_stripe.fail(fault, left=1)
    before = len(fake_stripe.box.log)
    with pytest.raises(raised):
        send()
    assert len(fake_stripe.box.log) == before + 1


def test_an_attempt_after_a_500_is_not_given_the_saved_500(fake_stripe: FakeStripe) -> None:
    send = sending(fake_stripe.connect())
    fake_stripe.fail("error", left=1)
    with pytest.raises(gateway.StripeUnanswered):
        send()
    send()


def test_a_client_that_waited_long_enough_gives_up(fake_stripe: FakeStripe) -> None:
    send = sending(fake_stripe.connect(timeouts=(2.0, 0.2)))
    fake_stripe.fail("drop_applied", left=1, hang=1.0)
    with pytest.raises(gateway.StripeUnanswered):
        send()


def test_an_address_where_nobody_listens_is_unanswered() -> None:
    at = gateway.connect(KEY, base="http://127.0.0.1:9")
    with pytest.raises(gateway.StripeUnanswered):
        gateway.read_hours(at, METER, "cus_x", HOUR, HOUR + 3600)


def test_summaries_of_many_hours_come_in_pages(fake_stripe: FakeStripe) -> None:
    at = fake_stripe.connect()
    meter, customer = sync_meter(at), gateway.ensure_customer(at, "org", "Org")
    for n in range(120):
        gateway.send_meter_event(at, meter, customer, n, HOUR - n * 3600, f"i{n}")
    shown = gateway.read_hours(at, meter, customer, HOUR - 119 * 3600, HOUR + 3600)
    assert shown == {HOUR - n * 3600: n for n in range(120)}


@pytest.mark.parametrize("key", ["sk_live_notasecret", "rk_live_notasecret"])
def test_a_live_key_is_refused_in_one_line(key: str) -> None:
    with pytest.raises(LiveKeyRefused) as refused:
        gateway.connect(key)
    assert "\n" not in str(refused.value)
    assert "notasecret" not in str(refused.value)
    assert gateway.connect(key, allow_live=True).livemode
    with pytest.raises(LiveKeyRefused, match="another address"):
        gateway.connect(key, allow_live=True, base="http://127.0.0.1:1")


@pytest.mark.parametrize("key", ["", "pk_test_notasecret", "notasecret", "sk_notasecret"])
def test_what_is_no_key_is_a_setting_that_is_wrong(key: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        gateway.connect(key)
    assert "notasecret" not in str(wrong.value)


def test_no_log_and_no_error_holds_the_key_or_a_request(
    fake_stripe: FakeStripe, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        at = gateway.connect("rk_test_!notasecret", base=fake_stripe.url)
        logging.getLogger("stripe").debug("never kept")
        with pytest.raises(gateway.StripeRefused) as refused:
            gateway.ensure_customer(at, "the-organization", "The Name")
    said = f"{refused.value} {refused.value.__cause__} {caplog.text}"
    assert not any(word in said for word in ("notasecret", "The Name", "never kept"))


def test_a_signature_that_is_not_ascii_is_a_bad_one() -> None:
    with pytest.raises(gateway.BadSignature, match="ASCII"):
        gateway.verify_webhook(b"{}", "t=5,v1=\xe9", ("whsec_a",), 5)


def test_stripe_is_imported_in_one_module() -> None:
    root = Path(billing.__file__).parents[1]
    importers = set()
    for package in ("billing", "pipeline", "schemas", "detectors", "dashboards"):
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                if any(name.split(".")[0] == "stripe" for name in names):
                    importers.add(path.relative_to(root).as_posix())
    assert importers == {"billing/stripe_gateway.py"}
