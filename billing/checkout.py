"""What a tenant does about its plan: checkout, portal, upgrade, downgrade, cancellation. Called by the API.

Each asks Stripe; our tables change when Stripe's events say that it happened (applier.py), never here. Discounts and tax are
Stripe's. No trial is ever asked for. `connection` is outside any transaction, as role driftlock_api.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import psycopg

from billing import announce, stripe_orders, stripe_prices
from billing import stripe_gateway as gateway
from billing.customers import LIVE
from billing.plans import Plan, latest
from billing.stripe_objects import Session, read_subscription
from billing.tenant import tenant
from schemas.errors import DriftlockError

Connection = psycopg.Connection[Any]
FREE = "developer"


class CheckoutRefused(DriftlockError):
    """This can't be asked of Stripe now; the text says why."""


@dataclass(frozen=True)
class Account:
    """An organization as Stripe's side sees it: its customer and its live subscription, if it has them."""

    name: str
    customer_id: str | None
    subscription_id: str | None
    plan: str | None
    plan_version: int | None


def account(connection: Connection, organization_id: UUID) -> Account:
    """The account of an organization; `CheckoutRefused` if there is none."""
    with tenant(connection, organization_id):
        row = connection.execute(
            "SELECT o.name, c.id, s.id, s.plan, s.plan_version FROM organizations o"  # noqa: S608 a constant
            " LEFT JOIN billing_customers c ON c.organization_id = o.id AND c.unlinked_at IS NULL"
            f" LEFT JOIN subscriptions s ON s.organization_id = o.id AND s.{LIVE} WHERE o.id = %s",
            (organization_id,),
        ).fetchone()
    if row is None:
        raise CheckoutRefused(f"there is no organization {organization_id}")
    return Account(*row)


def start(
    connection: Connection,
    stripe: gateway.Connection,
    organization_id: UUID,
    plan: str,
    *,
    urls: tuple[str, str],
    key: str,
    by: str,
    now: datetime,
    promotion_code: str = "",
) -> Session:
    """A checkout session for a paid plan; `urls`: where to after success, after leaving. Send the customer to its `url`.

    `key` (an Idempotency-Key of the caller) makes a repeated call give the same session. Without `promotion_code` the
    customer may type one at Stripe. `CheckoutRefused`: a free plan, a subscription that is alive, an unknown code. `UnknownPlan`.
    """
    wanted = _paid(plan)
    found = account(connection, organization_id)
    if found.subscription_id is not None:
        raise CheckoutRefused(f"there is a subscription to {found.plan} already: change its plan instead")
    with tenant(connection, organization_id):
        prices = stripe_prices.current(connection, wanted.plan, wanted.version)
    code = ""
    if promotion_code:
        code = stripe_orders.find_promotion_code(stripe, promotion_code) or ""
        if not code:
            raise CheckoutRefused("this promotion code is not valid")
    customer = found.customer_id or _new_customer(connection, stripe, organization_id, found.name, by, now)
    made = stripe_orders.start_checkout(
        stripe, customer, str(organization_id), prices, urls, f"{organization_id}:{key}", code
    )
    with tenant(connection, organization_id):
        after = {"plan": plan, "session_id": made.id, "promotion_code": promotion_code}
        announce.acted(connection, organization_id, by, "checkout.start", {"plan": found.plan}, after, now)
    return made


def _paid(plan: str) -> Plan:
    wanted = latest(plan)
    if wanted.monthly_cents == 0:
        raise CheckoutRefused(f"plan {plan} costs nothing: nothing to check out")
    return wanted


def _new_customer(
    connection: Connection, stripe: gateway.Connection, organization_id: UUID, name: str, by: str, now: datetime
) -> str:
    """The organization's customer, made at Stripe once and linked here: asked again, both are found."""
    customer = gateway.ensure_customer(stripe, str(organization_id), name)
    with tenant(connection, organization_id):
        done = connection.execute(
            "INSERT INTO billing_customers (id, organization_id, livemode, linked_at) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (customer, organization_id, stripe.livemode, now),
        )
        if done.rowcount:
            after = {"customer_id": customer}
            announce.acted(connection, organization_id, by, "customer.link", None, after, now)
    return customer


def portal(connection: Connection, stripe: gateway.Connection, organization_id: UUID, return_url: str) -> str:
    """The address of Stripe's customer portal: cards, invoices, cancellation. `CheckoutRefused` without a customer."""
    found = account(connection, organization_id)
    if found.customer_id is None:
        raise CheckoutRefused("there is no customer at Stripe yet: check out a plan first")
    return stripe_orders.open_portal(stripe, found.customer_id, return_url)


Change = Literal["upgrade", "downgrade", "cancel", "keep"]


def change_plan(
    connection: Connection, stripe: gateway.Connection, organization_id: UUID, plan: str, *, by: str, now: datetime
) -> Change:
    """Move a live subscription to another plan; what kind of change it is.

    upgrade: at once, in a period that begins now. downgrade: at the period's end. cancel (to the free plan): at the
    period's end. keep (to the plan it has): a planned downgrade or cancellation is taken back.
    """
    found = account(connection, organization_id)
    if found.subscription_id is None or found.plan is None:
        raise CheckoutRefused("there is no subscription: check out a plan first")
    present = read_subscription(stripe, found.subscription_id)
    if plan == found.plan:
        change: Change = "keep"
        stripe_orders.keep_plan(stripe, present)
        if present.cancel_at_period_end:
            stripe_orders.cancel_at_period_end(stripe, present.id, cancel=False)
    elif plan == FREE:
        change = "cancel"
        stripe_orders.keep_plan(stripe, present)
        stripe_orders.cancel_at_period_end(stripe, present.id)
    else:
        change = _move(connection, stripe, organization_id, found.plan, _paid(plan), present.id)
    with tenant(connection, organization_id):
        announce.acted(connection, organization_id, by, f"plan.{change}", {"plan": found.plan}, {"plan": plan}, now)
    return change


def _move(
    connection: Connection,
    stripe: gateway.Connection,
    organization_id: UUID,
    plan: str,
    wanted: Plan,
    subscription_id: str,
) -> Change:
    with tenant(connection, organization_id):
        prices = stripe_prices.current(connection, wanted.plan, wanted.version)
    present = read_subscription(stripe, subscription_id)
    if present.cancel_at_period_end:
        stripe_orders.cancel_at_period_end(stripe, present.id, cancel=False)
    if wanted.monthly_cents > latest(plan).monthly_cents:
        stripe_orders.keep_plan(stripe, present)
        stripe_orders.restart_on(stripe, present, [price for price, _ in prices])
        return "upgrade"
    stripe_orders.change_at_period_end(stripe, present, prices)
    return "downgrade"
