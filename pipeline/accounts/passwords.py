"""Passwords: argon2id, and their reset and change. Connections are of role driftlock_accounts, in autocommit mode."""

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

Connection = psycopg.Connection[Any]


def request_reset(connection: Connection, email: str, now: datetime) -> None:
    """Mail a link to set a new password, if there is such a user; the same answer if not. `TooManyAttempts`."""
    raise NotImplementedError


def reset(connection: Connection, token: str, password: str, now: datetime) -> UUID:
    """Set a new password and end all sessions; the user. `BadToken`, `Invalid`."""
    raise NotImplementedError


def change(connection: Connection, user_id: UUID, *, old: str, new: str, now: datetime) -> None:
    """Change a password, ending all sessions. `BadCredentials`, `Invalid`."""
    raise NotImplementedError
