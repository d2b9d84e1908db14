"""What webhooks never brought: events of Stripe's 30-day list that are not stored, and every object's present state."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from billing import events
from billing import stripe_gateway as gateway
from billing import stripe_objects as objects
from billing.applier import Applier, apply_invoice, apply_subscription
from schemas.errors import DriftlockError

LISTED = timedelta(days=30)
"""So far back Stripe lists events (docs.stripe.com/api/events)."""
INVOICES_OF = timedelta(days=60)


@dataclass(frozen=True)
class Resynced:
    """How many events were missing, and how many subscriptions and invoices were fetched; what could not be stored."""

    events: int
    subscriptions: int
    invoices: int
    failed: tuple[str, ...]


def backfill(applier: Applier, since: datetime) -> int:
    """Store the events made since then that no webhook brought; how many. They are applied like the others."""
    stored = 0
    oldest = max(since, applier.clock() - LISTED)
    for said in objects.list_events(applier.stripe, int(oldest.timestamp())):
        try:
            event = events.read(said)
        except events.BadEvent:
            continue  # of a kind that no webhook of ours carries
        if objects.kind_of(event.type):
            stored += events.store(applier.connection, event, applier.clock(), "list")
            applier.crash("webhooks:after-backfill-of-one")
    return stored


def resync(applier: Applier, since: datetime) -> Resynced:
    """Backfill, then store every subscription as it is now, and the invoices of the last 60 days of their customers.

    One that can't be stored (unknown price, not linked) is named; the others go on.
    """
    filled = backfill(applier, since)
    failed: list[str] = []
    subscriptions = invoices = 0
    customers: set[str] = set()
    for found in objects.list_subscriptions(applier.stripe):
        customers.add(found.customer)
        subscriptions += _one(applier, "subscription", found.id, failed)
    recent = int((applier.clock() - INVOICES_OF).timestamp())
    for customer in sorted(customers):
        for invoice in objects.list_invoices(applier.stripe, customer, recent):
            invoices += _one(applier, "invoice", invoice.id, failed)
    return Resynced(filled, subscriptions, invoices, tuple(failed))


def _one(applier: Applier, kind: str, object_id: str, failed: list[str]) -> int:
    try:
        with applier.connection.transaction():
            if kind == "subscription":
                apply_subscription(applier, object_id, applier.clock())
            else:
                apply_invoice(applier, object_id, applier.clock())
    except (gateway.StripeUnanswered, gateway.StripeBusy, gateway.LiveModeMismatch):
        raise
    except DriftlockError as error:
        failed.append(f"{kind} {object_id}: {error}")
        return 0
    return 1
