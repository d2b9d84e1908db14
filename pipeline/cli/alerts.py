"""`driftlock alerts run`: e-mails of the outbox, and alerts to webhooks, Slack, PagerDuty and e-mail endpoints."""

import os
import random
import signal
import sys
import threading

from pipeline import telemetry
from pipeline.database import connect
from schemas.errors import SettingsError
from schemas.settings import load


def run(*, once: bool = False, now: bool = False) -> int:
    """Tell what the outbox holds, by e-mail and to endpoints, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    once
        Make one pass and end: 0 if nothing waits then, 1 if something does.
    now
        With --once: mails that wait for a later attempt too, when the mail server is mended.
    """
    from pipeline.alerts import loop
    from pipeline.alerts.delivery import Backlog, hurry
    from pipeline.jobs import present

    settings = load(os.environ)
    if now and not once:
        raise SettingsError("--now needs --once: a sender that keeps running goes by the times of the next attempts")
    rng = random.SystemRandom()
    telemetry.configure(settings, "alerts")
    if once:
        to = loop.mails(settings)
        by = loop.senders(settings, to)
        with connect(settings, "alerts") as connection:
            if now:
                hurry(connection)
            left = loop.mail_pass(connection, to, present, rng) if to else Backlog(0, None, 0)
            there = loop.endpoint_pass(connection, by, present, rng)
        pending, dead = left.waiting + there.pending, left.dead + there.dead
        sys.stdout.write(f"waiting {pending}, given up {dead}\n")
        return 1 if pending or dead else 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    status = loop.Status()
    telemetry.serve(settings, {"outbox": status.wrong})
    loop.run(settings, stop, status, present, rng)
    return 0
