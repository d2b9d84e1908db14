"""`driftlock stripe verify-assumptions` against the fake: it says what the fake does, also where that differs."""

from datetime import timedelta

import pytest

from billing import assumptions
from billing import stripe_gateway as gateway
from billing.assumptions import Found
from schemas.errors import LiveKeyRefused
from tests.stack.stripe import FakeStripe


def verify(fake: FakeStripe) -> dict[str, Found]:
    def pause(seconds: int) -> None:
        fake.move(fake.now() + timedelta(seconds=seconds))

    found = assumptions.verify(fake.connect(), lambda: int(fake.now().timestamp()), pause, "t1")
    return {one.name: one for one in found}


@pytest.mark.parametrize("newest_by", ["arrival", "timestamp"])
def test_what_we_rest_on_holds_on_the_fake(fake_stripe: FakeStripe, newest_by: str) -> None:
    fake_stripe.say("usage", {"newest_by": newest_by})
    found = verify(fake_stripe)
    assert {name for name, one in found.items() if one.verdict == "not tried"} == {"re-pricing", "rate"}
    assert {name: one.seen for name, one in found.items() if one.verdict == "differs"} == {}
    assert f"by {newest_by}" in found["newest"].seen
    assert [m["status"] for m in fake_stripe.box.all("billing.meter")] == ["inactive"]


def test_summaries_that_lag_less_than_ten_minutes_are_waited_for(fake_stripe: FakeStripe) -> None:
    fake_stripe.say("usage", {"lag": 100})
    assert verify(fake_stripe)["overwrite"].verdict == "holds"


def test_a_stripe_that_does_otherwise_is_told(fake_stripe: FakeStripe) -> None:
    fake_stripe.say("usage", {"lag": 5000})
    found = verify(fake_stripe)
    assert (found["overwrite"].verdict, found["equal timestamps"].verdict) == ("differs", "differs")
    assert "shows 0" in found["overwrite"].seen


def test_a_live_key_is_refused(fake_stripe: FakeStripe) -> None:
    with pytest.raises(LiveKeyRefused):
        gateway.connect("rk_live_notasecret")
    live = gateway.Connection(fake_stripe.connect().client, livemode=True)
    with pytest.raises(gateway.LiveModeMismatch, match="sandbox only"):
        assumptions.verify(live, int, lambda _seconds: None, "t1")
    assert list(fake_stripe.box.log) == []
