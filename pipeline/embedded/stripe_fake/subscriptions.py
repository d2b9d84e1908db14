"""Subscriptions (docs.stripe.com/api/subscriptions) of monthly prices in USD; periods follow the fake's clock."""

from typing import Any

from pipeline.embedded.stripe_fake import catalog, events, invoices, schedules
from pipeline.embedded.stripe_fake import params as p
from pipeline.embedded.stripe_fake.errors import invalid, not_modelled
from pipeline.embedded.stripe_fake.periods import months_after
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

NEVER = 1 << 60

_ITEM = p.fields({"price": p.text()}, {"quantity": p.whole(), "metadata": p.metadata})
CREATE = p.fields(
    {"customer": p.text(), "items": p.each(_ITEM, 20)},
    {
        "metadata": p.metadata,
        "description": p.text(500),
        "collection_method": p.one_of("charge_automatically"),
        "trial_end": p.whole(),
    },
)
UPDATE = p.fields(
    optional={
        "metadata": p.metadata,
        "description": p.text(500),
        "cancel_at_period_end": p.flag,
        "items": p.each(p.fields(optional={"id": p.text(), "price": p.text(), "deleted": p.flag}), 20),
        "billing_cycle_anchor": p.one_of("now", "unchanged"),
        "proration_behavior": p.one_of("none", "create_prorations", "always_invoice"),
    }
)
LIST = p.fields(
    optional={
        **p.PAGE,
        "customer": p.text(),
        "price": p.text(),
        "status": p.one_of("active", "trialing", "past_due", "canceled", "ended", "all"),
    }
)


def create(box: Sandbox, given: dict[str, Any]) -> Object:
    """A subscription that begins now: its flat prices are invoiced at once, or after its trial; metered ones in arrears."""
    if box.get("customer", given["customer"], "customer").get("deleted"):
        raise invalid("customer", f"No such customer: '{given['customer']}'", "resource_missing")
    if not given["items"]:
        raise invalid("items", "A subscription needs items.", "parameter_missing")
    now = box.clock.now()
    trial_end = given.get("trial_end")
    if trial_end is not None and trial_end <= now:
        raise invalid("trial_end", "The trial must end in the future.")
    made = box.add(
        "subscription",
        "sub",
        {
            "description": None,
            "metadata": {},
            "collection_method": "charge_automatically",
            **given,
            "status": "active" if trial_end is None else "trialing",
            "currency": "usd",
            "billing_cycle_anchor": trial_end or now,
            "trial_start": None if trial_end is None else now,
            "trial_end": trial_end,
            "schedule": None,
            "start_date": now,
            "cancel_at_period_end": False,
            "cancel_at": None,
            "canceled_at": None,
            "ended_at": None,
            "latest_invoice": None,
            "items": {"object": "list", "has_more": False, "url": "/v1/subscription_items", "data": []},
        },
    )
    for place, item in enumerate(given["items"]):
        made["items"]["data"].append(_item(box, made, item, f"items[{place}][price]", now))
        if trial_end is not None:
            made["items"]["data"][-1]["current_period_end"] = trial_end
    box.due_at = 0
    made["latest_invoice"] = invoices.bill(box, made, now, "subscription_create", [], opens=trial_end is None)["id"]
    events.record(box, "customer.subscription.created", made)
    return made


def _item(box: Sandbox, of: Object, given: dict[str, Any], path: str, start: int) -> Object:
    price = box.get("price", given["price"], path)
    recurring = price["recurring"]
    if recurring is None or not price["active"]:
        raise invalid(path, "The price must be active and recurring.")
    if recurring["interval"] != "month" or recurring["interval_count"] != 1:
        raise not_modelled("subscriptions that are not monthly")
    metered = recurring["usage_type"] == "metered"
    if metered and "quantity" in given:
        raise invalid(path, "A metered price takes no quantity.")
    return {
        "id": box.new_id("si"),
        "object": "subscription_item",
        "created": box.clock.now(),
        "current_period_start": start,
        "current_period_end": months_after(start, 1),
        "metadata": given.get("metadata", {}),
        "price": catalog.shown(price),
        "subscription": of["id"],
        **({} if metered else {"quantity": given.get("quantity", 1)}),
    }


def update(box: Sandbox, subscription_id: str, given: dict[str, Any]) -> Object:
    """Change a subscription. New items need `billing_cycle_anchor=now` and no proration: a new period, as ours do it."""
    kept = box.get("subscription", subscription_id)
    if kept["status"] == "canceled":
        raise invalid("subscription", "A canceled subscription can only change its metadata.")
    if kept["schedule"] is not None and ("items" in given or "cancel_at_period_end" in given):
        raise invalid("id", "The subscription is managed by a schedule: release it first.")
    if "items" in given:
        if given.get("billing_cycle_anchor") != "now" or given.get("proration_behavior") != "none":
            raise not_modelled("a change of items within a period")
        _restart(box, kept, given["items"])
    kept["metadata"] = {k: v for k, v in {**kept["metadata"], **given.get("metadata", {})}.items() if v}
    for name in ("description", "cancel_at_period_end"):
        if name in given:
            kept[name] = given[name]
    events.record(box, "customer.subscription.updated", kept)
    return kept


