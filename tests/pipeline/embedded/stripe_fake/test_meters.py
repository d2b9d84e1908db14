"""Meter events as Stripe documents them: windows, identifiers, times, whole numbers, summaries."""

import pytest

from pipeline.embedded.stripe_fake import usage
from tests.stack.stripe import FakeStripe

HOUR = 1_763_906_400 - 1_763_906_400 % 3600


@pytest.fixture
def meter(fake_stripe: FakeStripe) -> str:
    fake_stripe.say("clock", {"to": HOUR + 7200})
    made = fake_stripe.form(
        "POST",
        "/v1/billing/meters",
        "display_name=A&event_name=a&default_aggregation[formula]=sum&event_time_window=hour",
    )
    fake_stripe.form("POST", "/v1/billing/meters", "display_name=R&event_name=raw&default_aggregation[formula]=sum")
    assert made.status_code == 200
    return str(made.json()["id"])


@pytest.fixture
def customer(fake_stripe: FakeStripe) -> str:
    return str(fake_stripe.form("POST", "/v1/customers", "name=c").json()["id"])


def event(
    fake_stripe: FakeStripe, customer: str, value: str = "5", at: int = HOUR, identifier: str = "", name: str = "a"
) -> tuple[int, str | None]:
    given = f"&identifier={identifier}" if identifier else ""
    answer = fake_stripe.form(
        "POST",
        "/v1/billing/meter_events",
        f"event_name={name}&timestamp={at}&payload[stripe_customer_id]={customer}&payload[value]={value}{given}",
    )
    return answer.status_code, answer.json().get("error", {}).get("message")


def shown(
    fake_stripe: FakeStripe, meter: str, customer: str, extra: str = "&value_grouping_window=hour"
) -> list[float]:
    answer = fake_stripe.form(
        "GET",
        f"/v1/billing/meters/{meter}/event_summaries?customer={customer}&start_time={HOUR}&end_time={HOUR + 7200}{extra}",
    )
    assert answer.status_code == 200, answer.text
    return [summary["aggregated_value"] for summary in answer.json()["data"]]


@pytest.mark.parametrize(("newest_by", "wins"), [("arrival", 3), ("timestamp", 9)])
def test_the_most_recent_event_of_an_hour_overwrites(
    fake_stripe: FakeStripe, meter: str, customer: str, newest_by: str, wins: int
) -> None:
    fake_stripe.say("usage", {"newest_by": newest_by})
    event(fake_stripe, customer, "5", HOUR + 1)
    event(fake_stripe, customer, "9", HOUR + 20)
    event(fake_stripe, customer, "3", HOUR + 10)
    event(fake_stripe, customer, "7", HOUR + 3600)
    assert shown(fake_stripe, meter, customer) == [7, wins]
    assert shown(fake_stripe, meter, customer, "") == [7 + wins]


def test_an_identifier_is_unique_for_a_day(fake_stripe: FakeStripe, meter: str, customer: str) -> None:
    assert event(fake_stripe, customer, identifier="i") == (200, None)
    assert event(fake_stripe, customer, "6", identifier="i") == (400, "An event already exists with identifier i.")
    assert shown(fake_stripe, meter, customer) == [5]
    fake_stripe.say("clock", {"by": 86_400})
    assert event(fake_stripe, customer, "6", identifier="i") == (200, None)


def test_identifiers_and_windows_take_bounded_memory(
    fake_stripe: FakeStripe, meter: str, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MOST_IDENTIFIERS", 10)
    monkeypatch.setattr(usage, "MOST_WINDOWS", 3)
    for n in range(30):
        assert event(fake_stripe, customer, at=HOUR - n * 3600, identifier=str(n)) == (200, None)
    assert len(fake_stripe.box.usage.identifiers) <= 11
    assert fake_stripe.box.usage.held == 3


@pytest.mark.parametrize(
    ("value", "at", "customer_id", "said"),
    [
        ("1.5", HOUR, "", "whole numbers"),
        ("-1", HOUR, "", "Negative"),
        ("x", HOUR, "", "Invalid meter event value"),
        ("5", HOUR + 7200 + 301, "", "5 minutes"),
        ("5", HOUR + 7200 - 35 * 86_400 - 1, "", "35 calendar days"),
        ("5", HOUR, "cus_none", "No such customer"),
    ],
)
def test_a_bad_event_is_refused(
    fake_stripe: FakeStripe, meter: str, customer: str, value: str, at: int, customer_id: str, said: str
) -> None:
    status, message = event(fake_stripe, customer_id or customer, value, at)
    assert status == 400
    assert said in str(message)
    assert shown(fake_stripe, meter, customer) == []


def test_the_borders_of_time_are_inside(fake_stripe: FakeStripe, meter: str, customer: str) -> None:
    assert event(fake_stripe, customer, at=HOUR + 7200 + 300) == (200, None)
    assert event(fake_stripe, customer, at=HOUR + 7200 - 35 * 86_400) == (200, None)


def test_an_archived_meter_takes_no_events(fake_stripe: FakeStripe, meter: str, customer: str) -> None:
    assert fake_stripe.form("POST", f"/v1/billing/meters/{meter}/deactivate").status_code == 200
    assert event(fake_stripe, customer)[0] == 400
    assert fake_stripe.form("POST", f"/v1/billing/meters/{meter}/reactivate").status_code == 200
    assert event(fake_stripe, customer)[0] == 200


def test_an_event_name_belongs_to_one_active_meter(fake_stripe: FakeStripe, meter: str) -> None:
    again = "display_name=A&event_name=a&default_aggregation[formula]=sum"
    assert fake_stripe.form("POST", "/v1/billing/meters", again).status_code == 400


def test_without_a_window_events_add_up(fake_stripe: FakeStripe, meter: str, customer: str) -> None:
    raw = next(m["id"] for m in fake_stripe.box.all("billing.meter") if m["event_name"] == "raw")
    for stamp in (HOUR, HOUR, HOUR + 120):
        event(fake_stripe, customer, at=stamp, name="raw")
    assert shown(fake_stripe, raw, customer) == [15]
    assert shown(fake_stripe, meter, customer) == []


def test_summaries_lag_and_then_agree(fake_stripe: FakeStripe, meter: str, customer: str) -> None:
    fake_stripe.say("usage", {"lag": 60})
    event(fake_stripe, customer)
    assert shown(fake_stripe, meter, customer) == []
    fake_stripe.say("clock", {"by": 60})
    assert shown(fake_stripe, meter, customer) == [5]


def test_a_late_request_lands_after_a_newer_one(fake_stripe: FakeStripe, meter: str, customer: str) -> None:
    fake_stripe.fail("drop_late", left=1, late=300)
    with pytest.raises(Exception, match="disconnected"):
        event(fake_stripe, customer, "5")
    event(fake_stripe, customer, "7", HOUR + 1)
    assert shown(fake_stripe, meter, customer) == [7]
    fake_stripe.say("clock", {"by": 300})
    assert shown(fake_stripe, meter, customer) == [5]


def test_summaries_must_align(fake_stripe: FakeStripe, meter: str, customer: str) -> None:
    path = f"/v1/billing/meters/{meter}/event_summaries?customer={customer}"
    for times in ("start_time=60&end_time=3600&value_grouping_window=hour", "start_time=1&end_time=60"):
        assert fake_stripe.form("GET", f"{path}&{times}").status_code == 400
