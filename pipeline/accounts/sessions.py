"""Login, access and refresh tokens, logout. Connections are of role driftlock_accounts, in autocommit mode.

An access token is a JWT (RFC 7519, HS256 and nothing else) of ten minutes. It names a session, and is good only while that
session and its membership are. A refresh token is good once; one that comes again ends its session (RFC 9700, 4.14.2).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import psycopg

from pipeline.accounts import texts, throttle
from pipeline.accounts.errors import BadCredentials, BadToken, Forbidden, Invalid, NotFound
from pipeline.accounts.passwords import matches
from pipeline.accounts.roles import SCOPES, Principal, Role
from pipeline.accounts.secret import digest, new_token, successor
from pipeline.accounts.throttle import Limit

Connection = psycopg.Connection[Any]

ACCESS_FOR = timedelta(minutes=10)
SESSION_FOR = timedelta(days=30)
TWICE_WITHIN = timedelta(seconds=10)
_ALGORITHM, _ISSUER, _AUDIENCE = "HS256", "driftlock", "driftlock-api"


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
    """A new session. `BadCredentials`, the same for an unknown e-mail; `TooManyAttempts`. `address`: the peer's IP.

    In 15 minutes: 10 failures of an e-mail from one address, 30 of an e-mail, 100 of an address.
    """
    try:
        email = texts.email(email)
    except Invalid:
        email = ""  # nobody's: answered as any other
    mine = [Limit(f"login/{email}/{address}", 10), Limit(f"login/{email}", 30)]
    throttle.count(connection, [*mine, Limit(f"logins/{address}", 100)], now)
    row = connection.execute("SELECT id, password_hash FROM users WHERE email = %s", (email,)).fetchone()
    if not matches(row[1] if row else None, password[: texts.MOST_PASSWORD + 1]) or row is None:
        raise BadCredentials("e-mail or password is wrong")
    throttle.forgive(connection, mine)
    organizations = memberships(connection, row[0])
    if not organizations:
        raise Forbidden("this user is a member of no organization")
    refresh_token, session_id = new_token(), uuid4()
    expires_at = now + SESSION_FOR
    with connection.transaction():
        connection.execute(
            "INSERT INTO sessions (id, user_id, organization_id, user_agent, created_at, last_used_at, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (session_id, row[0], organizations[0].organization_id, _shown(user_agent), now, now, expires_at),
        )
        _issue(connection, session_id, refresh_token, now)
    return _tokens(key, refresh_token, session_id, row[0], organizations[0].organization_id, now, expires_at)


def refresh(connection: Connection, key: bytes, token: str, now: datetime) -> Tokens:
    """New tokens for a refresh token, which is used up. One that was used before ends its session: `BadToken`.

    Within 10 seconds the same token gives the same successor, so that two pages of a browser may ask at once.
    """
    again = successor(key, token)
    with connection.transaction():
        row = connection.execute(
            "SELECT t.used_at, s.id, s.user_id, s.organization_id, s.expires_at,"
            " s.ended_at IS NULL AND s.expires_at > %s AND m.user_id IS NOT NULL,"
            " (SELECT n.used_at IS NULL FROM refresh_tokens n WHERE n.token_hash = %s)"
            " FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id LEFT JOIN memberships m"
            " ON m.user_id = s.user_id AND m.organization_id = s.organization_id AND m.ended_at IS NULL"
            " WHERE t.token_hash = %s FOR UPDATE OF t, s",
            (now, digest(again), digest(token)),
        ).fetchone()
        if row is None or not row[5]:
            raise BadToken(_LOG_IN)
        used_at, session_id, user_id, organization_id, expires_at, _, fresh = row
        stolen = used_at is not None and not (fresh and now - used_at <= TWICE_WITHIN)
        if stolen:
            _end(connection, "id", session_id, "reuse", now)
        elif used_at is None:
            connection.execute("UPDATE refresh_tokens SET used_at = %s WHERE token_hash = %s", (now, digest(token)))
            connection.execute("UPDATE sessions SET last_used_at = %s WHERE id = %s", (now, session_id))
            _issue(connection, session_id, again, now)
    if stolen:
        raise BadToken("this token was used before: its session is ended, log in again")
    return _tokens(key, again, session_id, user_id, organization_id, now, expires_at)


def switch_organization(
    connection: Connection, key: bytes, principal: Principal, organization_id: UUID, now: datetime
) -> Tokens:
    """New tokens of the same session for another organization of the user; the refresh token before is void. `NotFound`."""
    if principal.session_id is None or principal.user_id is None:
        raise Forbidden("a key belongs to one organization")
    if organization_id not in {m.organization_id for m in memberships(connection, principal.user_id)}:
        raise NotFound("you are no member of that organization")
    token = new_token()
    with connection.transaction():
        row = connection.execute(
            "UPDATE sessions SET organization_id = %s, last_used_at = %s WHERE id = %s AND ended_at IS NULL"
            " RETURNING expires_at",
            (organization_id, now, principal.session_id),
        ).fetchone()
        if row is None:
            raise BadToken(_LOG_IN)
        connection.execute(
            "UPDATE refresh_tokens SET used_at = %s WHERE session_id = %s AND used_at IS NULL",
            (now - 2 * TWICE_WITHIN, principal.session_id),
        )
        _issue(connection, principal.session_id, token, now)
    return _tokens(key, token, principal.session_id, principal.user_id, organization_id, now, row[0])


def authenticate(connection: Connection, key: bytes, access: str, now: datetime) -> Principal:
    """Who an access token is. `BadToken` if forged, expired, of an ended session or of somebody who is no member now."""
    try:
        said = jwt.decode(
            access,
            key,
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            audience=_AUDIENCE,
            options={"require": ["exp", "iat", "sub", "sid", "org"], "verify_exp": False, "verify_iat": False},
        )
        session_id, user_id, organization_id = UUID(said["sid"]), UUID(said["sub"]), UUID(said["org"])
        expires = datetime.fromtimestamp(said["exp"], UTC)
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise BadToken(_WRONG) from error
    if expires <= now:
        raise BadToken("the access token has expired: refresh it")
    return standing(connection, Principal(organization_id, "", frozenset(), None, user_id, session_id), now)


def standing(connection: Connection, principal: Principal, now: datetime) -> Principal:
    """A user's principal as it is now. `BadToken` once its session or its membership has ended."""
    row = connection.execute(
        "SELECT m.role FROM sessions s JOIN memberships m ON m.user_id = s.user_id AND m.ended_at IS NULL"
        " JOIN organizations o ON o.id = m.organization_id AND o.active"
        " WHERE s.id = %s AND s.user_id = %s AND m.organization_id = %s AND s.ended_at IS NULL AND s.expires_at > %s",
        (principal.session_id, principal.user_id, principal.organization_id, now),
    ).fetchone()
    if row is None:
        raise BadToken(_LOG_IN)
    role: Role = row[0]
    actor = f"user/{principal.user_id}"
    return Principal(principal.organization_id, actor, SCOPES[role], role, principal.user_id, principal.session_id)


