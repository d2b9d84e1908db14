"""`driftlock meter run`: hour totals from the ledger to Stripe."""

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
    """Send hour totals to Stripe until SIGTERM or Ctrl-C.

    Parameters
    ----------
    once
        Make one pass and end: 0 if Stripe then has everything that is due, 1 if something waits.
    at
        With --once: take this for the present (UTC), for recorded data; refused with a live Stripe key.
    """
    import billing.meter
    from pipeline import meter

    settings = load(os.environ)
    if at is not None and not once:
        raise SettingsError("--at needs --once: a sender that keeps running goes by the present")
    if not once:
        telemetry.configure(settings, "meter")
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        status = meter.Status()
        telemetry.serve(settings, {"stripe": status.wrong})
        meter.run(settings, stop, status, meter.present, random.SystemRandom())
        return 0
    stripe = meter.connect_stripe(settings)
    if at is not None and stripe.livemode:
        raise SettingsError("--at is refused with a live Stripe key: only recorded data has another present")
    telemetry.configure(settings, "meter")
    given = at if at is None or at.tzinfo else at.replace(tzinfo=UTC)

    def clock() -> datetime:
        return given or meter.present()

    with connect(settings, "meter") as connection:
        report = meter.send_pass(connection, stripe, meter.find_meter(stripe), clock, random.SystemRandom())
        waiting, _ = billing.meter.waiting(connection, clock())
    sys.stdout.write(
        f"hours sent {report.sent}, sent before {report.repeated}, unanswered {report.unanswered},"
        f" refused {report.refused}, waiting {waiting}\n"
    )
    return 1 if waiting else 0
