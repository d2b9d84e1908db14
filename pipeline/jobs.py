"""The connection of billing's jobs and of the operator's commands, as role driftlock_jobs; and the jobs done by the clock."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import structlog

from billing.changes import roll_periods
from pipeline import database
from pipeline.accounts.prune import prune
from pipeline.database import Connection, one_line
from pipeline.metrics import counter, gauge
from schemas.errors import DatabaseUnreachable, SchemaMissing
from schemas.settings import Settings

PROGRESS = gauge("driftlock_jobs_progress_timestamp_seconds")
FAILED = counter("driftlock_jobs_failed_passes_total")
PASS_SECONDS = 600.0
RETRY_SECONDS = 10.0

_LOG = structlog.get_logger("pipeline.jobs")
_MISFIT = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InsufficientPrivilege)


@contextmanager
def connect(settings: Settings) -> Iterator[Connection]:
    """A connection in autocommit mode. `DatabaseUnreachable` or `SchemaMissing`, in one line, also where it fails in use."""
    try:
        with database.connect(settings, "jobs") as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise DatabaseUnreachable(f"PostgreSQL does not answer at DATABASE_URL_JOBS: {one_line(error)}") from error
    except _MISFIT as error:
        raise SchemaMissing(
            f"the database's schema does not fit this release ({one_line(error)}): run `driftlock db migrate`"
        ) from error


def present(given: datetime | None = None) -> datetime:
    """The present in UTC, or what was given for it (UTC where it names no zone)."""
    if given is None:
        return datetime.now(UTC)
    return given if given.tzinfo else given.replace(tzinfo=UTC)


@dataclass
class Status:
    """What /readyz asks: why the last pass failed, in one line."""

    failing: str = "no pass yet"

    def wrong(self) -> str:
        """Nothing, or what is wrong."""
        return self.failing


def run(settings: Settings, stop: threading.Event, status: Status) -> None:
    """Pass after pass until `stop` is set. PostgreSQL being down is waited out; wrong settings are raised."""
    while not stop.is_set():
        try:
            with connect(settings) as connection:
                rolled = roll_periods(connection, present())
                pruned = prune(connection, present())
        except DatabaseUnreachable as error:
            status.failing = str(error)
            FAILED.labels(type(error).__name__).inc()
            _LOG.warning("pass failed", error=status.failing)
            stop.wait(RETRY_SECONDS)
        else:
            status.failing = ""
            PROGRESS.set_to_current_time()
            _LOG.info("jobs done", rolled_on=rolled, pruned=sum(pruned.values()))
            stop.wait(PASS_SECONDS)
