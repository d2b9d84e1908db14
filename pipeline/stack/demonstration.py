"""The steps of a demonstration that need care: when everything has come out, what Stripe then says, and what must hold."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from billing import stripe_gateway
from billing.reconcile import Reconciliation, reconcile
from pipeline import meter
from pipeline.database import connect
from pipeline.embedded import process
from pipeline.stack import account, processes
from pipeline.stack.account import Account
from pipeline.stack.components import Components
from pipeline.stack.seed import Seeded, move_stripes_clock
from schemas.errors import DriftlockError
from schemas.settings import load

PROGRAMS = (processes.SINK_ANOMALIES, processes.SINK_USAGE, processes.WORKER, processes.PACKER, processes.API)
"""Not the meter sender: the demonstration moves its clock, and makes its pass itself."""
SETTLED_S = 2.0


class NothingComesOut(DriftlockError):
    """Not all events came out in time."""


@dataclass(frozen=True)
class Bill:
    """What Stripe holds: the hours, ours and its own, and its preview of the next invoice in cents."""

    reconciled: Reconciliation
    cents: int


def wait(parts: Components, seeded: Seeded, published: int, tend: Callable[[], None], patience_s: float) -> Account:
    """The account once every event is accounted for and nothing more has come for two seconds; `NothingComesOut` else."""
    settings = load(parts.environ)
    end = time.monotonic() + patience_s
    last: Account | None = None
    since = time.monotonic()
    with psycopg.connect(parts.postgres.url(), autocommit=True) as connection:
        while True:
            now = account.read(settings, connection, seeded.organization_id)
            if now != last:
                last, since = now, time.monotonic()
            if now.events >= published and now.anomalies == now.billable + now.warmup:
                if time.monotonic() - since >= SETTLED_S:
                    return now
            elif time.monotonic() > end:
                tails = "; ".join(f"{p.name}: {process.tail(parts.logs / f'{p.name}.log')}" for p in PROGRAMS)
                raise NothingComesOut(f"{now.events} of {published} events came out after {patience_s:.0f} s. {tails}")
            tend()
            time.sleep(0.2)


def send_to_stripe(parts: Components, seeded: Seeded, at: datetime) -> Bill:
    """One pass of the sender at `at`, with Stripe's clock there too, then what both sides say."""
    settings = load(parts.environ)
    move_stripes_clock(parts, at)
    with connect(settings, "meter") as connection:
        meter.send_pass(connection, seeded.stripe, seeded.meter, lambda: at, random.SystemRandom())
        until = at.replace(minute=0, second=0, microsecond=0)
        reconciled = reconcile(connection, seeded.stripe, seeded.meter, until - timedelta(hours=24), until)
    lines = stripe_gateway.preview_invoice(seeded.stripe, seeded.subscription.id)
    return Bill(reconciled, sum(line.amount for line in lines))


def wrong(published: int, outcome: Account, bill: Bill) -> list[str]:
    """What does not hold of what is promised, a line each."""
    said = []
    if outcome.billable <= 0:
        said.append("no unit was billed")
    if outcome.events != published:
        said.append(f"{published} events went in, {outcome.events} are accounted for")
    if bill.reconciled.differences:
        said.append(f"{len(bill.reconciled.differences)} hours differ between ledger and Stripe")
    if bill.reconciled.ledger_units != outcome.billable:
        said.append(f"{outcome.billable} units are billable, the hours at Stripe hold {bill.reconciled.ledger_units}")
    return said
