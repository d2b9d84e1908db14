"""What is over is deleted, what is not stays, and the role that deletes can't touch what stays."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from pipeline.accounts import passwords, sessions
from pipeline.accounts.errors import BadToken
from pipeline.accounts.prune import prune
from tests.integration.accounts_world import KEY, connect, joined, log_in
from tests.stack.database import Database

EMAIL = "prune@example.org"
DAY = timedelta(days=1)
TABLES = (
    "sign_ups",
    "password_resets",
    "sessions",
    "refresh_tokens",
    "login_failures",
    "intake_requests",
    "invitations",
)


def counts(database: Database) -> dict[str, int]:
    with psycopg.connect(database.url()) as root:
        found = {}
        for table in TABLES:
            row = root.execute(f"SELECT count(*) FROM {table}").fetchone()
            found[table] = row[0] if row else -1
    return found


def aged(database: Database, by: timedelta) -> None:
    """Everything of these tables happened earlier."""
    columns = {
        "sign_ups": ("expires_at",),
        "password_resets": ("expires_at",),
        "sessions": ("expires_at",),
        "login_failures": ("since",),
        "intake_requests": ("begun_at",),
        "invitations": ("expires_at",),
    }
    with psycopg.connect(database.url()) as root:
        for table, of in columns.items():
            root.execute(f"UPDATE {table} SET {', '.join(f'{c} = {c} - %s' for c in of)}", (by,) * len(of))


def filled(database: Database, now: datetime) -> sessions.Tokens:
    """A row in each of them, of a user whose login is good."""
    user = joined(database, EMAIL, now)
    with connect(database, "driftlock_accounts") as accounts:
        passwords.request_reset(accounts, EMAIL, now)
        ended = log_in(accounts, EMAIL, now=now)
        sessions.log_out(accounts, ended.session_id, now)
    with psycopg.connect(database.url()) as root:
        organization_id = user.verified.organization_id
        root.execute(
            "INSERT INTO intake_requests (organization_id, key_hash, body_hash, begun_at) VALUES (%s, %s, %s, %s)",
            (organization_id, b"k" * 32, b"b" * 32, now),
        )
        for accepted in (None, now):
            root.execute(
                "INSERT INTO invitations (organization_id, id, email, role, token_hash, invited_by, created_at, expires_at,"
                " accepted_at) VALUES (%s, %s, 'x@example.org', 'viewer', sha256(random()::text::bytea), 'test', %s, %s, %s)",
                (organization_id, uuid4(), now, now, accepted),
            )
    return user.tokens


def test_what_is_over_goes_and_what_is_not_stays(database: Database) -> None:
    now = datetime.now(UTC)
    tokens = filled(database, now)
    before = counts(database)
    assert min(before.values()) > 0
    with connect(database, "driftlock_jobs") as jobs:
        assert set(prune(jobs, now).values()) == {0}
        assert counts(database) == before
        with psycopg.connect(database.url()) as root:
            root.execute("UPDATE sessions SET ended_at = ended_at - %s WHERE ended_at IS NOT NULL", (2 * DAY,))
        assert prune(jobs, now)["sessions"] == 1, "a session that was logged out two days ago"
        with connect(database, "driftlock_accounts") as accounts:
            assert sessions.authenticate(accounts, KEY, tokens.access, now).session_id == tokens.session_id
        aged(database, 62 * DAY)
        done = prune(jobs, now)
    left = counts(database)
    assert done.keys() == left.keys() - {"refresh_tokens"}
    assert left == {**dict.fromkeys(TABLES, 0), "invitations": 1}, "an accepted invitation says who invited whom"
    with connect(database, "driftlock_accounts") as accounts, pytest.raises(BadToken):
        sessions.authenticate(accounts, KEY, tokens.access, now)


def test_the_role_deletes_nothing_that_is_not_over(database: Database) -> None:
    now = datetime.now(UTC)
    filled(database, now)
    before = counts(database)
    with connect(database, "driftlock_jobs") as jobs:
        assert set(prune(jobs, now + 365 * DAY).values()) == {0}, "whatever time it is given"
        for table in TABLES[:3]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                jobs.execute(f"SELECT * FROM {table}")
            assert jobs.execute(f"DELETE FROM {table}").rowcount == 0
    with connect(database, "driftlock_accounts") as accounts:
        for table in TABLES[:6]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                accounts.execute(f"DELETE FROM {table}")
    assert counts(database) == before
