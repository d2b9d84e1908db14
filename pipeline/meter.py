"""The loop of the meter sender: passes over what is due, an hourly reconciling, and what both say of themselves."""

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog

from billing import credit_notes, differences
from billing import meter as sender
from billing import stripe_gateway as gateway
from billing.differences import Result
from billing.invariants import Log
from billing.meter_hours import backoff
from billing.stripe_prices import EVENT_NAME
from pipeline import telemetry
from pipeline.crash import crash_point
from pipeline.database import connect
from pipeline.logs import usage_logs
from pipeline.metrics import counter, gauge
from schemas.errors import DriftlockError, SettingsError
from schemas.settings import Settings

HOURS = counter("driftlock_meter_hours_total")
WAITING = gauge("driftlock_meter_waiting_hours")
OLDEST = gauge("driftlock_meter_oldest_waiting_seconds")
DIFFERING = gauge("driftlock_reconcile_differences")
RINGING = gauge("driftlock_reconcile_ringing")
RECONCILED = gauge("driftlock_reconcile_timestamp_seconds")
CREDIT_NOTES = counter("driftlock_meter_credit_notes_total")
FAILED = counter("driftlock_meter_failed_passes_total")

PASS_SECONDS = 5.0
RECONCILE_EVERY = timedelta(hours=1)
_COUNTED = ("sent", "repeated", "unanswered", "busy", "refused", "confirmed", "resent", "too_old")

log = structlog.get_logger(__name__)


@dataclass
class Status:
    """What /readyz asks: why the last pass failed, in one line."""

    failing: str = "no pass yet"
    reconciled_at: datetime | None = field(default=None)

    def wrong(self) -> str:
        """Nothing, or what is wrong."""
        return self.failing


def connect_stripe(settings: Settings) -> gateway.Connection:
    """The connection of the settings; `SettingsError` or `LiveKeyRefused` in one line."""
    return gateway.connect(
        settings.stripe_api_key.get_secret_value(), base=settings.stripe_api_base, allow_live=settings.stripe_allow_live
    )


def find_meter(stripe: gateway.Connection) -> gateway.Meter:
    """Our meter; `StripeRefused` says which command makes it."""
    return gateway.find_meter(stripe, EVENT_NAME)


def send_pass(
    connection: psycopg.Connection[Any],
    stripe: gateway.Connection,
    meter: gateway.Meter,
    clock: Callable[[], datetime],
    rng: random.Random,
) -> sender.Report:
    """One pass, counted and logged."""
    report = sender.send_due_hours(connection, stripe, meter, clock, rng, crash_point)
    for outcome in _COUNTED:
        HOURS.labels(outcome).inc(getattr(report, outcome))
    waiting = measure(connection, clock())
    old = sender.ring_old_hours(connection, clock())
    said = {name: getattr(report, name) for name in _COUNTED if getattr(report, name)}
    if said:
        urgent = report.refused or report.too_old or old
        (log.error if urgent else log.info)("hours", waiting=waiting, stripe_down=report.down, **said)
    return report


def measure(connection: psycopg.Connection[Any], now: datetime) -> int:
    """Say how many hours that are over wait, and since when; how many."""
    waiting, oldest = sender.waiting(connection, now)
    WAITING.set(waiting)
    OLDEST.set((now - oldest).total_seconds() if oldest else 0)
    return waiting


def reconcile_pass(
    connection: psycopg.Connection[Any],
    stripe: gateway.Connection,
    meter: gateway.Meter,
    now: datetime,
    *,
    span: timedelta = differences.SPAN,
    kafka: Mapping[int, Log] | None = None,
    full: bool = False,
) -> Result:
    """Compare R1 to R6, and follow up: ring, put hours in doubt so that they are read and sent again, hold, release."""
    found = differences.compare(connection, stripe, meter, now, span=span, kafka=kafka, full=full)
    ringing = differences.follow_up(connection, stripe, found, now, crash_point)
    for one in found.compared:
        DIFFERING.labels(one.check).set(len(one.findings))
    RINGING.set(ringing)
    RECONCILED.set(now.timestamp())
    say = log.error if ringing else log.info
    counts = {one.check: len(one.findings) for one in found.compared if one.findings}
    say("reconciled", hours=len(found.hours.hours), ringing=ringing, **counts)
    return found


def run_reconcile(
    settings: Settings,
    stripe: gateway.Connection,
    stop: threading.Event,
    every: timedelta,
    span: timedelta,
    *,
    kafka: bool,
) -> None:
    """Reconcile every so often, the ledger's every row once a day. Whatever is down is waited out."""
    telemetry.serve(settings, {})
    counted: datetime | None = None
    while not stop.is_set():
        now = present()
        full = counted is None or now - counted >= timedelta(days=1)
        try:
            with connect(settings, "meter") as connection:
                logs = usage_logs(settings) if kafka else None
                reconcile_pass(connection, stripe, find_meter(stripe), now, span=span, kafka=logs, full=full)
            counted = now if full else counted
        except (psycopg.Error, DriftlockError) as error:
            if isinstance(error, SettingsError):
                raise
            FAILED.labels(type(error).__name__).inc()
            log.warning("not reconciled", error=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
        stop.wait(every.total_seconds())


def run(
    settings: Settings, stop: threading.Event, status: Status, clock: Callable[[], datetime], rng: random.Random
) -> None:
    """Pass after pass until `stop` is set. PostgreSQL or Stripe being down is waited out; wrong settings are raised."""
    stripe = connect_stripe(settings)
    with connect(settings, "meter"):
        log.info("meter sender starts", livemode=stripe.livemode)
    failures = 0
    while not stop.is_set():
        try:
            with connect(settings, "meter") as connection:
                measure(connection, clock())  # what waits rings too where Stripe is away from the start
                meter = find_meter(stripe)
                while not stop.is_set():
                    down = _turn(connection, stripe, meter, status, clock, rng)
                    failures = failures + 1 if down else 0
                    stop.wait(backoff(failures, rng).total_seconds() if down else PASS_SECONDS)
        except (psycopg.Error, DriftlockError) as error:
            if isinstance(error, SettingsError | gateway.LiveModeMismatch):
                raise
            failures += 1
            status.failing = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            FAILED.labels(type(error).__name__).inc()
            log.warning("pass failed", error=status.failing, failures=failures)
            stop.wait(backoff(failures, rng).total_seconds())


def _turn(
    connection: psycopg.Connection[Any],
    stripe: gateway.Connection,
    meter: gateway.Meter,
    status: Status,
    clock: Callable[[], datetime],
    rng: random.Random,
) -> bool:
    report = send_pass(connection, stripe, meter, clock, rng)
    for outcome, count in credit_notes.issue_due(connection, stripe, clock(), rng, crash_point).items():
        CREDIT_NOTES.labels(outcome).inc(count)
    status.failing = "Stripe does not answer" if report.down else ""
    now = clock()
    if not report.down and (status.reconciled_at is None or now - status.reconciled_at >= RECONCILE_EVERY):
        reconcile_pass(connection, stripe, meter, now)
        status.reconciled_at = now
    return report.down


def present() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)
