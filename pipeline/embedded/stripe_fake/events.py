"""Events and webhooks (docs.stripe.com/api/events, docs.stripe.com/webhooks): recorded, listed, signed, delivered."""

import copy
import hashlib
import hmac
import json
import urllib.error
import urllib.request
from typing import Any

from pipeline.embedded.stripe_fake import params as p
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

API_VERSION = "2026-10-28.endive"
TIMES = p.fields(optional={"gt": p.whole(), "gte": p.whole(), "lt": p.whole(), "lte": p.whole()})
LIST = p.fields(optional={**p.PAGE, "type": p.text(), "created": TIMES})


def record(box: Sandbox, kind: str, of: Object) -> Object:
    """Record that an object changed, with the object as it is now; it waits to be delivered if an address is set."""
    event = {
        "id": box.new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": box.clock.now(),
        "data": {"object": copy.deepcopy(of)},
        "livemode": False,
        "pending_webhooks": int(bool(box.webhooks.url)),
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
    box.events.append(event)
    if box.webhooks.url:
        box.undelivered.append(event)
    return event


def listing(box: Sandbox, given: dict[str, Any]) -> Object:
    """Events of the last 30 days, newest first."""
    oldest = box.clock.now() - 30 * 86_400
    found = [
        e
        for e in reversed(box.events)
        if e["created"] >= oldest
        and within(given.get("created", {}), e["created"])
        and given.get("type") in (None, e["type"])
    ]
    return p.page(found, given, "/v1/events")


def within(times: Object, at: int) -> bool:
    """Whether a time is within gt, gte, lt, lte of a list's filter."""
    least, most = (
        max(times.get("gte", 0), times.get("gt", -1) + 1),
        min(times.get("lte", 1 << 60), times.get("lt", 1 << 60) - 1),
    )
    return bool(least <= at <= most)


def signature(payload: bytes, secret: str, at: int) -> str:
    """The Stripe-Signature header: HMAC-SHA256 of `time.payload` (docs.stripe.com/webhooks, "verify manually")."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def deliver(url: str, secret: str, event: Object, at: int, tries: int) -> bool:
    """Post one event; True once it was answered with 2xx. Only loopback addresses are ever set as `url`."""
    payload = json.dumps(event).encode()
    headers = {"Content-Type": "application/json", "Stripe-Signature": signature(payload, secret, at)}
    for _ in range(tries):
        request = urllib.request.Request(url, payload, headers, method="POST")  # noqa: S310 - checked when it was set
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                if 200 <= answer.status < 300:
                    return True
        except (urllib.error.URLError, OSError):
            continue
    return False
