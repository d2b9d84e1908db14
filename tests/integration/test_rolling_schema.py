"""A release runs on the schema of the next ones: the statements that the sinks of an earlier one sent, on the newest schema."""

import psycopg

from billing import ledger
from billing.access import Connection
from schemas.models import Anomaly
from tests.schemas import wire
from tests.stack.database import Database

EARLIER = 2
"""Its schema had four migrations; `written/2.sql.zst` is what its sinks and its seeding said, each batch twice."""


def test_an_earlier_releases_statements_run_on_the_newest_schema(database: Database) -> None:
    roles: dict[str, Connection] = {}
    written = wire.read(EARLIER)
    (organization_id,) = {Anomaly.from_bytes(value).organization_id for value in written.anomalies}
    try:
        for role, statement in wire.statements(EARLIER):
            if role not in roles:
                roles[role] = psycopg.connect(database.url(role), autocommit=True)
            roles[role].execute(statement.encode())
    finally:
        for connection in roles.values():
            connection.close()
    with psycopg.connect(database.url()) as owner:
        # What the earlier release wrote is whole, as this one reads it.
        assert ledger.verify(owner, organization_id) is None
        counted = owner.execute(
            "SELECT (SELECT count(*) FROM anomalies), (SELECT count(*) FROM ledger WHERE kind = 'usage'),"
            " (SELECT sum(scored_events) FROM usage_counters)"
        ).fetchone()
        assert counted is not None
        assert counted[0] == len({Anomaly.from_bytes(value).id for value in written.anomalies})
        assert counted[1] == sum(b'"is_anomaly":true' in value for value in written.usage)
        assert counted[2] > 0
