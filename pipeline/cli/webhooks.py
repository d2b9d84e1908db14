"""`driftlock webhooks run`: what Stripe's events say is applied."""

import os
import random
import signal
import sys
import threading
from datetime import UTC, datetime

from pipeline import telemetry
from pipeline.database import connect
from schemas.errors import SettingsError
from schemas.settings import load


def run(*, once: bool = False, at: datetime | None = None) -> int:
    """Apply stored events of Stripe until SIGTERM or Ctrl-C.

    Parameters
    ----------
    once
        Apply what is due and end: 0 if nothing waits then, 1 if something waits or is dead.
    at
        With --once: take this for the present (UTC), for recorded data; refused with a live Stripe key.
    """
    from billing import applier, events
    from pipeline import meter, webhooks

    settings = load(os.environ)
    if at is not None and not once:
        raise SettingsError("--at needs --once: an applier that keeps running goes by the present")
    stripe = meter.connect_stripe(settings)
    if at is not None and stripe.livemode:
        raise SettingsError("--at is refused with a live Stripe key: only recorded data has another present")
    telemetry.configure(settings, "webhooks")
    if not once:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        status = webhooks.Status()
        telemetry.serve(settings, {"webhooks": status.wrong})
        webhooks.run(settings, stripe, stop, status, meter.present, random.SystemRandom())
        return 0
    given_at = at if at is None or at.tzinfo else at.replace(tzinfo=UTC)

    def clock() -> datetime:
        return given_at or meter.present()

    with connect(settings, "webhook") as connection:
        given = webhooks.make_applier(connection, stripe, clock, random.SystemRandom())
        applier.tick(given)
        webhooks.apply_due(given)
        waiting, _, dead = events.waiting(connection)
    sys.stdout.write(f"events waiting {waiting}, dead {dead}\n")
    return 1 if waiting or dead else 0
