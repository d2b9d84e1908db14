"""Migrations: numbered plain SQL in schemas/migrations/, applied in order, each in a transaction of its own."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql

from schemas.errors import MigrationRefused

Connection = psycopg.Connection[Any]

ROLES = (
    "driftlock_api",
    "driftlock_sink",
    "driftlock_meter",
    "driftlock_webhook",
    "driftlock_reader",
    "driftlock_jobs",
    "driftlock_alerts",
    "driftlock_accounts",
    "driftlock_control",
)
"""Login roles, one for each kind of process; none owns a table or passes by row-level security."""

_NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
_LOCK = 7226190272  # any number that no other user of this database's advisory locks takes


@dataclass(frozen=True)
class Migration:
    """One file: its name orders it, its sha256 says that it was not changed since it was applied."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Hex digest of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """All migrations of this release, in order."""
    folder = files("schemas").joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name))
    return tuple(Migration(name, folder.joinpath(name).read_text("utf-8")) for name in names)


def ensure_roles(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Make the roles that are missing, and let those with a password log in with it.

    Passwords are hashed here, so that no log of the server ever shows one. A role that is a superuser or passes by
    row-level security is refused.
    """
    present = dict(
        connection.execute(
            "SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = ANY(%s)", (list(ROLES),)
        ).fetchall()
    )
    for role in ROLES:
        if present.get(role):
            raise MigrationRefused(
                f"role {role} is a superuser or has BYPASSRLS: run ALTER ROLE {role} NOSUPERUSER NOBYPASSRLS"
            )
        if role not in present:
            # Roles belong to the server, the advisory lock to one database of it: another's migration may be quicker.
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation), connection.transaction():
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        if passwords.get(role):
            verifier = connection.pgconn.encrypt_password(
                passwords[role].encode(), role.encode(), b"scram-sha-256"
            ).decode()
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier))
            )


def apply(connection: Connection, passwords: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Bring the schema to the latest migration; returns the names of those applied now, none if it was there.

    `connection` must be in autocommit mode and belong to the owner of the schema. `passwords` maps roles to passwords.
    Raises `MigrationRefused` where an applied migration was changed or removed since, or this release is older.
    """
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        ensure_roles(connection, passwords or {})
        with connection.transaction():
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations ("
                " name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
        done = dict(connection.execute("SELECT name, sha256 FROM schema_migrations").fetchall())
        known = migrations()
        _check(done, known)
        fresh = [m for m in known if m.name not in done]
        for migration in fresh:
            with connection.transaction():
                connection.execute(migration.text)
                connection.execute(
                    "INSERT INTO schema_migrations (name, sha256) VALUES (%s, %s)", (migration.name, migration.sha256)
                )
        return tuple(m.name for m in fresh)
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _check(done: Mapping[str, str], known: tuple[Migration, ...]) -> None:
    texts = {m.name: m for m in known}
    for name, sha256 in sorted(done.items()):
        if name not in texts:
            raise MigrationRefused(f"the database has migration {name}, this release does not: upgrade DriftLock")
        if texts[name].sha256 != sha256:
            raise MigrationRefused(
                f"schemas/migrations/{name} was changed after it was applied: restore it and add a new one"
            )
    last = max(done, default="")
    for migration in known:
        if migration.name not in done and migration.name < last:
            raise MigrationRefused(
                f"schemas/migrations/{migration.name} sorts before the applied {last}: give it a higher number"
            )
