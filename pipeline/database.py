"""A process's one connection to PostgreSQL, as its own role."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import psycopg

from schemas.errors import DatabaseUnreachable, SettingsError
from schemas.settings import Settings

Connection = psycopg.Connection[Any]
Login = Literal["alerts", "control", "jobs", "meter", "webhook"]


@contextmanager
def connect(settings: Settings, login: Login | None) -> Iterator[Connection]:
    """A connection in autocommit mode as role driftlock_<login>, by DATABASE_URL_<LOGIN>; None: the schema's owner, by DATABASE_URL.

    `SettingsError` without the setting, `DatabaseUnreachable` where there is no connection; what fails later is psycopg's.
    """
    name = f"database_url_{login}" if login else "database_url"
    url = getattr(settings, name).get_secret_value()
    if not url:
        whose = f"role driftlock_{login}" if login else "the owner of the schema"
        raise SettingsError(f"{name.upper()} is not set: {whose}")
    program = f"driftlock-{login}" if login else "driftlock"
    try:
        connection = psycopg.connect(
            url, autocommit=True, connect_timeout=10, application_name=program, options="-c timezone=UTC"
        )
    except psycopg.OperationalError as error:
        raise DatabaseUnreachable(f"PostgreSQL does not answer at {name.upper()}: {one_line(error)}") from error
    with connection:
        yield connection


def one_line(error: Exception) -> str:
    """What an error says, in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]
