"""`driftlock webhooks run`: what Stripe's events say is applied."""

import os
import random
import signal
import sys
import threading

from pipeline import telemetry
from schemas.settings import load


def run(*, once: bool = False) -> int:
    """Apply stored events of Stripe until SIGTERM or Ctrl-C.

    Parameters
    ----------
    once
        Apply what is due and end: 0 if nothing waits then, 1 if something waits or is dead.
    """
    from billing import applier, events
    from pipeline import meter, webhooks

    settings = load(os.environ)
    stripe = meter.connect_stripe(settings)
    telemetry.configure(settings, "webhooks")
    if not once:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        status = webhooks.Status()
        telemetry.serve(settings, {"webhooks": status.wrong})
        webhooks.run(settings, stripe, stop, status, meter.present, random.SystemRandom())
        return 0
    with webhooks.connect_database(settings) as connection:
        given = webhooks.make_applier(connection, stripe, meter.present, random.SystemRandom())
        applier.tick(given)
        webhooks.apply_due(given)
        waiting, _, dead = events.waiting(connection)
    sys.stdout.write(f"events waiting {waiting}, dead {dead}\n")
    return 1 if waiting or dead else 0
