"""`driftlock stripe events list|retry` and `driftlock stripe resync`: what Stripe said, and what it never got to say."""

import os
import random
import sys
from datetime import timedelta
from typing import Literal

from pipeline import telemetry
from pipeline.database import connect
from schemas.settings import load

State = Literal["stored", "applied", "ignored", "dead"]


def show(*, state: tuple[State, ...] = ("stored", "dead"), limit: int = 100) -> None:
    """List events, the newest first: by default those that wait and those that are dead.

    Parameters
    ----------
    state
        Which: stored, applied, ignored, dead.
    limit
        At most so many.
    """
    from billing import events

    with connect(load(os.environ), "webhook") as connection:
        found = events.listed(connection, state, limit)
        waiting, _, dead = events.waiting(connection)
    for event in found:
        said = f"  {event.last_error}" if event.last_error else ""
        sys.stdout.write(
            f"{event.received_at:%Y-%m-%dT%H:%M:%SZ} {event.id} {event.type} {event.object_id or '-'}"
            f" {event.state} attempts {event.attempts}{said}\n"
        )
    sys.stdout.write(f"{waiting} wait, {dead} are dead\n")


def retry(*event: str) -> int:
    """Apply dead events again, from the first attempt on; all of them where none is named.

    Parameters
    ----------
    event
        Ids, as the list shows them.
    """
    from billing import alarms, events
    from pipeline import meter

    with connect(load(os.environ), "webhook") as connection, connection.transaction():
        done = events.retry(connection, event)
        for one in done:
            alarms.clear(connection, "event_dead", one, meter.present())
    sys.stdout.write(f"{len(done)} events will be applied again\n")
    return 1 if set(event) - set(done) else 0


def resync(*, days: int = 30) -> int:
    """Store the events that no webhook brought, and every subscription and invoice as Stripe shows it now.

    Exit code 1 if something could not be stored; it is named.

    Parameters
    ----------
    days
        How far back to look for events; Stripe lists 30 days.
    """
    from pipeline import meter, webhooks

    settings = load(os.environ)
    stripe = meter.connect_stripe(settings)
    telemetry.configure(settings, "webhooks")
    with connect(settings, "webhook") as connection:
        given = webhooks.make_applier(connection, stripe, meter.present, random.SystemRandom())
        found = webhooks.resync_now(given, timedelta(days=days))
        webhooks.apply_due(given)
    sys.stdout.write(
        f"events stored {found.events}, subscriptions {found.subscriptions}, invoices {found.invoices},"
        f" not stored {len(found.failed)}\n"
    )
    for said in found.failed:
        sys.stdout.write(f"{said}\n")
    return 1 if found.failed else 0
