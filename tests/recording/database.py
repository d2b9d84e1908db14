"""PostgreSQL as it is recorded: a shop's tables, pgbench's tables, three roles, and a log that shows statements."""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from pipeline.embedded.postgres import Postgres

DATABASE = "shop"
ROLES = ("shop", "bench", "report")
_SERVER = {
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_checkpoints": "on",
    "checkpoint_timeout": "30s",
    "log_lock_waits": "on",
    "deadlock_timeout": "1s",
}
_DATABASE = {"log_min_duration_statement": "0", "log_temp_files": "0"}
_REPORT = {"work_mem": "64kB", "temp_file_limit": "4MB"}
_TABLES = (
    "CREATE TABLE branches (bid int PRIMARY KEY, balance int NOT NULL)",
    "CREATE TABLE tellers (tid int PRIMARY KEY, bid int NOT NULL, balance int NOT NULL)",
    "CREATE TABLE accounts (aid int PRIMARY KEY, bid int NOT NULL, balance int NOT NULL)",
    "CREATE TABLE history (tid int, bid int, aid int, delta int, at timestamptz)",
    "INSERT INTO branches SELECT n, 0 FROM generate_series(1, 8) n",
    "INSERT INTO tellers SELECT n, 1 + n % 8, 0 FROM generate_series(1, 80) n",
    "INSERT INTO accounts SELECT n, 1 + n % 8, 0 FROM generate_series(1, 40000) n",
    """
    CREATE TABLE products (
        id int PRIMARY KEY, name text NOT NULL, price numeric(8, 2) NOT NULL, stock int NOT NULL, sold int NOT NULL DEFAULT 0
    )
    """,
    """
    INSERT INTO products
    SELECT n, (ARRAY['red','blue','oak','steel','paper','small','large'])[1 + n % 7] || ' '
           || (ARRAY['lamp','chair','desk','shelf','vase','clock','mirror','rug'])[1 + n / 7 % 8] || ' ' || n,
           5 + n * 7919 % 9000 / 100.0, 80
    FROM generate_series(1, 240) n
    """,
    "CREATE TABLE orders (id serial PRIMARY KEY, customer int NOT NULL, total numeric(10, 2), state text NOT NULL)",
    "CREATE INDEX ON orders (state) WHERE state = 'placed'",
    "CREATE TABLE visits (id int PRIMARY KEY, customer int NOT NULL, page text NOT NULL, ms int NOT NULL)",
    """
    INSERT INTO visits
    SELECT n, n % 5000, '/products/' || n % 240 || repeat('-', 40), n::bigint * 104729 % 900
    FROM generate_series(1, 200000) n
    """,
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO shop, bench, report",
    "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO shop",
)


@dataclass(frozen=True)
class Urls:
    """Where each role connects."""

    shop: str
    bench: str
    report: str


def prepare(server: Postgres) -> Urls:
    """Make it so; statements are shown of sessions that begin afterwards."""
    with psycopg.connect(server.url(), autocommit=True) as owner:
        for role in ROLES:
            owner.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(server.password))
            )
        owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        for name, value in _SERVER.items():
            owner.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    with psycopg.connect(server.url(database=DATABASE)) as inside:
        for statement in _TABLES:
            inside.execute(statement.encode())
    with psycopg.connect(server.url(), autocommit=True) as owner:
        owner.execute("VACUUM ANALYZE")
        for name, value in _DATABASE.items():
            owner.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(DATABASE), sql.Identifier(name), sql.Literal(value)
                )
            )
        for name, value in _REPORT.items():
            owner.execute(sql.SQL("ALTER ROLE report SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        owner.execute("SELECT pg_reload_conf()")
    return Urls(*(server.url(database=DATABASE, role=role) for role in ROLES))
