"""The database brought to this release: schema, roles, plans, and the coming months' partitions."""

from datetime import UTC, datetime

import psycopg

from billing import plans
from schemas import migrations

MONTHS_AHEAD = 3


def migrate_database(connection: psycopg.Connection, passwords: dict[str, str]) -> tuple[str, ...]:
    """Schema, roles, plans and the coming months' partitions; the names of the migrations applied now.

    `connection` is in autocommit mode, as the owner of the schema.
    """
    done = migrations.apply(connection, passwords)
    now = datetime.now(UTC)
    plans.store(connection, now)
    connection.execute("SELECT create_anomaly_partitions(%s, %s)", (now, MONTHS_AHEAD))
    return done
