"""Migrations on a real PostgreSQL: from nothing, twice, and what is refused."""

import psycopg
import pytest

from schemas import migrations
from schemas.errors import MigrationRefused
from schemas.migrations import ROLES, Migration
from tests.stack.database import Database, password
from tests.stack.fixtures import fresh_database
from tests.stack.providers import Server

SCHEMA = """
SELECT table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, column_name
"""


def test_from_nothing_and_again_changes_nothing(postgres: Server) -> None:
    with fresh_database(postgres) as empty, psycopg.connect(empty.url(), autocommit=True) as connection:
        assert migrations.apply(connection) == tuple(m.name for m in migrations.migrations())
        before = connection.execute(SCHEMA).fetchall()
        assert len({row[0] for row in before}) >= 15
        assert migrations.apply(connection) == ()
        assert connection.execute(SCHEMA).fetchall() == before


def test_a_second_one_waits_for_the_first(postgres: Server) -> None:
    with (
        fresh_database(postgres) as empty,
        psycopg.connect(empty.url(), autocommit=True) as first,
        psycopg.connect(empty.url(), autocommit=True) as second,
    ):
        first.execute("SELECT pg_advisory_lock(%s)", (migrations._LOCK,))
        second.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migrations.apply(second)
        assert first.execute("SELECT to_regclass('ledger')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE schema_migrations SET sha256 = 'x' WHERE name = '0001_tables.sql'", "0001_tables.sql was changed"),
        ("INSERT INTO schema_migrations VALUES ('9999_later.sql', 'x')", "9999_later.sql, this release does not"),
    ],
)
def test_refuses_what_differs(database: Database, change: str, said: str) -> None:
    with psycopg.connect(database.url(), autocommit=True) as connection:
        connection.execute(change)
        with pytest.raises(MigrationRefused, match=said):
            migrations.apply(connection)


def test_refuses_a_migration_that_sorts_before_an_applied_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = (*migrations.migrations(), Migration("0001_a_first_one.sql", "SELECT 1"))
    monkeypatch.setattr(migrations, "migrations", lambda: tuple(sorted(late, key=lambda m: m.name)))
    with (
        psycopg.connect(database.url(), autocommit=True) as connection,
        pytest.raises(MigrationRefused, match="give it a higher number"),
    ):
        migrations.apply(connection)


def test_a_failing_migration_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Migration("9998_bad.sql", "CREATE TABLE half (); SELECT no_such_function();")
    known = migrations.migrations()
    monkeypatch.setattr(migrations, "migrations", lambda: (*known, bad))
    with psycopg.connect(database.url(), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.UndefinedFunction):
            migrations.apply(connection)
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)
        assert connection.execute("SELECT 1 FROM schema_migrations WHERE name = '9998_bad.sql'").fetchone() is None


def test_refuses_a_role_that_passes_by_row_level_security(database: Database) -> None:
    with psycopg.connect(database.url(), autocommit=True) as connection:
        connection.execute("ALTER ROLE driftlock_reader BYPASSRLS")
        try:
            with pytest.raises(MigrationRefused, match="driftlock_reader"):
                migrations.apply(connection)
        finally:
            connection.execute("ALTER ROLE driftlock_reader NOBYPASSRLS")


def test_an_owner_that_is_no_superuser_can_migrate_and_seed(postgres: Server) -> None:
    with fresh_database(postgres) as empty, psycopg.connect(empty.url(), autocommit=True) as root:
        owner = f"owner_{empty.name}"
        root.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD '{password(postgres)}'")
        root.execute(f"ALTER DATABASE {empty.name} OWNER TO {owner}")
        try:
            with psycopg.connect(empty.url(owner), autocommit=True) as connection:
                assert migrations.apply(connection)
                assert connection.execute("SELECT create_anomaly_partitions(now(), 2)").fetchone() == (2,)
                assert connection.execute("SELECT count(*) FROM schema_migrations").fetchone() != (0,)
        finally:
            root.execute(f"DROP OWNED BY {owner} CASCADE")
            root.execute(f"ALTER DATABASE {empty.name} OWNER TO postgres")
            root.execute(f"DROP ROLE {owner}")


def test_periods_of_an_earlier_version_get_their_anchor(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    known = migrations.migrations()
    with fresh_database(postgres) as empty, psycopg.connect(empty.url(), autocommit=True) as connection:
        monkeypatch.setattr(migrations, "migrations", lambda: known[:2])
        migrations.apply(connection)
        connection.execute(
            "INSERT INTO plans VALUES ('p', 'P');"
            " INSERT INTO plan_versions VALUES ('p', 1, 0, 1, NULL, 120, 1, 1, 1);"
            " INSERT INTO organizations (id, name, created_at) VALUES (gen_random_uuid(), 'x', now());"
            " INSERT INTO billing_customers (id, organization_id, linked_at) SELECT 'cus', id, now() FROM organizations;"
            " INSERT INTO subscriptions (id, organization_id, customer_id, plan, plan_version, status, anchor, updated_at)"
            "  SELECT 'sub', id, 'cus', 'p', 1, 'active', '2026-03-31 10:37Z', now() FROM organizations;"
            " INSERT INTO billing_periods SELECT id, s::timestamptz, e::timestamptz, 'p', 1, x FROM organizations,"
            "  (VALUES ('2026-01-31 08:00Z', '2026-02-28 08:00Z', NULL), ('2026-02-28 08:00Z', '2026-03-31 10:37Z', NULL),"
            "  ('2026-03-31 10:37Z', '2026-04-30 10:37Z', 'sub'), ('2026-04-30 10:37Z', '2026-05-31 10:37Z', 'sub'))"
            "  AS old (s, e, x)"
        )
        monkeypatch.setattr(migrations, "migrations", lambda: known)
        migrations.apply(connection)
        rows = connection.execute(
            "SELECT to_char(anchor AT TIME ZONE 'UTC', 'MM-DD HH24:MI') FROM billing_periods ORDER BY starts_at"
        ).fetchall()
    assert rows == [("01-31 08:00",)] * 2 + [("03-31 10:37",)] * 2


def test_roles_can_log_in_and_own_nothing(database: Database) -> None:
    for role in ROLES:
        with psycopg.connect(database.url(role)) as connection:
            assert connection.execute(
                "SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole"
            ).fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("CREATE TABLE mine ()")