def _restart(box: Sandbox, kept: Object, items: list[dict[str, Any]]) -> None:
    now = box.clock.now()
    gone = {item["id"] for item in items if item.get("deleted") and "id" in item}
    closed = invoices.closing(kept, now)
    stay = [item for item in kept["items"]["data"] if item["id"] not in gone]
    kept["billing_cycle_anchor"] = now
    for item in stay:
        item.update(current_period_start=now, current_period_end=months_after(now, 1))
    box.due_at = 0
    fresh = [_item(box, kept, item, "items[price]", now) for item in items if not item.get("deleted")]
    kept["items"]["data"] = stay + fresh
    kept["latest_invoice"] = invoices.bill(box, kept, now, "subscription_update", closed)["id"]


def cancel(box: Sandbox, subscription_id: str) -> Object:
    """End a subscription now; its metered usage until now is invoiced."""
    kept = box.get("subscription", subscription_id)
    if kept["status"] == "canceled":
        raise invalid("id", f"No such subscription: '{subscription_id}'", "resource_missing")
    end(box, kept, box.clock.now())
    return kept


def delete_customer(box: Sandbox, customer_id: str) -> Object:
    """A deleted customer keeps its id and nothing else; its subscriptions end now."""
    customer = box.get("customer", customer_id)
    if customer.get("deleted"):
        raise invalid("id", f"No such customer: '{customer_id}'", "resource_missing")
    for kept in box.all("subscription"):
        if kept["customer"] == customer_id and kept["status"] != "canceled":
            end(box, kept, box.clock.now())
    customer["deleted"] = True
    events.record(box, "customer.deleted", customer)
    return {"id": customer_id, "object": "customer", "deleted": True}


def end(box: Sandbox, kept: Object, at: int) -> None:
    """Close the last period of a subscription."""
    kept["latest_invoice"] = invoices.bill(
        box, kept, at, "subscription_cancel", invoices.closing(kept, at), opens=False
    )["id"]
    if kept["schedule"] is not None:
        schedules.release(box, kept["schedule"], {})
    kept.update(status="canceled", canceled_at=at, ended_at=at)
    events.record(box, "customer.subscription.deleted", kept)


def listing(box: Sandbox, given: dict[str, Any]) -> Object:
    """Subscriptions, newest first; canceled ones only where they are asked for."""
    status = given.get("status")

    def fits(one: Object) -> bool:
        if status in (None, "all"):
            return status == "all" or one["status"] != "canceled"
        return bool(one["status"] == ("canceled" if status == "ended" else status))

    found = [
        one
        for one in box.all("subscription")
        if fits(one)
        and given.get("customer") in (None, one["customer"])
        and ("price" not in given or given["price"] in [item["price"]["id"] for item in one["items"]["data"]])
    ]
    return p.page(found, given, "/v1/subscriptions")


def roll(box: Sandbox, now: int) -> int:
    """Close the periods that are over by now, one after the other, and open the next; when the next one is over."""
    soonest = NEVER
    for kept in list(box.objects.get("subscription", {}).values()):
        while kept["status"] != "canceled":
            due = kept["items"]["data"][0]["current_period_end"]
            _announce_trial_end(box, kept, now)
            if due > now:
                soonest = min(soonest, due)
                break
            if kept["cancel_at_period_end"]:
                end(box, kept, due)
            else:
                _renew(box, kept, due)
    return soonest


def _announce_trial_end(box: Sandbox, kept: Object, now: int) -> None:
    """Stripe tells of a trial's end three days before it."""
    if kept["status"] == "trialing" and now >= kept["trial_end"] - 3 * 86_400 and kept["id"] not in box.announced:
        box.announced.add(kept["id"])
        events.record(box, "customer.subscription.trial_will_end", kept)


def _renew(box: Sandbox, kept: Object, due: int) -> None:
    closed = invoices.closing(kept, due)
    following = _next(kept["billing_cycle_anchor"], due)
    if kept["status"] == "trialing":
        kept["status"] = "active"
    if planned := schedules.following(box, kept, due):
        kept["items"]["data"] = [_item(box, kept, item, "phases[items][price]", due) for item in planned]
    for item in kept["items"]["data"]:
        item.update(current_period_start=due, current_period_end=following)
    kept["latest_invoice"] = invoices.bill(box, kept, due, "subscription_cycle", closed)["id"]
    events.record(box, "customer.subscription.updated", kept)


def _next(anchor: int, after: int) -> int:
    months = 1
    while months_after(anchor, months) <= after:
        months += 1
    return months_after(anchor, months)
