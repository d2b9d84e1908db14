"""`driftlock alerts run`: e-mails about usage and money, from the outbox."""

import os
import random
import signal
import sys
import threading

from pipeline import telemetry
from schemas.settings import load


def run(*, once: bool = False) -> int:
    """Mail what the outbox holds, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    once
        Make one pass and end: 0 if nothing waits then, 1 if something does.
    """
    from pipeline.alerts import loop
    from pipeline.alerts.delivery import server
    from pipeline.jobs import present

    settings = load(os.environ)
    rng = random.SystemRandom()
    telemetry.configure(settings, "alerts")
    if once:
        to = server(settings)
        with loop.connect(settings) as connection:
            left = loop.one_pass(connection, to, present, rng)
        sys.stdout.write(f"waiting {left.waiting}, given up {left.dead}\n")
        return 1 if left.waiting or left.dead else 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    status = loop.Status()
    telemetry.serve(settings, {"outbox": status.wrong})
    loop.run(settings, stop, status, present, rng)
    return 0
