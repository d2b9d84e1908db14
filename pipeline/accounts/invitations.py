"""Accepting an invitation. Connections are of role driftlock_accounts, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from pipeline.accounts.roles import Role

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Invited:
    """What an invitation says to who holds its token. `has_account`: then no name and password are asked for."""

    email: str
    organization: str
    role: Role
    has_account: bool


def look(connection: Connection, token: str, now: datetime) -> Invited:
    """What an invitation says. `BadToken`."""
    raise NotImplementedError


def accept(connection: Connection, token: str, *, name: str | None, password: str, now: datetime) -> UUID:
    """Become a member: as a new user with this name and password, or as the one with this e-mail and password; its id.

    `BadToken`, `BadCredentials`, `Invalid`.
    """
    raise NotImplementedError
