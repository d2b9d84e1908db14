"""Every table in the schema: row-level security enabled and forced, no policy or grant beyond the committed list."""

import uuid
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from billing import accounts
from billing.tenant import tenant
from schemas.migrations import ROLES
from tests.stack.database import Database

LIST = Path(__file__).with_name("policies.txt")
NOW = datetime(2026, 3, 2, 10, 37, tzinfo=UTC)

TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1"
POLICIES = """
SELECT 'policy ' || polname || ' on ' || relname || ' for ' || polcmd::text || ' to '
    || (SELECT string_agg(rolname, ', ' ORDER BY rolname) FROM pg_roles WHERE oid = ANY(polroles))
    || ' using ' || coalesce(pg_get_expr(polqual, polrelid), '-')
    || ' check ' || coalesce(pg_get_expr(polwithcheck, polrelid), '-')
FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
WHERE polname <> 'owner' ORDER BY 1
"""
GRANTS = """
SELECT 'grant ' || privilege || ' on ' || relname || coalesce(' (' || columns || ')', '') || ' to ' || grantee FROM (
    SELECT relname, privilege_type AS privilege, grantee, NULL AS columns
    FROM information_schema.role_table_grants JOIN pg_class ON relname = table_name
    WHERE table_schema = 'public' AND relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT g.table_name, privilege_type, grantee, string_agg(column_name, ', ' ORDER BY column_name)
    FROM information_schema.role_column_grants g
    WHERE table_schema = 'public' AND NOT EXISTS (
        SELECT FROM information_schema.role_table_grants t WHERE t.table_schema = 'public'
        AND t.table_name = g.table_name AND t.grantee = g.grantee AND t.privilege_type = g.privilege_type)
    GROUP BY 1, 2, 3
) AS granted WHERE grantee <> (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'ledger')
    AND relname !~ '^anomalies_[0-9]+$' ORDER BY 1
"""


def test_every_table_is_enabled_forced_and_has_a_policy(database: Database) -> None:
    with psycopg.connect(database.url()) as connection:
        rows = connection.execute(
            "SELECT relname, relrowsecurity, relforcerowsecurity, EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)"
            " FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        ).fetchall()
    assert len(rows) >= 15
    assert [row for row in rows if row[1:] != (True, True, True)] == []


def test_policies_and_grants_are_those_of_the_committed_list(database: Database) -> None:
    with psycopg.connect(database.url()) as connection:
        found = [" ".join(line.split()) for query in (POLICIES, GRANTS) for (line,) in connection.execute(query)]
    assert found == LIST.read_text("utf-8").splitlines(), "changed on purpose? then write the new list to policies.txt"


def test_roles_are_weak_and_own_nothing(database: Database) -> None:
    with psycopg.connect(database.url()) as connection:
        rows = connection.execute(
            "SELECT rolname FROM pg_roles r WHERE rolname = ANY(%s) AND (rolsuper OR rolbypassrls OR rolcreaterole"
            " OR rolcreatedb OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid)"
            " OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid))",
            (list(ROLES),),
        ).fetchall()
    assert rows == []


@pytest.fixture
def two(database: Database) -> tuple[uuid.UUID, uuid.UUID]:
    """Two organizations, each with a row in every table that has an organization."""
    made = uuid.uuid4(), uuid.uuid4()
    with psycopg.connect(database.url(), autocommit=True) as connection:
        for o in made:
            accounts.seed(
                connection,
                o,
                name="x",
                customer_id=f"cus_{o}",
                subscription_id=f"sub_{o}",
                plan="standard",
                began_at=NOW,
            )
            _fill(connection, o)
    return made


def _fill(connection: psycopg.Connection, organization_id: uuid.UUID) -> None:
    """A row of zeros in each table of the tenant that is still empty for it."""
    connection.execute("SET session_replication_role = replica")  # no foreign keys, no triggers
    for table in _tenant_tables(connection):
        found = connection.execute(
            sql.SQL("SELECT 1 FROM {} WHERE organization_id = %s").format(sql.Identifier(table)), (organization_id,)
        ).fetchone()
        if not found:
            _insert(connection, table, organization_id)
    connection.execute("SET session_replication_role = origin")


def _insert(connection: psycopg.Connection, table: str, organization_id: uuid.UUID) -> None:
    zero = {
        "uuid": str(uuid.uuid4()),
        "text": f"x{uuid.uuid4().hex}",
        "timestamp with time zone": "2026-03-02 11:00:00+00",
        "date": "2026-03-02",
        "bytea": b"\0" * 32,
        "boolean": False,
        "jsonb": "{}",
        "ARRAY": "{x}",
        "xid8": "1",
    }
    known = {
        "severity": "low",
        "kind": {
            "ledger": "usage",
            "outbox": "usage.threshold",
            "usage_alerts": "percent",
            "alert_endpoints": "webhook",
        }.get(table, "x"),
        "min_severity": "low",
        "group_by": "rule",
        "fate": "told",
        "number": 1,
        "mode": "soft",
        "units": 1,
        "count": 1,
        "disposition": "billable",
        "status": "open",
        "state": "pending",
        "version": 1,
        "seq": 1,
        "livemode": False,
        "organization_id": organization_id,
        "ends_at": "2026-04-02 11:00:00+00",
        "sent_version": 0,
        "held_at": None,
        "held_for": None,
        "first_failed_at": None,
        "deadline_at": None,
        "source": "list",
        "role": "viewer",
        "secret_hash": uuid.uuid4().bytes * 2,
        "token_hash": uuid.uuid4().bytes * 2,
    }
    if table == "control_outbox":
        known["message"] = f'{{"organization_id": "{organization_id}"}}'
    if table == "billing_access":
        known["state"] = "ok"
    if table == "api_keys":
        known["id"] = "".join("234567abcdefghij"[byte % 16] for byte in uuid.uuid4().bytes)
    if table in {"anomalies", "usage_counters", "alert_rules"}:
        zero["ARRAY"] = "{}"
    columns = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = %s AND is_nullable = 'NO' AND is_identity = 'NO'",
        (table,),
    ).fetchall()
    values = {name: known.get(name, zero.get(kind, 0)) for name, kind in columns}
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        ),
        list(values.values()),
    )


