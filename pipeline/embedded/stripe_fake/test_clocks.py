"""Test clocks (docs.stripe.com/api/test_clocks). The fake has one clock: a test clock starts at its present and moves it."""

from typing import Any

from pipeline.embedded.stripe_fake import params as p
from pipeline.embedded.stripe_fake.errors import invalid, not_modelled
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

KIND = "test_helpers.test_clock"
CREATE = p.fields({"frozen_time": p.whole()}, {"name": p.text(300)})
ADVANCE = p.fields({"frozen_time": p.whole()})
FARTHEST = 62 * 86_400
"""Stripe moves a clock by at most two intervals of the shortest subscription: two months here."""


def create(box: Sandbox, given: dict[str, Any]) -> Object:
    """A clock that stands at the fake's present, within a minute."""
    if abs(given["frozen_time"] - box.clock.now()) > 60:
        raise not_modelled("a test clock at another time than the fake's own")
    return box.add(KIND, "clock", {"name": None, **given, "status": "ready"})


def advance(box: Sandbox, clock_id: str, given: dict[str, Any]) -> Object:
    """Move time forward. Ready at once, where Stripe takes a while."""
    clock = box.get(KIND, clock_id)
    target = given["frozen_time"]
    if target <= clock["frozen_time"]:
        raise invalid("frozen_time", "A test clock only moves forward.")
    if target > clock["frozen_time"] + FARTHEST:
        raise invalid("frozen_time", "A test clock moves by at most two intervals at a time.")
    clock["frozen_time"] = target
    box.move(target)
    return clock


def delete(box: Sandbox, clock_id: str, _given: dict[str, Any]) -> Object:
    """Remove it; its customers stay, where Stripe deletes them."""
    box.get(KIND, clock_id)
    del box.objects[KIND][clock_id]
    return {"id": clock_id, "object": KIND, "deleted": True}
