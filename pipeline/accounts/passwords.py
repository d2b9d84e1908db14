"""Passwords: argon2id, and their reset and change. Connections are of role driftlock_accounts, in autocommit mode."""

import threading
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import psycopg
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from billing import outbox
from billing.outbox import Letter
from billing.periods import milliseconds
from pipeline.accounts import texts, throttle
from pipeline.accounts.errors import BadCredentials, BadToken
from pipeline.accounts.secret import digest, new_token
from pipeline.accounts.throttle import Limit
from schemas.notices import AccountReset

Connection = psycopg.Connection[Any]

RESET_FOR = timedelta(hours=1)
NOBODY = UUID(int=0)
MAILS_AN_HOUR = 5
# RFC 9106, 4: the second recommended choice, 64 MiB and 3 passes, on as many lanes as a small machine has cores.
_HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=2)
# Each takes 64 MiB: more at once wait.
_AT_ONCE = threading.BoundedSemaphore(4)


def hashed(password: str) -> str:
    """What is kept of a password."""
    with _AT_ONCE:
        return _HASHER.hash(password.encode())


@cache
def _nobodys() -> str:
    return hashed(new_token())


def matches(kept: str | None, password: str) -> bool:
    """Whether it is that password; without one to compare it takes as long, and is not."""
    against = kept or _nobodys()
    try:
        with _AT_ONCE:
            _HASHER.verify(against, password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def mails(email: str, address: str) -> list[Limit]:
    """How many e-mails an address and a peer may cause in an hour."""
    hour = timedelta(hours=1)
    limits = [Limit(f"mail/{email}", MAILS_AN_HOUR, hour)]
    return [*limits, Limit(f"mails/{address}", 10 * MAILS_AN_HOUR, hour)] if address else limits


def request_reset(connection: Connection, email: str, now: datetime, address: str = "") -> None:
    """Mail a link to set a new password, if there is such a user; the same answer if not. `Invalid`, `TooManyAttempts`."""
    email = texts.email(email)
    throttle.count(connection, mails(email, address), now)
    token = new_token()
    with connection.transaction():
        row = connection.execute(
            "SELECT u.id, (SELECT organization_id FROM memberships m WHERE m.user_id = u.id AND m.ended_at IS NULL"
            " ORDER BY since LIMIT 1) FROM users u WHERE email = %s",
            (email,),
        ).fetchone()
        user_id, organization_id = row or (None, None)
        connection.execute(
            "INSERT INTO password_resets (token_hash, user_id, created_at, expires_at) VALUES (%s, %s, %s, %s)",
            (digest(token), user_id, now, now + RESET_FOR),
        )
        if user_id is not None:
            notice = AccountReset(
                organization_id=organization_id or NOBODY, at=milliseconds(now), to=email, token=token
            )
            outbox.put(connection, [Letter(f"reset/{digest(token).hex()}", notice)])


def reset(connection: Connection, token: str, password: str, now: datetime) -> UUID:
    """Set a new password and end all sessions; the user. `BadToken`, `Invalid`."""
    kept = hashed(texts.password(password))
    with connection.transaction():
        row = connection.execute(
            "UPDATE password_resets SET used_at = %(now)s WHERE token_hash = %(hash)s AND used_at IS NULL"
            " AND expires_at > %(now)s AND user_id IS NOT NULL RETURNING user_id",
            {"now": now, "hash": digest(token)},
        ).fetchone()
        if row is None:
            raise BadToken("this link was used, has expired or is wrong: ask for another")
        user_id: UUID = row[0]
        connection.execute(  # links asked for earlier are void
            "UPDATE password_resets SET used_at = %s WHERE user_id = %s AND used_at IS NULL", (now, user_id)
        )
        _set(connection, user_id, kept, now)
    return user_id


def change(connection: Connection, user_id: UUID, *, old: str, new: str, now: datetime) -> None:
    """Change a password, ending all sessions. `BadCredentials`, `Invalid`, `TooManyAttempts`."""
    texts.password(new)
    limit = Limit(f"change/{user_id}", 10)
    throttle.count(connection, [limit], now)
    row = connection.execute("SELECT password_hash FROM users WHERE id = %s", (user_id,)).fetchone()
    if not matches(row[0] if row else None, old):
        raise BadCredentials("the old password is wrong")
    kept = hashed(new)
    with connection.transaction():
        _set(connection, user_id, kept, now)
    throttle.forgive(connection, [limit])


def _set(connection: Connection, user_id: UUID, kept: str, now: datetime) -> None:
    connection.execute(
        "UPDATE users SET password_hash = %s, password_changed_at = %s WHERE id = %s", (kept, now, user_id)
    )
    connection.execute(
        "UPDATE sessions SET ended_at = %s, ended_why = 'password' WHERE user_id = %s AND ended_at IS NULL",
        (now, user_id),
    )
