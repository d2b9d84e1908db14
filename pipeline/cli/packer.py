"""`driftlock packer`: source topics in, frames out."""

import os
import signal
import sys
import threading
from collections.abc import Sequence

from pipeline import telemetry
from pipeline.packer.accept import accept
from pipeline.packer.loop import Status, run
from schemas.settings import load


def packer(*, accept_new_topic: str = "", create_time: Sequence[str] = ()) -> None:
    """Read the source topics and write frames to the topic blocks, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    accept_new_topic
        A source topic that was made again, or whose log lost offsets: accept that, say what is read instead, and end.
    create_time
        Source topics that keep the producers' times, for recorded data; refused with a live Stripe key.
    """
    settings = load(os.environ)
    if accept_new_topic:
        sys.stdout.write(accept(settings, accept_new_topic) + "\n")
        return
    telemetry.configure(settings, "packer")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    status = Status()
    telemetry.serve(settings, {"partitions": status.wrong})
    run(settings, stop, status, tuple(create_time))
