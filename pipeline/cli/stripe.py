"""`driftlock stripe ...`: prices to Stripe, and Stripe's totals beside the ledger's."""

import os
import sys
from datetime import UTC, datetime, timedelta

from schemas.settings import load


def sync_prices() -> None:
    """Make the meter, and a product and prices for every plan version, where they are missing; nothing is changed."""
    from billing.plans import plans
    from billing.stripe_prices import sync_meter, sync_plan
    from pipeline.meter import connect_stripe

    stripe = connect_stripe(load(os.environ))
    meter = sync_meter(stripe)
    sys.stdout.write(f"meter {meter.event_name}: {meter.id}\n")
    for plan in plans():
        for price in sync_plan(stripe, meter, plan):
            sys.stdout.write(f"price {price.lookup_key}: {price.id}\n")


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
    with meter.connect_database(settings) as connection:
        found = reconcile(connection, stripe, meter.find_meter(stripe), until - timedelta(hours=hours), until)
    for hour in found.hours:
        sent = "-" if hour.sent is None else hour.sent
        sys.stdout.write(
            f"{hour.customer_id} {hour.hour:%Y-%m-%dT%H}Z ledger {hour.ledger} to send {hour.meter_hours} sent {sent}"
            f" Stripe {hour.stripe}{'' if hour.equal else '  <- differs'}\n"
        )
    sys.stdout.write(f"ledger {found.ledger_units} units, Stripe {found.stripe_units} units\n")
    return 1 if found.differences else 0
