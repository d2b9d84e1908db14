"""Members and invitations of an organization. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from pipeline.accounts.roles import Principal, Role

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Member:
    """A user who is a member."""

    user_id: UUID
    email: str
    name: str
    role: Role
    since: datetime


@dataclass(frozen=True)
class Invitation:
    """An invitation that is not accepted yet."""

    id: UUID
    email: str
    role: Role
    invited_by: str
    created_at: datetime
    expires_at: datetime


def list_members(connection: Connection, organization_id: UUID) -> list[Member]:
    """All members, owners first."""
    raise NotImplementedError


def set_role(connection: Connection, principal: Principal, user_id: UUID, role: Role, *, at: datetime) -> Member:
    """Give a member another role; at least one owner stays, nobody gives or takes more than its own role.

    `NotFound`, `Forbidden`, `Conflict`.
    """
    raise NotImplementedError


def remove_member(connection: Connection, principal: Principal, user_id: UUID, *, at: datetime) -> None:
    """End a membership; anybody may leave. At least one owner stays. `NotFound`, `Forbidden`, `Conflict`."""
    raise NotImplementedError


def list_invitations(connection: Connection, organization_id: UUID, now: datetime) -> list[Invitation]:
    """Invitations that can still be accepted, the newest first."""
    raise NotImplementedError


def invite(connection: Connection, principal: Principal, email: str, role: Role, *, at: datetime) -> Invitation:
    """Mail an invitation of 7 days; one to the same e-mail before it is void. `Forbidden`, `Invalid`, `Conflict`."""
    raise NotImplementedError


def withdraw(connection: Connection, principal: Principal, invitation_id: UUID, *, at: datetime) -> None:
    """Withdraw an invitation. `NotFound`."""
    raise NotImplementedError
