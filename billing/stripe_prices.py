"""Plans at Stripe: a product a plan, and for each plan version a flat price and a graduated price of the one meter.

What was made or found is kept by its id in `stripe_prices`: a subscription's plan is looked up there, never guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import psycopg

from billing import stripe_gateway as gateway
from billing.plans import Plan
from billing.stripe_gateway import Connection, Meter, Price
from schemas.errors import DriftlockError

EVENT_NAME = "driftlock_anomalies"
"""The meter's event name: one meter for all plans, in units of one anomaly."""

Part = Literal["flat", "overage"]


class UnknownPrice(DriftlockError):
    """A subscription has a price that no plan has: it is refused, never guessed."""


@dataclass(frozen=True)
class Wanted:
    """A price that a plan version needs. `tiers`: (last unit, None for all above; cents a unit); of a flat price empty."""

    plan: str
    version: int
    part: Part
    lookup_key: str
    product: str
    product_name: str
    cents: int
    tiers: tuple[tuple[int | None, Decimal], ...] = ()


@dataclass(frozen=True)
class Difference:
    """Something that Stripe lacks, or has otherwise; `said` is a line of the dry run."""

    said: str
    can_be_made: bool


def wanted(plan: Plan) -> tuple[Wanted, ...]:
    """The prices of a plan version: flat, then metered if units over the included are billed.

    Raises `ValueError` where the flat price is no whole number of cents.
    """
    if plan.monthly_cents != int(plan.monthly_cents):
        raise ValueError(f"plan {plan.plan} version {plan.version}: monthly_cents must be whole")
    product, name = f"driftlock-{plan.plan}", f"DriftLock {plan.title}"
    key = f"{plan.plan}-v{plan.version}"
    flat = Wanted(plan.plan, plan.version, "flat", f"{key}-flat", product, name, int(plan.monthly_cents))
    if plan.overage_cents is None:
        return (flat,)
    tiers = ((plan.included, Decimal(0)), (None, plan.overage_cents))
    return flat, Wanted(plan.plan, plan.version, "overage", f"{key}-overage", product, name, 0, tiers)


def sync_meter(at: Connection) -> Meter:
    """The meter, made if it is not there."""
    return gateway.ensure_meter(at, EVENT_NAME, "Anomalies")


def sync_plan(at: Connection, meter: Meter, plan: Plan) -> tuple[Price, ...]:
    """The prices of a plan version, made if they are not there.

    A price is never changed: another version has other lookup keys. One under a key of ours that costs something else is
    refused (`StripeRefused`): someone made it by hand.
    """
    made = []
    for one in wanted(plan):
        product = gateway.ensure_product(at, one.product, one.product_name)
        if one.part == "flat":
            price = gateway.ensure_flat_price(at, product, one.lookup_key, one.cents)
        else:
            price = gateway.ensure_metered_price(at, product, one.lookup_key, meter, one.tiers)
        if said := _misfit(at, one, meter.id):
            raise gateway.StripeRefused(f"{said}: archive it, then sync prices again")
        made.append(price)
    return tuple(made)


def differences(at: Connection, plans: Sequence[Plan]) -> tuple[Difference, ...]:
    """What `sync_meter` and `sync_plan` would make, and what they would refuse. Reads only."""
    try:
        meter: str | None = gateway.find_meter(at, EVENT_NAME).id
    except gateway.StripeRefused as error:
        # There is none, or one with other settings, which syncing refuses.
        missing = "no active meter" in str(error)
        found = [Difference(f"meter {EVENT_NAME}: {'missing' if missing else error}", can_be_made=missing)]
        meter = None
    else:
        found = []
    for one in (price for plan in plans for price in wanted(plan)):
        shown = gateway.find_price(at, one.lookup_key)
        if shown is None:
            found.append(Difference(f"price {one.lookup_key}: missing", can_be_made=True))
        elif said := _misfit(at, one, meter):
            found.append(Difference(said, can_be_made=False))
    return tuple(found)


def _misfit(at: Connection, one: Wanted, meter: str | None) -> str:
    shown = gateway.find_price(at, one.lookup_key)
    if shown is None:
        return f"price {one.lookup_key}: missing"
    same = one.product == shown.product and (one.tiers or ((None, Decimal(one.cents)),)) == shown.tiers
    metered = shown.meter is None if one.part == "flat" else meter in (None, shown.meter)
    return (
        "" if same and metered and shown.active else f"price {one.lookup_key} ({shown.id}) is another than the plan's"
    )


def store(
    connection: psycopg.Connection[Any], plan: Plan, prices: Sequence[Price], now: datetime, *, livemode: bool
) -> None:
    """Keep which price is what, as the owner of the schema; one that another took the place of stays known.

    `LiveModeMismatch` where the key's mode is not the database's.
    """
    row = connection.execute("SELECT livemode FROM installation").fetchone()
    if row is None or row[0] != livemode:
        raise gateway.LiveModeMismatch
    with connection.transaction():
        for one, price in zip(wanted(plan), prices, strict=True):
            connection.execute(
                "UPDATE stripe_prices SET retired_at = %s WHERE plan = %s AND plan_version = %s AND part = %s"
                " AND id <> %s AND retired_at IS NULL",
                (now, plan.plan, plan.version, one.part, price.id),
            )
            connection.execute(
                "INSERT INTO stripe_prices (id, livemode, plan, plan_version, part, synced_at)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET retired_at = NULL",
                (price.id, livemode, plan.plan, plan.version, one.part, now),
            )


def plan_of(connection: psycopg.Connection[Any], prices: Sequence[str]) -> tuple[str, int]:
    """The plan version that these price ids are; `UnknownPrice` if one of them is of no plan, or they are of several."""
    rows = connection.execute(
        "SELECT id, plan, plan_version, part FROM stripe_prices WHERE id = ANY(%s)", (list(prices),)
    ).fetchall()
    if unknown := sorted(set(prices) - {row[0] for row in rows}):
        raise UnknownPrice(f"price {unknown[0]} is of no plan: run `driftlock stripe sync-prices` if it should be")
    found = {(plan, version) for _, plan, version, _ in rows}
    parts = sorted(part for *_, part in rows)
    if len(found) != 1 or len(parts) != len(set(parts)) or "flat" not in parts:
        raise UnknownPrice(f"the prices {', '.join(sorted(prices))} are not those of one plan version")
    ((plan, version),) = found
    needed = connection.execute(
        "SELECT overage_cents IS NOT NULL FROM plan_versions WHERE plan = %s AND version = %s", (plan, version)
    ).fetchone()
    if needed and needed[0] and "overage" not in parts:
        raise UnknownPrice(f"the subscription to {plan} version {version} lacks its metered price")
    return plan, version


def current(connection: psycopg.Connection[Any], plan: str, version: int) -> tuple[tuple[str, bool], ...]:
    """(price id, metered) of a plan version for new subscriptions: flat first. `UnknownPrice` if it was never synced."""
    rows = connection.execute(
        "SELECT id, part = 'overage' FROM stripe_prices WHERE plan = %s AND plan_version = %s AND retired_at IS NULL"
        " ORDER BY part = 'overage'",
        (plan, version),
    ).fetchall()
    if not rows:
        raise UnknownPrice(f"plan {plan} version {version} has no price at Stripe: run `driftlock stripe sync-prices`")
    return tuple((price, metered) for price, metered in rows)
