"""`driftlock control run`: what tenants said, from PostgreSQL to the topic control."""

import os
import signal
import sys
import threading

from pipeline import telemetry
from pipeline.database import connect
from schemas.settings import load


def run(*, again: bool = False) -> int:
    """Carry control messages to Kafka until SIGTERM or Ctrl-C.

    Parameters
    ----------
    again
        Let the last message of every organization, stream and anomaly be sent once more, and end: after `blocks` was made
        again, or frames of it were lost. What workers know already changes nothing.
    """
    from pipeline import control
    from pipeline.jobs import present

    settings = load(os.environ)
    telemetry.configure(settings, "control")
    if again:
        with connect(settings, "control") as connection:
            sys.stdout.write(f"to be sent again: {control.again(connection)}\n")
        return 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    status = control.Status()
    telemetry.serve(settings, {"control": status.wrong})
    control.run(settings, stop, status, present)
    return 0
