"""`driftlock jobs run`: what billing does by the clock alone."""

import os
import signal
import threading

from pipeline import telemetry
from schemas.settings import load


def run() -> None:
    """Roll billing periods on, every ten minutes, until SIGTERM or Ctrl-C. PostgreSQL being down is waited out."""
    from pipeline import jobs

    settings = load(os.environ)
    telemetry.configure(settings, "jobs")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    status = jobs.Status()
    telemetry.serve(settings, {"jobs": status.wrong})
    jobs.run(settings, stop, status)
