"""Users and organizations in a migrated database, as sign-up makes them; the tokens that their e-mails hold."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from pipeline.accounts import sessions, sign_up
from pipeline.accounts.sessions import Tokens
from pipeline.accounts.sign_up import Verified
from tests.stack.database import Database

KEY = b"k" * 32
NOW = datetime(2026, 3, 2, 10, 37, tzinfo=UTC)
PASSWORD = "correct horse battery"  # pragma: allowlist secret


@dataclass(frozen=True)
class User:
    """A user who is logged in, in the organization that it made."""

    verified: Verified
    tokens: Tokens


def connect(database: Database, role: str) -> psycopg.Connection[Any]:
    return psycopg.connect(database.url(role), autocommit=True, options="-c timezone=UTC")


def mailed(database: Database, email: str) -> list[tuple[str, dict[str, Any]]]:
    """Kind and payload of what waits to be mailed to an address, the oldest first."""
    with psycopg.connect(database.url()) as root:
        return root.execute(
            "SELECT kind, payload FROM outbox WHERE payload ->> 'to' = %s ORDER BY created_at, kind", (email,)
        ).fetchall()


def token_of(database: Database, email: str) -> str:
    """The token of the last e-mail to an address."""
    return str(mailed(database, email)[-1][1]["token"])


def joined(database: Database, email: str, now: datetime = NOW, organization: str = "Acme") -> User:
    """Sign up, verify, log in."""
    with connect(database, "driftlock_accounts") as accounts:
        sign_up.sign_up(accounts, email=email, password=PASSWORD, name="Ann", organization=organization, now=now)
        verified = sign_up.verify_email(accounts, token_of(database, email), now)
        tokens = log_in(accounts, email, now=now)
    return User(verified, tokens)


def log_in(
    accounts: psycopg.Connection[Any], email: str, password: str = PASSWORD, now: datetime = NOW, address: str = "::1"
) -> Tokens:
    return sessions.log_in(accounts, KEY, email=email, password=password, address=address, user_agent="test", now=now)
