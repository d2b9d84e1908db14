"""The process that tells: mails of the outbox, its spreading over endpoints, their deliveries; and what it says of itself."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
import structlog

from pipeline.alerts import deliveries, sealed, spread
from pipeline.alerts.deliveries import Senders, Waiting
from pipeline.alerts.delivery import Backlog, Mailing, backlog, deliver_due, mailing
from pipeline.alerts.outgoing import Outbound
from pipeline.database import connect
from pipeline.metrics import counter, gauge
from pipeline.topics import require_no_live_key
from schemas.errors import DatabaseUnreachable
from schemas.settings import Settings

MAILS = counter("driftlock_alerts_mails_total")
WAITING = gauge("driftlock_alerts_waiting")
OLDEST = gauge("driftlock_alerts_oldest_waiting_seconds")
DEAD = gauge("driftlock_alerts_dead")
DELIVERIES = counter("driftlock_alerts_deliveries_total")
DELIVERIES_WAITING = gauge("driftlock_alerts_deliveries_waiting")
DELIVERIES_OLDEST = gauge("driftlock_alerts_deliveries_oldest_seconds")

PASS_SECONDS = 2.0
SENDERS = 4
"""Threads that send to endpoints: so many may be slow at once and hold nobody up."""

_LOG = structlog.get_logger("pipeline.alerts")
Clock = Callable[[], datetime]


@dataclass
class Status:
    """What /readyz asks: why the last pass of each thread failed, in one line."""

    failing: dict[str, str] = field(default_factory=lambda: {"start": "no pass yet"})

    def wrong(self) -> str:
        """Nothing, or what is wrong."""
        return "; ".join(sorted({said for said in self.failing.values() if said}))


def senders(settings: Settings, to: Mailing | None) -> Senders:
    """How deliveries leave, as the settings say. `SettingsError`, `LiveKeyRefused`."""
    if settings.alerts_allow_loopback:
        require_no_live_key(settings, "ALERTS_ALLOW_LOOPBACK", "a tenant could reach what listens on this machine")
    days = timedelta(days=settings.alerts_disable_days)
    keys = sealed.keys_of(settings)
    return Senders(Outbound(settings.alerts_allow_loopback), to, keys, settings.console_url, days)


def mails(settings: Settings) -> Mailing | None:
    """The mailing of the settings; None, and a line in the log, where none is set: then e-mails wait."""
    if not settings.smtp_host and not settings.resend_api_key.get_secret_value():
        _LOG.warning("neither SMTP_HOST nor RESEND_API_KEY is set: e-mails wait until one is")
        return None
    return mailing(settings)


def mail_pass(connection: psycopg.Connection[Any], to: Mailing, clock: Clock, rng: random.Random) -> Backlog:
    """One pass over the mails of the outbox, counted and logged; what is left."""
    done = deliver_due(connection, to, clock, rng)
    for outcome, count in done.items():
        MAILS.labels(outcome).inc(count)
    left = backlog(connection)
    WAITING.set(left.waiting)
    OLDEST.set((clock() - left.oldest).total_seconds() if left.oldest else 0)
    DEAD.set(left.dead)
    if done:
        say = _LOG.info if set(done) == {"delivered"} else _LOG.warning
        say("mailed", waiting=left.waiting, dead=left.dead, **done)
    return left


def endpoint_pass(
    connection: psycopg.Connection[Any],
    by: Senders,
    clock: Clock,
    rng: random.Random,
    stopping: Callable[[], bool] = lambda: False,
) -> Waiting:
    """Spread what is due, send to endpoints what is due, and forget what is old, counted and logged; what is left."""
    spread.spread_due(connection, clock())
    done = deliveries.deliver_due(connection, by, clock, rng, stopping)
    for outcome, count in done.items():
        DELIVERIES.labels(outcome).inc(count)
    deliveries.prune(connection)
    left = deliveries.waiting(connection)
    DELIVERIES_WAITING.set(left.pending)
    DELIVERIES_OLDEST.set((clock() - left.oldest).total_seconds() if left.oldest else 0)
    if done:
        _LOG.info("sent to endpoints", waiting=left.pending, **done)
    return left


def run(settings: Settings, stop: threading.Event, status: Status, clock: Clock, rng: random.Random) -> None:
    """Pass after pass until `stop` is set. PostgreSQL, mail server or endpoints being down is waited out."""
    to = mails(settings)
    every = [senders(settings, mails(settings) if to else None) for _ in range(SENDERS)]  # a connection to mails each
    with connect(settings, "alerts"):
        _LOG.info("sender of alerts starts", mails=to is not None)
    status.failing.clear()
    with ThreadPoolExecutor(SENDERS + 1) as pool:
        work: dict[str, Callable[[psycopg.Connection[Any]], object]] = {
            f"endpoints-{n}": lambda c, by=by: endpoint_pass(c, by, clock, rng, stop.is_set)  # type: ignore[misc]
            for n, by in enumerate(every)
        }
        if to is not None:
            work["mails"] = lambda c: mail_pass(c, to, clock, rng)
        threads = [pool.submit(_again, settings, stop, status, name, step) for name, step in work.items()]
        wait(threads, return_when=FIRST_EXCEPTION)
        stop.set()
    for thread in threads:
        thread.result()


def _again(
    settings: Settings,
    stop: threading.Event,
    status: Status,
    name: str,
    step: Callable[[psycopg.Connection[Any]], object],
) -> None:
    status.failing[name] = "no pass yet"
    while not stop.is_set():
        try:
            with connect(settings, "alerts") as connection:
                while not stop.is_set():
                    step(connection)
                    status.failing[name] = ""
                    stop.wait(PASS_SECONDS)
        except (psycopg.Error, DatabaseUnreachable) as error:
            status.failing[name] = " ".join(str(error).split())[:300]
            _LOG.warning("pass failed", thread=name, error=status.failing[name])
            stop.wait(PASS_SECONDS)
