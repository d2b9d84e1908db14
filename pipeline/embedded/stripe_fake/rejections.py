"""Meter events that are taken and rejected later (docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api).

Off by default: then what would be rejected later is refused at once. On, it is answered with success, and a thin event
`v1.billing.meter.error_report_triggered` tells of it (docs.stripe.com/event-destinations#thin-events).
"""

from datetime import UTC, datetime

from pipeline.embedded.stripe_fake.errors import ApiError, no_such
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

TYPE = "v1.billing.meter.error_report_triggered"
CODES = {"no_meter": "no_meter", "resource_missing": "meter_event_customer_not_found"}


def report(box: Sandbox, error: ApiError, meter: str, identifier: str) -> None:
    """Keep the full event for whoever fetches it, and send the thin one."""
    now = box.clock.now()
    code = CODES[error.code or ""]
    sample = {"error_message": error.message, "request": {"identifier": identifier}}
    head: Object = {
        "id": box.new_id("evt_test"),
        "object": "v2.core.event",
        "type": TYPE,
        "created": f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%S.000Z}",
        "livemode": False,
        "related_object": {"id": meter, "type": "billing.meter", "url": f"/v1/billing/meters/{meter}"},
    }
    reason = {"error_count": 1, "error_types": [{"code": code, "error_count": 1, "sample_errors": [sample]}]}
    full = {
        **head,
        "data": {
            "developer_message_summary": "There is 1 invalid event",
            "reason": reason,
            "validation_start": head["created"],
            "validation_end": head["created"],
        },
    }
    box.thin[full["id"]] = full
    if box.webhooks.url:
        box.undelivered.append(thin(full))


def thin(full: Object) -> Object:
    """What a webhook carries of an event: everything but its data."""
    return {name: value for name, value in full.items() if name != "data"}


def retrieve(box: Sandbox, event_id: str, _given: object) -> Object:
    """The full event of a thin one."""
    if event_id not in box.thin:
        raise no_such("event", event_id)
    return box.thin[event_id]
