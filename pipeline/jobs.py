"""The connection of billing's jobs and of the operator's commands, as role driftlock_jobs; and the jobs done by the clock."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import structlog

from billing.changes import roll_periods
from pipeline.metrics import counter, gauge
from schemas.errors import DatabaseUnreachable, DriftlockError, SchemaMissing, SettingsError
from schemas.settings import Settings

PROGRESS = gauge("driftlock_jobs_progress_timestamp_seconds")
FAILED = counter("driftlock_jobs_failed_passes_total")
PASS_SECONDS = 600.0
RETRY_SECONDS = 10.0

_LOG = structlog.get_logger("pipeline.jobs")
_MISFIT = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InsufficientPrivilege)


@contextmanager
def connect(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit mode. `DatabaseUnreachable` or `SchemaMissing`, in one line, also where it fails in use."""
    url = settings.database_url_jobs.get_secret_value()
    if not url:
        raise SettingsError("DATABASE_URL_JOBS is not set: role driftlock_jobs")
    try:
        with psycopg.connect(
            url, autocommit=True, connect_timeout=10, application_name="driftlock-jobs", options="-c timezone=UTC"
        ) as connection:
            yield connection
    except DriftlockError:
        raise
    except psycopg.OperationalError as error:
        raise DatabaseUnreachable(f"PostgreSQL does not answer at DATABASE_URL_JOBS: {_line(error)}") from error
    except _MISFIT as error:
        raise SchemaMissing(
            f"the database's schema does not fit this release ({_line(error)}): run `driftlock db migrate`"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


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
        except DatabaseUnreachable as error:
            status.failing = str(error)
            FAILED.labels(type(error).__name__).inc()
            _LOG.warning("pass failed", error=status.failing)
            stop.wait(RETRY_SECONDS)
        else:
            status.failing = ""
            PROGRESS.set_to_current_time()
            _LOG.info("periods rolled on", organizations=rolled)
            stop.wait(PASS_SECONDS)
