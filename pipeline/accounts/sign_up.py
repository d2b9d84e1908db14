"""Sign-up and e-mail verification. Connections are of role driftlock_accounts, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Verified:
    """A new user with the organization that it owns."""

    user_id: UUID
    organization_id: UUID
    email: str


def sign_up(connection: Connection, *, email: str, password: str, name: str, organization: str, now: datetime) -> None:
    """Mail a link that finishes the sign-up. The same answer whether the e-mail has an account or not.

    `Invalid` for an e-mail, a password or a name that can't be one; `TooManyAttempts`.
    """
    raise NotImplementedError


def verify_email(connection: Connection, token: str, now: datetime) -> Verified:
    """Finish a sign-up: user, organization on plan developer, role owner. `BadToken`.

    Then tell workers: `pipeline.accounts.announce.organization(producer, organization_id)`; again changes nothing.
    """
    raise NotImplementedError
