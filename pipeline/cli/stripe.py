"""`driftlock stripe ...`: prices to Stripe, and Stripe's totals beside the ledger's."""

import os
import sys
from datetime import UTC, datetime, timedelta

from pipeline.database import connect
from schemas.settings import load


def sync_prices(*, dry_run: bool = False) -> int:
    """Make the meter, and a product and prices for every plan version, where they are missing; nothing is changed.

    Which price is what is then kept in the database (DATABASE_URL): a subscription to any other is refused.

    Parameters
    ----------
    dry_run
        Make nothing, say what is missing or otherwise at Stripe: exit code 0 if nothing, 1 if something.
    """
    from billing import stripe_prices
    from billing.plans import plans
    from pipeline.meter import connect_stripe, present

    settings = load(os.environ)
    stripe = connect_stripe(settings)
    if dry_run:
        found = stripe_prices.differences(stripe, plans())
        for difference in found:
            does = "would be made" if difference.can_be_made else "would be refused"
            sys.stdout.write(f"{difference.said}: {does}\n")
        sys.stdout.write(f"{len(found)} differences\n")
        return 1 if found else 0
    with connect(settings, None) as connection:
        meter = stripe_prices.sync_meter(stripe)
        sys.stdout.write(f"meter {meter.event_name}: {meter.id}\n")
        for plan in plans():
            prices = stripe_prices.sync_plan(stripe, meter, plan)
            stripe_prices.store(connection, plan, prices, present(), livemode=stripe.livemode)
            for price in prices:
                sys.stdout.write(f"price {price.lookup_key}: {price.id}\n")
    return 0


def read_back(*, hours: int = 48, at: datetime | None = None) -> int:
    """Compare each hour that is over: ledger, what is to be sent, what was sent, what Stripe's summaries show.

    Exit code 0 if all are equal, 1 if not. Reads only.

    Parameters
    ----------
    hours
        How far to look back.
    at
        Take this for the present (UTC), for recorded data.
    """
    from billing.reconcile import reconcile
    from pipeline import meter

    settings = load(os.environ)
    stripe = meter.connect_stripe(settings)
    now = meter.present() if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)
    until = now.replace(minute=0, second=0, microsecond=0)
    with connect(settings, "meter") as connection:
        found = reconcile(connection, stripe, meter.find_meter(stripe), until - timedelta(hours=hours), until)
    for hour in found.hours:
        sent = "-" if hour.sent is None else hour.sent
        sys.stdout.write(
            f"{hour.customer_id} {hour.hour:%Y-%m-%dT%H}Z ledger {hour.ledger} to send {hour.meter_hours} sent {sent}"
            f" Stripe {hour.stripe}{'' if hour.equal else '  <- differs'}\n"
        )
    sys.stdout.write(f"ledger {found.ledger_units} units, Stripe {found.stripe_units} units\n")
    return 1 if found.differences else 0
