"""A sink's connection to PostgreSQL, made again after a failure, with limits that keep a stopped process from blocking others."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg
import structlog

from pipeline.sinks.sink import Connection
from schemas.errors import BrokerUnreachable, DatabaseUnreachable, SchemaMissing

T = TypeVar("T")
_LOG = structlog.get_logger("pipeline.sinks")
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.1, 5.0

# A process that was stopped in a transaction holds its locks until the server ends its session: then it is fenced.
LIMITS = "-c idle_in_transaction_session_timeout=15s -c lock_timeout=60s -c statement_timeout=120s -c timezone=UTC"

# Kinds of psycopg's OperationalError that waiting does not cure: the reason is for a person.
_HOPELESS = (psycopg.errors.InvalidPassword, psycopg.errors.InvalidAuthorizationSpecification)
_PASSING = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    BrokerUnreachable,
)
_MISFIT = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InsufficientPrivilege)


class Stopped(Exception):
    """The process is to end while PostgreSQL does not answer; nothing was committed."""


@dataclass
class Database:
    """One connection, lazily made. `said` is why it does not answer, or nothing."""

    url: str
    stop: threading.Event
    on_retry: Callable[[], None] = lambda: None
    said: str = ""
    _connection: Connection | None = field(default=None, repr=False)

    def run(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, tried again with back-off while PostgreSQL or Kafka does not answer.

        `work` must be one transaction, or several that may each be repeated. `Stopped` when the process is to end.
        """
        delay = _FIRST_DELAY_S
        while True:
            try:
                result = work(self._connected())
            except _HOPELESS as error:
                raise DatabaseUnreachable(f"PostgreSQL refuses our login: {line(error)}") from error
            except _PASSING as error:
                self.close()
                self._tell(error)
            except _MISFIT as error:
                raise SchemaMissing(
                    f"the database's schema does not fit this release ({line(error)}): run `driftlock db migrate`"
                ) from error
            else:
                if self.said:
                    _LOG.info("PostgreSQL and Kafka answer again")
                    self.said = ""
                return result
            if self.stop.wait(delay):
                raise Stopped
            delay = min(delay * 2, _LONGEST_DELAY_S)

    def close(self) -> None:
        """End the connection; the next `run` makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.url, autocommit=True, connect_timeout=5, options=LIMITS)
        return self._connection

    def _tell(self, error: Exception) -> None:
        said = line(error)
        if not self.said:
            _LOG.warning("waiting: a batch is tried again until PostgreSQL and Kafka answer", reason=said)
        self.said = said
        self.on_retry()


def require(database: Database, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
    """`DatabaseUnreachable` or `SchemaMissing`, in one line, if no query is answered within `seconds` of the start."""
    deadline = clock() + seconds
    while True:
        try:
            with psycopg.connect(database.url, autocommit=True, connect_timeout=5) as connection:
                connection.execute("SELECT 1 FROM sink_offsets LIMIT 0")
        except _MISFIT as error:
            raise SchemaMissing(
                f"the database's schema is missing or older ({line(error)}): run `driftlock db migrate`"
            ) from error
        except psycopg.OperationalError as error:
            # A refused login has no code of its own here: the server says it before there is a connection.
            if clock() > deadline or "authentication failed" in str(error) or database.stop.wait(0.2):
                raise DatabaseUnreachable(f"PostgreSQL does not answer at DATABASE_URL_SINK: {line(error)}") from error
        else:
            return


def line(error: Exception) -> str:
    """An error's text as one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
