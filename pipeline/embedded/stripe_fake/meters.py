"""Billing meters, meter events and event summaries (docs.stripe.com/api/billing/meter)."""

from typing import Any

from pipeline.embedded.stripe_fake import params as p
from pipeline.embedded.stripe_fake import rejections
from pipeline.embedded.stripe_fake.errors import ApiError, invalid, not_modelled
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox
from pipeline.embedded.stripe_fake.usage import RAW_SECONDS, WINDOW_SECONDS, MeterEvent

PAST_SECONDS = 35 * 86_400
AHEAD_SECONDS = 300
KIND = "billing.meter"

CREATE = p.fields(
    {
        "display_name": p.text(250),
        "event_name": p.text(100),
        "default_aggregation": p.fields({"formula": p.one_of("sum", "count", "last")}),
    },
    {
        "customer_mapping": p.fields({"type": p.one_of("by_id"), "event_payload_key": p.text(100)}),
        "event_time_window": p.one_of("hour", "day"),
        "value_settings": p.fields({"event_payload_key": p.text(100)}),
    },
)
LIST = p.fields(optional={**p.PAGE, "status": p.one_of("active", "inactive")})
EVENT = p.fields(
    {"event_name": p.text(100), "payload": p.metadata},
    {"identifier": p.text(100), "timestamp": p.whole(0)},
)
SUMMARIES = p.fields(
    {"customer": p.text(), "start_time": p.whole(0), "end_time": p.whole(0)},
    {**p.PAGE, "value_grouping_window": p.one_of("hour", "day")},
)


def create(box: Sandbox, given: dict[str, Any]) -> Object:
    """A meter; an event name belongs to one active meter only."""
    if given["default_aggregation"]["formula"] != "sum":
        raise not_modelled("meters that do not sum")
    if any(m["event_name"] == given["event_name"] and m["status"] == "active" for m in box.all(KIND)):
        raise invalid("event_name", f"An active meter already exists with event name {given['event_name']}.")
    return box.add(
        KIND,
        "mtr_test",
        {
            "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
            "event_time_window": None,
            "value_settings": {"event_payload_key": "value"},
            **given,
            "status": "active",
            "status_transitions": {"deactivated_at": None},
            "updated": box.clock.now(),
        },
    )


def listing(box: Sandbox, given: dict[str, Any]) -> Object:
    """Meters, newest first."""
    found = [m for m in box.all(KIND) if given.get("status") in (None, m["status"])]
    return p.page(found, given, "/v1/billing/meters")


def set_status(box: Sandbox, meter_id: str, status: str) -> Object:
    """Deactivate or reactivate a meter."""
    meter = box.get(KIND, meter_id)
    now = box.clock.now()
    meter.update(
        status=status,
        updated=now,
        status_transitions={"deactivated_at": now if status == "inactive" else None},
    )
    return meter


def read_event(box: Sandbox, given: dict[str, Any]) -> tuple[MeterEvent, Object]:
    """The event of a request, checked as Stripe's synchronous validation does, and the answer to it."""
    now = box.clock.now()
    meter = next(
        (m for m in box.all(KIND) if m["event_name"] == given["event_name"] and m["status"] == "active"),
        None,
    )
    if meter is None:
        raise invalid("event_name", f"No active meter found for event name {given['event_name']}.", "no_meter")
    customer = _payload(given, meter["customer_mapping"]["event_payload_key"])
    if (found := box.find("customer", customer)) is None or found.get("deleted"):
        raise invalid("payload", f"No such customer: '{customer}'", "resource_missing")
    raw = _payload(given, meter["value_settings"]["event_payload_key"])
    if not raw.isascii() or not raw.removeprefix("-").isdigit():
        raise invalid("payload", f"Invalid meter event value: {raw}; whole numbers only", "meter_event_invalid_value")
    value = int(raw)
    if value < 0:
        # Whether or not Stripe takes them: nothing of ours may ever send one.
        raise invalid("payload", f"Negative meter event value: {raw}", "meter_event_invalid_value")
    stamp = given.get("timestamp", now)
    if stamp < now - PAST_SECONDS:
        raise invalid(
            "timestamp", "The timestamp must be within the past 35 calendar days.", "timestamp_too_far_in_past"
        )
    if stamp > now + AHEAD_SECONDS:
        raise invalid("timestamp", "The timestamp must be at most 5 minutes in the future.", "timestamp_in_future")
    identifier = given.get("identifier") or box.new_id("evt")
    if box.usage.known(identifier, now):
        raise ApiError(400, f"An event already exists with identifier {identifier}.", executed=True)
    width = WINDOW_SECONDS.get(meter["event_time_window"] or "", 0)
    event = MeterEvent(meter["id"], customer, identifier, stamp, value, width or RAW_SECONDS, width > 0)
    return event, _answer(box, given, identifier, stamp)


def _answer(box: Sandbox, given: dict[str, Any], identifier: str, stamp: int) -> Object:
    return {
        "object": "billing.meter_event",
        "created": box.clock.now(),
        "event_name": given["event_name"],
        "identifier": identifier,
        "livemode": False,
        "payload": given["payload"],
        "timestamp": stamp,
    }


def _payload(given: dict[str, Any], key: str) -> str:
    if key not in given["payload"]:
        raise invalid("payload", f"The payload lacks the key {key}.", "meter_event_payload_missing")
    return str(given["payload"][key])


def send(box: Sandbox, given: dict[str, Any]) -> Object:
    """Count an event; where bad ones are rejected later, they are answered with success and reported by an event."""
    try:
        event, answer = read_event(box, given)
    except ApiError as error:
        if not box.rejects_later or error.code not in rejections.CODES:
            raise
        meter = next((m["id"] for m in box.all(KIND) if m["event_name"] == given["event_name"]), "")
        rejections.report(box, error, meter, given.get("identifier", ""))
        return _answer(box, given, given.get("identifier", ""), given.get("timestamp", box.clock.now()))
    box.usage.apply(event, box.clock.now())
    return answer


def summaries(box: Sandbox, meter_id: str, given: dict[str, Any]) -> Object:
    """Summaries of a customer, newest first: one a window of `value_grouping_window` that has events, or one in all."""
    meter = box.get(KIND, meter_id)
    box.get("customer", given["customer"], "customer")
    start, end = given["start_time"], given["end_time"]
    group = WINDOW_SECONDS.get(given.get("value_grouping_window", ""), 0)
    align = group or 60
    for name in ("start_time", "end_time"):
        if given[name] % align:
            raise invalid(name, f"{name} must align with {given.get('value_grouping_window', 'minute')} boundaries")
    if end <= start:
        raise invalid("end_time", "end_time must be after start_time")
    totals: dict[int, int] = {}
    for at, value in units_by_window(box, meter, given["customer"], start, end).items():
        bucket = at - at % group if group else start
        totals[bucket] = totals.get(bucket, 0) + value
    found = [
        {
            "id": f"mtrusg_test_{meter_id}_{given['customer']}_{at}",
            "object": "billing.meter_event_summary",
            "aggregated_value": float(total),
            "end_time": at + group if group else end,
            "livemode": False,
            "meter": meter_id,
            "start_time": at,
        }
        for at, total in sorted(totals.items(), reverse=True)
    ]
    return p.page(found, given, f"/v1/billing/meters/{meter_id}/event_summaries")


def units_by_window(box: Sandbox, meter: Object, customer: str, start: int, end: int) -> dict[int, int]:
    """Start of window → units of a customer in [start, end)."""
    overwrite = meter["event_time_window"] is not None
    return box.usage.shown(meter["id"], customer, start, end, box.clock.now(), overwrite=overwrite)
