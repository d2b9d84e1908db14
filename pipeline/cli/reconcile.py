"""`driftlock billing reconcile`: Kafka = ledger = rollup = hours = Stripe = invoice, as a table."""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipeline import telemetry
from pipeline.database import connect
from schemas.errors import SettingsError
from schemas.settings import load

if TYPE_CHECKING:
    from billing.differences import Result


def reconcile(
    *,
    hours: int = 48,
    full: bool = False,
    at: datetime | None = None,
    kafka: bool = True,
    every: int = 0,
) -> int:
    """Compare the six pairs of totals (R1 to R6) and print a table: exit code 0 if all are equal, 1 if not.

    What differs is seen from now on, rings after two hours, and then holds the organization's draft invoice.

    Parameters
    ----------
    hours
        How far to look back.
    full
        Count every row of the ledger, not only those of open periods.
    at
        Take this for the present (UTC), for recorded data: compares and prints, and changes nothing.
    kafka
        Ask Kafka for the ends of its logs; without, R1 compares what the database says alone.
    every
        Do it again every so many minutes, until SIGTERM or Ctrl-C.
    """
    from billing import differences
    from pipeline import meter
    from pipeline.logs import usage_logs

    settings = load(os.environ)
    if at is not None and every:
        raise SettingsError("--at is for one comparison, --every for many: one of them")
    stripe = meter.connect_stripe(settings)
    stop = threading.Event()
    if every:
        telemetry.configure(settings, "reconcile")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        meter.run_reconcile(settings, stripe, stop, timedelta(minutes=every), timedelta(hours=hours), kafka=kafka)
        return 0
    now = meter.present() if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)
    with connect(settings, "meter") as connection:
        found = differences.compare(
            connection,
            stripe,
            meter.find_meter(stripe),
            now,
            span=timedelta(hours=hours),
            kafka=usage_logs(settings) if kafka else None,
            full=full,
        )
        if at is None:
            differences.follow_up(connection, stripe, found, now)
    sys.stdout.write(table(found))
    return 1 if found.findings else 0


_NAMES: Mapping[str, str] = {
    "R1": "Kafka = ledger + not anomaly + duplicates + dead letters",
    "R2": "ledger = rollup",
    "R3": "ledger = hours = sent",
    "R4": "sent = Stripe's summaries",
    "R5": "our price = Stripe's upcoming line",
    "R6": "billable units = anomalies with evidence",
}


def table(found: "Result") -> str:
    """The checks as a table, then a line for each difference."""
    lines = [f"{'':4}{'compared':>10}{'differ':>8}  what"]
    lines += [f"{one.check:4}{one.places:>10}{len(one.findings):>8}  {_NAMES[one.check]}" for one in found.compared]
    lines += [finding.said for finding in found.findings]
    lines.append(f"ledger {found.hours.ledger_units} units, Stripe {found.hours.stripe_units} units")
    return "\n".join(lines) + "\n"