def memberships(connection: Connection, user_id: UUID) -> list[Membership]:
    """The organizations of a user, the oldest first."""
    rows = connection.execute(
        "SELECT o.id, o.name, m.role FROM memberships m JOIN organizations o ON o.id = m.organization_id"
        " WHERE m.user_id = %s AND m.ended_at IS NULL AND o.active ORDER BY m.since, o.id",
        (user_id,),
    )
    return [Membership(*row) for row in rows]


def sessions(connection: Connection, user_id: UUID, now: datetime) -> list[Session]:
    """The sessions of a user that are good, the newest first."""
    rows = connection.execute(
        "SELECT id, created_at, last_used_at, user_agent FROM sessions"
        " WHERE user_id = %s AND ended_at IS NULL AND expires_at > %s ORDER BY created_at DESC, id",
        (user_id, now),
    )
    return [Session(*row) for row in rows]


def log_out(connection: Connection, session_id: UUID, now: datetime) -> None:
    """End a session; again changes nothing."""
    _end(connection, "id", session_id, "logout", now)


def log_out_everywhere(connection: Connection, user_id: UUID, now: datetime) -> int:
    """End all sessions of a user; how many."""
    return _end(connection, "user_id", user_id, "everywhere", now)


_LOG_IN = "the session has ended: log in again"
_WRONG = "the token is none of ours, or was changed"


def _end(connection: Connection, column: str, value: UUID, why: str, now: datetime) -> int:
    query = f"UPDATE sessions SET ended_at = %s, ended_why = %s WHERE {column} = %s AND ended_at IS NULL"  # noqa: S608
    return connection.execute(query, (now, why, value)).rowcount


def _issue(connection: Connection, session_id: UUID, token: str, now: datetime) -> None:
    connection.execute(
        "INSERT INTO refresh_tokens (token_hash, session_id, issued_at) VALUES (%s, %s, %s)",
        (digest(token), session_id, now),
    )


def _tokens(
    key: bytes, token: str, session_id: UUID, user_id: UUID, organization_id: UUID, now: datetime, until: datetime
) -> Tokens:
    expires_at = min(now + ACCESS_FOR, until)
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": str(user_id),
        "sid": str(session_id),
        "org": str(organization_id),
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    access = jwt.encode(claims, key, _ALGORITHM)
    return Tokens(access, token, expires_at, until, user_id, organization_id, session_id)


def _shown(user_agent: str) -> str:
    return "".join(c if c.isprintable() else " " for c in user_agent[:200])
