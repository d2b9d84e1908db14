"""Login, access and refresh tokens, logout. Connections are of role driftlock_accounts, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from pipeline.accounts.roles import Principal, Role

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Tokens:
    """What a login gives. `access` is a JWT of 10 minutes; `refresh` is used once and replaced."""

    access: str
    refresh: str
    access_expires_at: datetime
    refresh_expires_at: datetime
    user_id: UUID
    organization_id: UUID
    session_id: UUID


@dataclass(frozen=True)
class Membership:
    """An organization of a user."""

    organization_id: UUID
    name: str
    role: Role


@dataclass(frozen=True)
class Session:
    """A login that is still good."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    user_agent: str


def log_in(
    connection: Connection, key: bytes, *, email: str, password: str, address: str, user_agent: str, now: datetime
) -> Tokens:
    """A new session. `BadCredentials`, the same for an unknown e-mail; `TooManyAttempts`. `address`: the peer's IP."""
    raise NotImplementedError


def refresh(connection: Connection, key: bytes, token: str, now: datetime) -> Tokens:
    """New tokens for a refresh token, which is used up. One that was used before ends its session: `BadToken`.

    Within 10 seconds the same token gives the same successor, so that two pages of a browser may ask at once.
    """
    raise NotImplementedError


def switch_organization(
    connection: Connection, key: bytes, principal: Principal, organization_id: UUID, now: datetime
) -> Tokens:
    """New tokens of the same session for another organization of the user; the refresh token before is void. `NotFound`."""
    raise NotImplementedError


def authenticate(connection: Connection, key: bytes, access: str, now: datetime) -> Principal:
    """Who an access token is. `BadToken` if forged, expired, of an ended session or of somebody who is no member now."""
    raise NotImplementedError


def memberships(connection: Connection, user_id: UUID) -> list[Membership]:
    """The organizations of a user, the oldest first."""
    raise NotImplementedError


def sessions(connection: Connection, user_id: UUID, now: datetime) -> list[Session]:
    """The sessions of a user that are good, the newest first."""
    raise NotImplementedError


def log_out(connection: Connection, session_id: UUID, now: datetime) -> None:
    """End a session; again changes nothing."""
    raise NotImplementedError


def log_out_everywhere(connection: Connection, user_id: UUID, now: datetime) -> int:
    """End all sessions of a user; how many."""
    raise NotImplementedError
