"""`driftlock db migrate`: brings the database's schema, roles and plans to this release."""

import os
import sys

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pipeline.schema import migrate_database
from schemas import migrations
from schemas.errors import DatabaseUnreachable, SettingsError
from schemas.settings import Settings, load


def migrate() -> None:
    """Create or upgrade the schema, as the owner (DATABASE_URL).

    Login roles that are missing are created, with the passwords of the DATABASE_URL_* settings that are given. Running
    it again changes nothing.
    """
    settings = load(os.environ)
    owner = settings.database_url.get_secret_value()
    if not owner:
        raise SettingsError("DATABASE_URL is not set: the owner of the schema, for migrations")
    passwords = role_passwords(settings)
    try:
        with psycopg.connect(owner, autocommit=True, connect_timeout=10) as connection:
            done = migrate_database(connection, passwords)
    except psycopg.OperationalError as error:
        raise DatabaseUnreachable(f"PostgreSQL does not answer at DATABASE_URL: {_line(error)}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise SettingsError(f"the role of DATABASE_URL may not do this: {_line(error)}") from error
    sys.stdout.write(f"applied: {', '.join(done)}\n" if done else "nothing to apply: the schema is up to date\n")


def role_passwords(settings: Settings) -> dict[str, str]:
    """Role → password, of each DATABASE_URL_* that gives one. `SettingsError` if a URL names another role than its own."""
    found = {}
    for role in migrations.ROLES:
        name = f"database_url_{role.removeprefix('driftlock_')}"
        url = getattr(settings, name).get_secret_value()
        if not url:
            continue
        try:
            parts = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise SettingsError(f"{name.upper()} is no connection URL") from error
        if parts.get("user") != role:
            raise SettingsError(f"{name.upper()} must log in as {role}, not as {parts.get('user') or 'nobody'}")
        if parts.get("password"):
            found[role] = str(parts["password"])
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
