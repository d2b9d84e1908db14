"""Subscription schedules (docs.stripe.com/api/subscription_schedules): another set of prices from the period's end on.

Modelled as we use them: made from a subscription, two phases, the second one month, then released.
"""

from typing import Any

from pipeline.embedded.stripe_fake import params as p
from pipeline.embedded.stripe_fake.errors import invalid, not_modelled
from pipeline.embedded.stripe_fake.periods import months_after
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

KIND = "subscription_schedule"
CREATE = p.fields({"from_subscription": p.text()})
_ITEM = p.fields({"price": p.text()}, {"quantity": p.whole()})
_PHASE = p.fields(
    {"items": p.each(_ITEM, 20)},
    {
        "start_date": p.whole(),
        "end_date": p.whole(),
        "duration": p.fields({"interval": p.one_of("month")}, {"interval_count": p.whole(1, 1)}),
        "proration_behavior": p.one_of("none"),
    },
)
UPDATE = p.fields(
    {"phases": p.each(_PHASE, 10)},
    {"end_behavior": p.one_of("release", "cancel"), "proration_behavior": p.one_of("none"), "metadata": p.metadata},
)


def _items(of: Object) -> list[Object]:
    return [
        {"price": item["price"]["id"], **({"quantity": item["quantity"]} if "quantity" in item else {})}
        for item in of["items"]["data"]
    ]


def create(box: Sandbox, given: dict[str, Any]) -> Object:
    """A schedule of a subscription that has none: one phase, its present period."""
    of = box.get("subscription", given["from_subscription"], "from_subscription")
    if of["schedule"] is not None:
        raise invalid("from_subscription", "The subscription is already managed by a schedule.")
    if of["status"] == "canceled":
        raise invalid("from_subscription", "A canceled subscription takes no schedule.")
    first = of["items"]["data"][0]
    phase = {
        "items": _items(of),
        "start_date": first["current_period_start"],
        "end_date": first["current_period_end"],
        "proration_behavior": "none",
    }
    content = {"customer": of["customer"], "subscription": of["id"], "status": "active", "end_behavior": "release"}
    made = box.add(KIND, "sub_sched", {**content, "metadata": {}, "phases": [phase]})
    of["schedule"] = made["id"]
    return made


def update(box: Sandbox, schedule_id: str, given: dict[str, Any]) -> Object:
    """Set the phases: the present one as it is, and one that follows."""
    kept = box.get(KIND, schedule_id)
    if kept["status"] != "active":
        raise invalid("id", f"The schedule is {kept['status']}.")
    phases = given["phases"]
    present = kept["phases"][0]
    if len(phases) != 2 or given.get("end_behavior", "release") != "release":
        raise not_modelled("a schedule that is not: the present phase, then another, then released")
    if phases[0].get("start_date") != present["start_date"] or phases[0].get("end_date") != present["end_date"]:
        raise not_modelled("a present phase with other dates")
    for item in phases[1]["items"]:
        box.get("price", item["price"], "phases[1][items][price]")
    start = present["end_date"]
    following = {
        "items": phases[1]["items"],
        "start_date": start,
        "end_date": months_after(start, 1),
        "proration_behavior": "none",
    }
    kept.update(phases=[present, following], end_behavior="release")
    return kept


def release(box: Sandbox, schedule_id: str, _given: dict[str, Any]) -> Object:
    """Let go of the subscription, which stays as it is."""
    kept = box.get(KIND, schedule_id)
    if kept["status"] != "active":
        raise invalid("id", f"The schedule is {kept['status']}.")
    kept.update(status="released", released_subscription=kept["subscription"])
    box.get("subscription", kept["subscription"])["schedule"] = None
    return kept


def following(box: Sandbox, of: Object, due: int) -> list[dict[str, Any]]:
    """The items of a subscription from `due` on, where its schedule has a phase that begins then; the schedule is over."""
    if of["schedule"] is None:
        return []
    kept = box.get(KIND, of["schedule"])
    coming = [phase for phase in kept["phases"] if phase["start_date"] == due]
    if coming:
        release(box, kept["id"], {})
    return [dict(item) for item in coming[0]["items"]] if coming else []
