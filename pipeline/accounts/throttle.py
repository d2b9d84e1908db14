"""Attempts are counted in fixed windows, before they are made: who asks at once gets no more of them."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from pipeline.accounts.errors import TooManyAttempts

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Limit:
    """At most `attempts` of a subject in a window. `subject`: what is counted; only its hash is kept."""

    subject: str
    attempts: int
    window: timedelta = timedelta(minutes=15)

    @property
    def key(self) -> bytes:
        """What is kept of the subject."""
        return hashlib.sha256(self.subject.encode("utf-8", "surrogatepass")).digest()


def count(connection: Connection, limits: list[Limit], now: datetime) -> None:
    """Count an attempt of each subject; `TooManyAttempts` where one is over its limit."""
    wait = timedelta()
    for limit in limits:
        row = connection.execute(
            "INSERT INTO login_failures AS f (subject, failures, since) VALUES (%(key)s, 1, %(now)s)"
            " ON CONFLICT (subject) DO UPDATE SET"
            " failures = CASE WHEN f.since <= %(old)s THEN 1 ELSE least(f.failures + 1, 1000000) END,"
            " since = CASE WHEN f.since <= %(old)s THEN %(now)s ELSE f.since END RETURNING failures, since",
            {"key": limit.key, "now": now, "old": now - limit.window},
        ).fetchone()
        if row is not None and row[0] > limit.attempts:
            wait = max(wait, row[1] + limit.window - now)
    if wait:
        raise TooManyAttempts(max(1, -(-wait // timedelta(seconds=1))))


def forgive(connection: Connection, limits: list[Limit]) -> None:
    """The attempt was right: what was counted of these subjects is nothing."""
    connection.execute("UPDATE login_failures SET failures = 0 WHERE subject = ANY(%s)", ([one.key for one in limits],))
