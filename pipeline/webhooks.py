"""The loop of the webhook applier: stored events are applied, graces and trials followed by the clock, a resync each night."""

import random
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
import structlog

from billing import alarms, applier, events
from billing import stripe_gateway as gateway
from billing.applier import Applier
from billing.meter_hours import backoff
from billing.resync import Resynced, resync
from pipeline import metrics
from pipeline.crash import crash_point
from pipeline.database import connect
from schemas.errors import DriftlockError, SettingsError
from schemas.settings import Settings

APPLIED = metrics.counter("driftlock_webhook_events_total")
WAITING = metrics.gauge("driftlock_webhook_waiting_events")
OLDEST = metrics.gauge("driftlock_webhook_oldest_waiting_seconds")
DEAD = metrics.gauge("driftlock_webhook_dead_events")
RINGING = metrics.gauge("driftlock_alarms_ringing")
FAILED = metrics.counter("driftlock_webhook_failed_passes_total")
RESYNCED = metrics.gauge("driftlock_webhook_resynced_timestamp_seconds")

PASS_SECONDS = 1.0
TICK_EVERY = timedelta(minutes=1)
RESYNC_EVERY = timedelta(hours=24)
RESYNC_HOUR = 3
"""UTC hour of the nightly resync."""
RESYNC_BACK = timedelta(days=3)

log = structlog.get_logger(__name__)


@dataclass
class Status:
    """What /readyz asks: why the last pass failed, in one line. When the clock's work was done last."""

    failing: str = "no pass yet"
    ticked_at: datetime | None = field(default=None)
    resynced_at: datetime | None = field(default=None)

    def wrong(self) -> str:
        """Nothing, or what is wrong."""
        return self.failing


def make_applier(
    connection: psycopg.Connection[Any], stripe: gateway.Connection, clock: applier.Clock, rng: random.Random
) -> Applier:
    """The applier of this process; `LiveModeMismatch` where the key's mode is not the database's."""
    applier.require_mode(connection, stripe)
    return Applier(connection, stripe, clock, rng, crash_point)


def apply_due(given: Applier) -> bool:
    """Apply what is due, event by event, counted and logged; True if Stripe did not answer."""
    down = False
    while not down and (done := applier.apply_next(given)) is not None:
        APPLIED.labels(done.became).inc()
        say = {"dead": log.error, "retried": log.warning, "down": log.warning}.get(done.became, log.info)
        say(
            "event",
            id=done.event.id,
            type=done.event.type,
            object=done.event.object_id,
            became=done.became,
            said=done.said,
        )
        down = done.became == "down"
    gauge(given.connection, given.clock())
    return down


def gauge(connection: psycopg.Connection[Any], now: datetime) -> None:
    """Show what waits and what rings."""
    waiting, oldest, dead = events.waiting(connection)
    WAITING.set(waiting)
    OLDEST.set((now - oldest).total_seconds() if oldest else 0)
    DEAD.set(dead)
    RINGING.clear()
    for kind, count in alarms.ringing(connection).items():
        RINGING.labels(kind).set(count)


def resync_now(given: Applier, back: timedelta) -> Resynced:
    """One resync, logged; what could not be stored is named."""
    found = resync(given, given.clock() - back)
    for said in found.failed:
        log.error("not resynced", said=said)
    log.info("resynced", events=found.events, subscriptions=found.subscriptions, invoices=found.invoices)
    RESYNCED.set(given.clock().timestamp())
    return found


def run(
    settings: Settings,
    stripe: gateway.Connection,
    stop: threading.Event,
    status: Status,
    clock: applier.Clock,
    rng: random.Random,
) -> None:
    """Pass after pass until `stop` is set. PostgreSQL or Stripe being down is waited out; wrong settings are raised."""
    with connect(settings, "webhook") as connection:
        make_applier(connection, stripe, clock, rng)
        log.info("webhook applier starts", livemode=stripe.livemode)
    failures = 0
    while not stop.is_set():
        try:
            with connect(settings, "webhook") as connection:
                given = make_applier(connection, stripe, clock, rng)
                while not stop.is_set():
                    down = _turn(given, status)
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


def _turn(given: Applier, status: Status) -> bool:
    now = given.clock()
    if status.ticked_at is None or now - status.ticked_at >= TICK_EVERY:
        applier.tick(given)
        status.ticked_at = now
    down = apply_due(given)
    status.failing = "Stripe does not answer" if down else ""
    if not down and is_night(status.resynced_at, now):
        # At the first start too: what was sent while nobody listened is in the list.
        resync_now(given, RESYNC_BACK)
        status.resynced_at = now
    return down


def is_night(last: datetime | None, now: datetime) -> bool:
    """Whether the nightly resync is due: its hour has come since the last one, or there was none."""
    tonight = now.replace(hour=RESYNC_HOUR, minute=0, second=0, microsecond=0)
    due = tonight if now >= tonight else tonight - RESYNC_EVERY
    return last is None or last < due
