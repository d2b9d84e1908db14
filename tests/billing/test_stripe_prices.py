"""Prices at Stripe against the fake: made once, a dry run that shows the difference, and nothing of anybody else's taken."""

import pytest

from billing import stripe_gateway as gateway
from billing.plans import latest, plans
from billing.stripe_prices import EVENT_NAME, Difference, differences, sync_meter, sync_plan, wanted
from tests.stack.stripe import FakeStripe


def test_a_dry_run_shows_what_is_missing_and_makes_nothing(fake_stripe: FakeStripe) -> None:
    at = fake_stripe.connect()
    found = differences(at, plans())
    assert found[0] == Difference(f"meter {EVENT_NAME}: missing", can_be_made=True)
    assert [d.said for d in found[1:]] == [f"price {w.lookup_key}: missing" for p in plans() for w in wanted(p)]
    assert {entry["method"] for entry in fake_stripe.box.log} == {"GET"}


def test_after_syncing_nothing_differs_however_often(fake_stripe: FakeStripe) -> None:
    at = fake_stripe.connect()
    for _ in range(2):
        meter = sync_meter(at)
        for plan in plans():
            sync_plan(at, meter, plan)
        assert differences(at, plans()) == ()
    assert len(fake_stripe.box.all("price")) == sum(len(wanted(plan)) for plan in plans())


@pytest.mark.parametrize("made", ["unit_amount=5000", "unit_amount=4900&active=false"])
def test_a_price_of_our_name_that_costs_something_else_is_refused(fake_stripe: FakeStripe, made: str) -> None:
    at = fake_stripe.connect()
    meter = sync_meter(at)
    product = gateway.ensure_product(at, "driftlock-standard", "x")
    price = f"product={product}&currency=usd&lookup_key=standard-v1-flat&recurring[interval]=month&{made}"
    assert fake_stripe.form("POST", "/v1/prices", price).status_code == 200
    (difference,) = [d for d in differences(at, [latest("standard")]) if not d.can_be_made]
    assert "standard-v1-flat" in difference.said
    with pytest.raises(gateway.StripeRefused, match="another than the plan's"):
        sync_plan(at, meter, latest("standard"))


def test_a_meter_that_does_not_sum_by_hour_is_shown_as_refused(fake_stripe: FakeStripe) -> None:
    form = f"display_name=A&event_name={EVENT_NAME}&default_aggregation[formula]=sum"
    fake_stripe.form("POST", "/v1/billing/meters", form)
    (first, *_) = differences(fake_stripe.connect(), plans())
    assert ("does not sum by hour" in first.said, first.can_be_made) == (True, False)
