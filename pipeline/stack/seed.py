"""An organization with a standard subscription: known to Stripe (the fake), to the ledger, and to the packer."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import psycopg

from billing import accounts, stripe_gateway, stripe_orders, stripe_prices
from billing.plans import plans
from billing.stripe_gateway import Connection, Meter
from billing.stripe_objects import Subscription
from billing.stripe_prices import sync_meter, sync_plan
from pipeline import kafka
from pipeline.accounts import announce
from pipeline.stack.components import Components
from schemas.settings import load


@dataclass(frozen=True)
class Seeded:
    """An organization and what Stripe calls its parts."""

    organization_id: UUID
    customer: str
    subscription: Subscription
    stripe: Connection
    meter: Meter


def move_stripes_clock(components: Components, to: datetime) -> None:
    """Move the fake's clock; it goes on from there."""
    httpx.post(f"{components.stripe_url}/_fake/clock", json={"to": int(to.timestamp())}, timeout=30).raise_for_status()


def organization(components: Components, name: str, now: datetime) -> Seeded:
    """Seed an organization whose standard subscription began 24 hours before `now`; afterwards Stripe's clock is at `now`."""
    settings = load(components.environ)
    began = now - timedelta(hours=24)
    organization_id = uuid4()
    stripe = stripe_gateway.connect(settings.stripe_api_key.get_secret_value(), base=components.stripe_url)
    move_stripes_clock(components, began)
    meter = sync_meter(stripe)
    prices = {plan.plan: sync_plan(stripe, meter, plan) for plan in plans()}
    customer = stripe_gateway.ensure_customer(stripe, str(organization_id), name)
    subscription = stripe_orders.ensure_subscription(stripe, customer, prices["standard"])
    move_stripes_clock(components, now)
    with psycopg.connect(components.postgres.url()) as connection:
        for plan in plans():
            stripe_prices.store(connection, plan, prices[plan.plan], now, livemode=False)
        accounts.seed(
            connection,
            organization_id,
            name=name,
            customer_id=customer,
            subscription_id=subscription.id,
            plan="standard",
            began_at=datetime.fromtimestamp(subscription.anchor, UTC),
        )
    producer = kafka.producer(settings)
    announce.organization(producer, organization_id)
    return Seeded(organization_id, customer, subscription, stripe, meter)
