"""What we ask Stripe to do: checkout and portal sessions, subscriptions begun, changed and ended, invoices held.

Where a repetition would do harm, an idempotency key is made from what is asked for: after a time-out it asks once.
Shapes are checked against Stripe's specification by tests/contracts/test_stripe_mock.py, not by types.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from billing.stripe_gateway import Connection, Price, StripeRefused, named
from billing.stripe_objects import DRAFT, ENDED, HOLD, Session, Subscription, session, subscription


def start_checkout(
    at: Connection,
    customer: str,
    organization_id: str,
    prices: Sequence[tuple[str, bool]],
    urls: tuple[str, str],
    key: str,
    promotion_code: str = "",
) -> Session:
    """A checkout session for a subscription to (price id, metered) pairs; `urls`: where to after success, after leaving.

    No trial. With a promotion code it is applied; without one the customer may type it: discounts are Stripe's.
    """
    asked: Any = {
        "mode": "subscription",
        "customer": customer,
        "client_reference_id": organization_id,
        "line_items": [{"price": price} if metered else {"price": price, "quantity": 1} for price, metered in prices],
        "subscription_data": {"metadata": {"organization_id": organization_id}},
        "success_url": urls[0],
        "cancel_url": urls[1],
    }
    if promotion_code:
        asked["discounts"] = [{"promotion_code": promotion_code}]
    else:
        asked["allow_promotion_codes"] = True
    with named():
        return session(at.client.v1.checkout.sessions.create(asked, {"idempotency_key": f"checkout:{key}"}))


def open_portal(at: Connection, customer: str, return_url: str) -> str:
    """The address of a customer portal session: cards, invoices, cancellation."""
    with named():
        return at.client.v1.billing_portal.sessions.create({"customer": customer, "return_url": return_url}).url


def find_promotion_code(at: Connection, code: str) -> str | None:
    """The id of an active promotion code that customers may type, or None."""
    with named():
        for found in at.client.v1.promotion_codes.list({"code": code, "active": True, "limit": 1}).data:
            return found.id
    return None


def ensure_subscription(at: Connection, customer: str, prices: Sequence[Price]) -> Subscription:
    """The customer's subscription of just these prices, begun now if there is none that is not ended."""
    wanted = {price.id for price in prices}
    with named():
        for listed in at.client.v1.subscriptions.list({"customer": customer, "limit": 100}).auto_paging_iter():
            found = subscription(listed)
            if set(found.prices) == wanted and found.status not in ENDED:
                return found
        made = at.client.v1.subscriptions.create(
            {"customer": customer, "items": [{"price": price.id} for price in prices]},
            {"idempotency_key": f"subscription:{customer}:{':'.join(sorted(wanted))}"},
        )
        return subscription(made)


def restart_on(at: Connection, of: Subscription, prices: Sequence[str]) -> Subscription:
    """An upgrade: these prices from now on, in a period that begins now; the closed one's usage is billed with it."""
    gone: list[Any] = [{"id": item, "deleted": True} for item in of.items]
    fresh: list[Any] = [{"price": price} for price in prices]
    asked: Any = {
        "items": gone + fresh,
        "billing_cycle_anchor": "now",
        "proration_behavior": "none",
    }
    with named():
        done = at.client.v1.subscriptions.update(
            of.id,
            asked,
            {"idempotency_key": f"upgrade:{of.id}:{of.period_start}:{':'.join(sorted(prices))}"},
        )
        return subscription(done)


def change_at_period_end(at: Connection, of: Subscription, prices: Sequence[tuple[str, bool]]) -> None:
    """A downgrade: (price id, metered) pairs from the period's end on, by a schedule that then lets go of it."""
    with named():
        if of.schedule is None:
            made = at.client.v1.subscription_schedules.create(
                {"from_subscription": of.id}, {"idempotency_key": f"schedule:{of.id}:{of.period_start}"}
            )
        else:
            made = at.client.v1.subscription_schedules.retrieve(of.schedule)
        present = made.phases[0]
        kept: list[Any] = [{"price": _price(item.price), **_quantity(item)} for item in present["items"]]
        wanted: list[Any] = [
            {"price": price} if metered else {"price": price, "quantity": 1} for price, metered in prices
        ]
        at.client.v1.subscription_schedules.update(
            made.id,
            {
                "end_behavior": "release",
                "proration_behavior": "none",
                "phases": [
                    {"items": kept, "start_date": present.start_date, "end_date": present.end_date},
                    {"items": wanted, "duration": {"interval": "month", "interval_count": 1}},
                ],
            },
        )


def _quantity(item: Any) -> dict[str, int]:
    found = getattr(item, "quantity", None)
    return {"quantity": found} if found else {}


def _price(of: Any) -> str:
    return of if isinstance(of, str) else str(of.id)


def keep_plan(at: Connection, of: Subscription) -> None:
    """Take a planned downgrade back."""
    if of.schedule is not None:
        with named():
            at.client.v1.subscription_schedules.release(of.schedule)


def next_prices(at: Connection, of: Subscription, now: datetime) -> tuple[str, ...]:
    """The prices of the phase that follows the present one of its schedule; none where nothing is planned."""
    if of.schedule is None:
        return ()
    with named():
        found = at.client.v1.subscription_schedules.retrieve(of.schedule)
    coming = [phase for phase in found.phases if phase.start_date > now.timestamp()]
    return tuple(_price(item.price) for item in coming[0]["items"]) if coming else ()


def cancel_at_period_end(at: Connection, subscription_id: str, *, cancel: bool = True) -> Subscription:
    """End a subscription when its period does, or take that back."""
    with named():
        return subscription(at.client.v1.subscriptions.update(subscription_id, {"cancel_at_period_end": cancel}))


def hold_invoice(at: Connection, invoice_id: str, *, hold: bool) -> bool:
    """Keep a draft from becoming final by itself, or let it go on; False if it is no draft any more.

    Its metadata says that it is us who hold it: so the mirror knows it, whenever we died.
    """
    try:
        with named():
            done = at.client.v1.invoices.update(invoice_id, _held(hold=hold))
            if hold and done.status != DRAFT:  # it became final just before: its collection goes on
                at.client.v1.invoices.update(invoice_id, _held(hold=False))
            return done.status == DRAFT
    except StripeRefused:  # of a paid or void one it can't be changed
        return False


def _held(*, hold: bool) -> Any:
    return {"auto_advance": not hold, "metadata": {HOLD: "true" if hold else ""}}


def credit_note(at: Connection, invoice_id: str, cents: int, memo: str, key: str) -> str:
    """The id of a credit note on a final invoice; `key` names it, in its metadata too."""
    asked: Any = {"invoice": invoice_id, "amount": cents, "memo": memo[:5000], "metadata": {"credit": key}}
    with named():
        return str(at.client.v1.credit_notes.create(asked, {"idempotency_key": f"credit_note:{key}"}).id)


def find_credit_note(at: Connection, invoice_id: str, key: str) -> str | None:
    """The id of the credit note that `key` names, if the invoice has it: idempotency keys are forgotten after a day."""
    with named():
        for found in at.client.v1.credit_notes.list({"invoice": invoice_id, "limit": 100}).auto_paging_iter():
            if found.metadata and "credit" in found.metadata and found.metadata["credit"] == key:
                return str(found.id)
    return None
