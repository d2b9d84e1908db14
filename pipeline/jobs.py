"""The connection of billing's jobs and of the operator's commands, as role driftlock_jobs."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg

from schemas.errors import DatabaseUnreachable, DriftlockError, SchemaMissing, SettingsError
from schemas.settings import Settings

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
