"""Accepting an invitation. Connections are of role driftlock_accounts, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg

from pipeline.accounts import texts, throttle
from pipeline.accounts.errors import BadCredentials, BadToken, Conflict
from pipeline.accounts.passwords import hashed, matches
from pipeline.accounts.roles import Role
from pipeline.accounts.secret import digest
from pipeline.accounts.throttle import Limit

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Invited:
    """What an invitation says to who holds its token. `has_account`: then no name is asked for."""

    email: str
    organization: str
    role: Role
    has_account: bool


def look(connection: Connection, token: str, now: datetime) -> Invited:
    """What an invitation says. `BadToken`."""
    row = connection.execute(
        "SELECT i.email, o.name, i.role, EXISTS (SELECT FROM users u WHERE u.email = i.email)"
        " FROM invitations i JOIN organizations o ON o.id = i.organization_id"
        " WHERE token_hash = %s AND accepted_at IS NULL AND withdrawn_at IS NULL AND expires_at > %s",
        (digest(token), now),
    ).fetchone()
    if row is None:
        raise BadToken(_WRONG)
    return Invited(*row)


def accept(connection: Connection, token: str, *, name: str | None, password: str, now: datetime) -> UUID:
    """Become a member: as a new user with this name and password, or as the one with this e-mail and password; its id.

    `BadToken`, `BadCredentials`, `Invalid`, `Conflict` for who is a member already.
    """
    invited = look(connection, token, now)
    throttle.count(connection, [Limit(f"accept/{digest(token).hex()}", 10)], now)
    if invited.has_account:
        row = connection.execute("SELECT id, password_hash FROM users WHERE email = %s", (invited.email,)).fetchone()
        if row is None or not matches(row[1], password[: texts.MOST_PASSWORD + 1]):
            raise BadCredentials("the password is not that of the account with this e-mail")
        user_id, kept, called = row[0], "", ""
    else:
        user_id, called = uuid4(), texts.line(name or "", "name", 100)
        kept = hashed(texts.password(password))
    with connection.transaction():
        taken = connection.execute(
            "UPDATE invitations SET accepted_at = %(now)s WHERE token_hash = %(hash)s AND accepted_at IS NULL"
            " AND withdrawn_at IS NULL AND expires_at > %(now)s RETURNING organization_id, role",
            {"now": now, "hash": digest(token)},
        ).fetchone()
        if taken is None:
            raise BadToken(_WRONG)
        if not invited.has_account:
            made = connection.execute(
                "INSERT INTO users (id, email, name, password_hash, created_at, password_changed_at)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (email) DO NOTHING",
                (user_id, invited.email, called, kept, now, now),
            )
            if not made.rowcount:
                raise Conflict("there is an account with this e-mail now: accept with its password")
        joined = connection.execute(
            "INSERT INTO memberships AS m (organization_id, user_id, role, since) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (organization_id, user_id) DO UPDATE SET role = excluded.role, since = excluded.since,"
            " ended_at = NULL WHERE m.ended_at IS NOT NULL",
            (taken[0], user_id, taken[1], now),
        )
        if not joined.rowcount:
            raise Conflict("you are a member already")
    return UUID(str(user_id))


_WRONG = "this invitation was used, withdrawn, has expired or is wrong: ask for another"
