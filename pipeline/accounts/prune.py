"""What is over and serves nobody, deleted: tokens and sessions a day after their end, windows of failures, remembered answers.

By the jobs process, as role driftlock_jobs, which sees and deletes no other rows (schemas/migrations/0008_prune.sql).
Refresh tokens go with their session.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg

Connection = psycopg.Connection[Any]
TOKENS_FOR, INVITATIONS_FOR = timedelta(days=1), timedelta(days=30)
"""How long a row is kept after its end: an expired token is told from an unknown one; who was invited is seen for a month."""

_OVER: Mapping[LiteralString, tuple[LiteralString, timedelta]] = {
    "sign_ups": ("expires_at < %s", TOKENS_FOR),
    "password_resets": ("expires_at < %s", TOKENS_FOR),
    "sessions": ("least(ended_at, expires_at) < %s", TOKENS_FOR),
    "login_failures": ("since < %s", TOKENS_FOR),
    "intake_requests": ("begun_at < %s", TOKENS_FOR),
    "invitations": ("accepted_at IS NULL AND expires_at < %s", INVITATIONS_FOR),
}


def prune(connection: Connection, now: datetime) -> Mapping[str, int]:
    """Delete all of it; rows deleted by table. `connection` in autocommit mode: each table is a transaction of its own."""
    return {
        table: connection.execute(f"DELETE FROM {table} WHERE {over}", (now - kept,)).rowcount  # noqa: S608 constants
        for table, (over, kept) in _OVER.items()
    }
