"""The process that mails: pass after pass over the outbox, and what it says of itself."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import structlog

from pipeline.alerts.delivery import Backlog, Server, backlog, deliver_due, server
from pipeline.metrics import counter, gauge
from schemas.errors import DatabaseUnreachable, SettingsError
from schemas.settings import Settings

MAILS = counter("driftlock_alerts_mails_total")
WAITING = gauge("driftlock_alerts_waiting")
OLDEST = gauge("driftlock_alerts_oldest_waiting_seconds")
DEAD = gauge("driftlock_alerts_dead")

PASS_SECONDS = 2.0

_LOG = structlog.get_logger("pipeline.alerts")


@dataclass
class Status:
    """What /readyz asks: why the last pass failed, in one line."""

    failing: str = "no pass yet"

    def wrong(self) -> str:
        """Nothing, or what is wrong."""
        return self.failing


@contextmanager
def connect(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection as role driftlock_alerts; `DatabaseUnreachable` if there is none."""
    url = settings.database_url_alerts.get_secret_value()
    if not url:
        raise SettingsError("DATABASE_URL_ALERTS is not set: role driftlock_alerts")
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="driftlock-alerts")
    except psycopg.OperationalError as error:
        said = " ".join(str(error).split())[:300]
        raise DatabaseUnreachable(f"PostgreSQL does not answer at DATABASE_URL_ALERTS: {said}") from error
    with connection:
        yield connection


def one_pass(
    connection: psycopg.Connection[Any], to: Server, clock: Callable[[], datetime], rng: random.Random
) -> Backlog:
    """One pass, counted and logged; what is left."""
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


def run(
    settings: Settings, stop: threading.Event, status: Status, clock: Callable[[], datetime], rng: random.Random
) -> None:
    """Pass after pass until `stop` is set. PostgreSQL or the mail server being down is waited out."""
    to = server(settings)
    with connect(settings):
        _LOG.info("sender of e-mails starts")
    while not stop.is_set():
        try:
            with connect(settings) as connection:
                while not stop.is_set():
                    one_pass(connection, to, clock, rng)
                    status.failing = ""
                    stop.wait(PASS_SECONDS)
        except (psycopg.Error, DatabaseUnreachable) as error:
            status.failing = " ".join(str(error).split())[:300]
            _LOG.warning("pass failed", error=status.failing)
            stop.wait(PASS_SECONDS)