def _tenant_tables(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND column_name = 'organization_id' AND table_name !~ '^anomalies_' ORDER BY 1"
    )
    return [name for (name,) in rows]


def test_a_tenant_sees_and_writes_only_its_own(database: Database, two: tuple[uuid.UUID, uuid.UUID]) -> None:
    mine, other = two
    with psycopg.connect(database.url()) as root:
        tables = _tenant_tables(root)
        every = [name for (name,) in root.execute(TABLES)]
    assert len(tables) >= 12
    seen = 0
    with psycopg.connect(database.url("driftlock_api"), autocommit=True) as api:
        for table in tables:
            name = sql.Identifier(table)
            try:
                with tenant(api, mine):
                    found = api.execute(sql.SQL("SELECT DISTINCT organization_id FROM {}").format(name)).fetchall()
                    assert found == [(mine,)], table
                    seen += 1
            except psycopg.errors.InsufficientPrivilege:
                continue
            assert api.execute(sql.SQL("SELECT 1 FROM {}").format(name)).fetchall() == [], f"{table} without a tenant"
        for table in every:
            name = sql.Identifier(table)
            writes = [sql.SQL("DELETE FROM {}").format(name), sql.SQL("TRUNCATE {}").format(name)]
            for write in writes:
                with pytest.raises(psycopg.errors.InsufficientPrivilege), tenant(api, mine):
                    api.execute(write)
        with tenant(api, mine):
            assert api.execute("UPDATE organizations SET name = 'mine'").rowcount == 1
            assert api.execute("UPDATE organizations SET name = 'mine' WHERE id = %s", (other,)).rowcount == 0
        for query in (
            "INSERT INTO anomaly_status VALUES (%s, gen_random_uuid(), 1, 'open', 'x', now())",
            "INSERT INTO organizations (id, name, created_at) VALUES (%s, 'x', now())",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), tenant(api, mine):
                api.execute(query, (other,))
    assert seen >= 8


def test_the_api_books_nothing_but_a_credit_of_one_unit(database: Database, two: tuple[uuid.UUID, uuid.UUID]) -> None:
    entry = (
        "INSERT INTO ledger (organization_id, seq, kind, disposition, usage_id, corrects, count, units, stream,"
        " occurred_at, arrived_at, recorded_at, meter_hour, period_start, plan, plan_version, blocks_topic_id,"
        " blocks_partition, frame, event, usage_topic_id, usage_partition, usage_offset, detector_version, prev_hash, hash)"
        " SELECT %s, seq + 1, %s, 'billable', gen_random_uuid(), %s, count, %s, stream, occurred_at, arrived_at,"
        " recorded_at, meter_hour, period_start, plan, plan_version, blocks_topic_id, blocks_partition, frame, event,"
        " usage_topic_id, usage_partition, usage_offset, detector_version, hash, hash FROM ledger"
    )
    mine, other = two
    credited = uuid.uuid4()
    with psycopg.connect(database.url("driftlock_api"), autocommit=True) as api:
        for values in (
            (mine, "usage", None, 1),
            (mine, "credit", credited, -2),
            (mine, "waive", credited, -1),
            (other, "credit", credited, -1),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), tenant(api, mine):
                api.execute(entry, values)
        with tenant(api, mine):
            assert api.execute(entry, (mine, "credit", credited, -1)).rowcount == 1


def test_the_tenant_ends_with_its_transaction(database: Database, two: tuple[uuid.UUID, uuid.UUID]) -> None:
    with psycopg.connect(database.url("driftlock_reader"), autocommit=True) as reader:
        with tenant(reader, two[0]):
            assert reader.execute("SELECT count(*) FROM ledger").fetchone() == (1,)
        assert reader.execute("SELECT count(*) FROM ledger").fetchone() == (0,)
        with reader.transaction(), pytest.raises(RuntimeError), tenant(reader, two[0]):
            pass


@pytest.mark.parametrize("role", [*ROLES, "postgres"])
@pytest.mark.parametrize("change", ["UPDATE ledger SET units = 0", "DELETE FROM ledger", "TRUNCATE ledger"])
def test_nobody_changes_the_ledger(
    database: Database, two: tuple[uuid.UUID, uuid.UUID], role: str, change: str
) -> None:
    with (
        psycopg.connect(database.url(role), autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(change)


def test_a_sink_reads_no_payload(database: Database, two: tuple[uuid.UUID, uuid.UUID]) -> None:
    with psycopg.connect(database.url("driftlock_sink"), autocommit=True) as sink:
        assert sink.execute("SELECT count(id) FROM anomalies").fetchone() == (2,)
        for column in ("explanation", "channels", "metrics", "trace"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                sink.execute(sql.SQL("SELECT {} FROM anomalies").format(sql.Identifier(column)))


def test_partitions_are_reached_only_through_their_parent(database: Database) -> None:
    with psycopg.connect(database.url()) as root:
        parts = [n for (n,) in root.execute(TABLES) if n.startswith("anomalies_")]
    assert len(parts) >= 4
    for role in ROLES:
        with psycopg.connect(database.url(role), autocommit=True) as connection:
            for part in parts:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL("SELECT 1 FROM {}").format(sql.Identifier(part)))
