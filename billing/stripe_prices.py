"""Plans at Stripe: a product a plan, and for each plan version a flat price and a graduated price of the one meter."""

from decimal import Decimal

from billing import stripe_gateway as gateway
from billing.plans import Plan
from billing.stripe_gateway import Connection, Meter, Price

EVENT_NAME = "driftlock_anomalies"
"""The meter's event name: one meter for all plans, in units of one anomaly."""


def sync_meter(at: Connection) -> Meter:
    """The meter, made if it is not there."""
    return gateway.ensure_meter(at, EVENT_NAME, "Anomalies")


def sync_plan(at: Connection, meter: Meter, plan: Plan) -> tuple[Price, ...]:
    """The prices of a plan version, made if they are not there: flat, then metered if units over the included are billed.

    A price is never changed: another version has other lookup keys. Raises `ValueError` where the flat price is no
    whole number of cents.
    """
    if plan.monthly_cents != int(plan.monthly_cents):
        raise ValueError(f"plan {plan.plan} version {plan.version}: monthly_cents must be whole")
    product = gateway.ensure_product(at, f"driftlock-{plan.plan}", f"DriftLock {plan.title}")
    name = f"{plan.plan}-v{plan.version}"
    flat = gateway.ensure_flat_price(at, product, f"{name}-flat", int(plan.monthly_cents))
    if plan.overage_cents is None:
        return (flat,)
    tiers = [(plan.included, Decimal(0)), (None, plan.overage_cents)]
    return flat, gateway.ensure_metered_price(at, product, f"{name}-overage", meter, tiers)
