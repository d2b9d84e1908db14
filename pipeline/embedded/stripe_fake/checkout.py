"""Checkout and portal sessions, coupons and promotion codes: pages are Stripe's, here a session is completed by control."""

from typing import Any

from pipeline.embedded.stripe_fake import events, subscriptions
from pipeline.embedded.stripe_fake import params as p
from pipeline.embedded.stripe_fake.errors import invalid, not_modelled
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

CREATE = p.fields(
    {
        "mode": p.one_of("subscription"),
        "line_items": p.each(p.fields({"price": p.text()}, {"quantity": p.whole()}), 20),
    },
    {
        "customer": p.text(),
        "success_url": p.text(),
        "cancel_url": p.text(),
        "client_reference_id": p.text(200),
        "metadata": p.metadata,
        "allow_promotion_codes": p.flag,
        "discounts": p.each(p.fields({"promotion_code": p.text()}), 1),
        "subscription_data": p.fields(optional={"metadata": p.metadata, "description": p.text(500)}),
    },
)
LIST = p.fields(optional={**p.PAGE, "customer": p.text(), "status": p.one_of("open", "complete", "expired")})
PORTAL = p.fields({"customer": p.text()}, {"return_url": p.text(), "configuration": p.text()})
COUPON = p.fields(
    {"duration": p.one_of("once", "forever")},
    {"id": p.text(), "name": p.text(40), "percent_off": p.decimal(2), "amount_off": p.whole(1), "currency": p.text(3)},
)
CODE = p.fields(
    {"promotion": p.fields({"type": p.one_of("coupon"), "coupon": p.text()})},
    {
        "code": p.text(500),
        "active": p.flag,
        "customer": p.text(),
        "metadata": p.metadata,
        "max_redemptions": p.whole(1),
    },
)
CODES = p.fields(optional={**p.PAGE, "active": p.flag, "code": p.text(500), "coupon": p.text()})


def create(box: Sandbox, given: dict[str, Any]) -> Object:
    """An open session for a customer; a checkout that makes its own customer is not modelled."""
    if "customer" not in given:
        raise not_modelled("a checkout without a customer")
    box.get("customer", given["customer"], "customer")
    if "discounts" in given and "allow_promotion_codes" in given:
        raise invalid("discounts", "You may only specify one of allow_promotion_codes and discounts.")
    for discount in given.get("discounts", ()):
        if not box.get("promotion_code", discount["promotion_code"], "discounts[0][promotion_code]")["active"]:
            raise invalid("discounts", "This promotion code is not active.")
    for place, item in enumerate(given["line_items"]):
        box.get("price", item["price"], f"line_items[{place}][price]")
    made = box.add(
        "checkout.session",
        "cs_test",
        {
            "client_reference_id": None,
            "metadata": {},
            **{key: value for key, value in given.items() if key not in ("line_items", "subscription_data")},
            "expires_at": box.clock.now() + 86_400,
            "payment_status": "unpaid",
            "status": "open",
            "subscription": None,
        },
    )
    made["url"] = f"https://checkout.stripe.example/c/pay/{made['id']}"
    box.carts[made["id"]] = {"items": given["line_items"], **given.get("subscription_data", {})}
    return made


def complete(box: Sandbox, session_id: str) -> Object:
    """The customer has paid: the subscription begins, and the events that Stripe sends are recorded."""
    session = retrieve(box, session_id)
    if session["status"] != "open":
        raise invalid("id", f"The session is {session['status']}.")
    cart = box.carts.pop(session_id)
    made = subscriptions.create(box, {"customer": session["customer"], **cart})
    session.update(status="complete", payment_status="paid", subscription=made["id"], url=None)
    events.record(box, "checkout.session.completed", session)
    return session


def retrieve(box: Sandbox, session_id: str) -> Object:
    """One session; an open one expires after a day."""
    session = box.get("checkout.session", session_id)
    if session["status"] == "open" and box.clock.now() >= session["expires_at"]:
        session.update(status="expired", url=None)
        box.carts.pop(session_id, None)
    return session


def listing(box: Sandbox, given: dict[str, Any]) -> Object:
    """Sessions, newest first."""
    found = [
        retrieve(box, one["id"])
        for one in box.all("checkout.session")
        if given.get("customer") in (None, one["customer"])
    ]
    return p.page([s for s in found if given.get("status") in (None, s["status"])], given, "/v1/checkout/sessions")


def portal(box: Sandbox, given: dict[str, Any]) -> Object:
    """A portal session."""
    box.get("customer", given["customer"], "customer")
    made = box.add("billing_portal.session", "bps", {"return_url": None, **given})
    made["url"] = f"https://billing.stripe.example/p/session/{made['id']}"
    return made


def create_coupon(box: Sandbox, given: dict[str, Any]) -> Object:
    """A coupon, of a percentage or an amount."""
    if ("percent_off" in given) == ("amount_off" in given):
        raise invalid("percent_off", "A coupon has either percent_off or amount_off.")
    object_id = given.pop("id", None)
    return box.add("coupon", "co", {"name": None, "valid": True, "times_redeemed": 0, **given}, object_id)


def create_code(box: Sandbox, given: dict[str, Any]) -> Object:
    """A promotion code of a coupon; an active code is unique, in any case of letters."""
    box.get("coupon", given["promotion"]["coupon"], "promotion[coupon]")
    code = given.get("code") or box.new_id("code")[5:].upper()
    if any(x["active"] and x["code"].lower() == code.lower() for x in box.all("promotion_code")):
        raise invalid("code", f"An active promotion code with code {code} already exists.")
    content = {"active": True, "metadata": {}, "times_redeemed": 0, **given, "code": code}
    return box.add("promotion_code", "promo", content)


def list_codes(box: Sandbox, given: dict[str, Any]) -> Object:
    """Promotion codes, newest first."""
    found = [
        x
        for x in box.all("promotion_code")
        if given.get("active") in (None, x["active"])
        and ("code" not in given or given["code"].lower() == x["code"].lower())
        and given.get("coupon") in (None, x["promotion"]["coupon"])
    ]
    return p.page(found, given, "/v1/promotion_codes")
