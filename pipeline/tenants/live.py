"""New and changed anomalies in the order in which they became visible. Connections are of role driftlock_api, in autocommit mode."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from billing.tenant import tenant
from pipeline.accounts.errors import Invalid
from pipeline.tenants.anomalies import COLUMNS, SHOWN, STATUS, Listed

Connection = psycopg.Connection[Any]
_PLACE = re.compile(r"(\d{1,19})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_LAST_ID = UUID(int=(1 << 128) - 1)
CHANNEL = "driftlock_anomalies"
"""PostgreSQL's channel: its payload is the organization whose anomalies changed."""


@dataclass(frozen=True)
class Seen:
    """An anomaly and the place after it: the id of a server-sent event."""

    place: str
    anomaly: Listed


def present(connection: Connection, organization_id: UUID) -> str:
    """The place after all that is visible now."""
    with tenant(connection, organization_id):
        row = connection.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").fetchone()
    return f"{int(row[0]) - 1 if row else 0}.{_LAST_ID}"


def after(connection: Connection, organization_id: UUID, place: str, limit: int = 100) -> list[Seen]:
    """What became visible after a place, in order; nothing is skipped, also where transactions overlap. `Invalid`."""
    said = _PLACE.fullmatch(place)
    if said is None:
        raise Invalid("that is no place in the stream: leave it out to begin at the present")
    with tenant(connection, organization_id):
        row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
        if row is not None and int(said[1]) > int(row[0]):
            raise Invalid("that place is of another database: leave it out to begin at the present")
        rows = connection.execute(
            f"SELECT a.written_in::text, {COLUMNS} FROM anomalies a {STATUS} WHERE a.organization_id = %s"  # noqa: S608
            " AND (a.written_in, a.id) > (%s::xid8, %s) AND a.written_in < pg_snapshot_xmin(pg_current_snapshot())"
            f" AND {SHOWN} ORDER BY a.written_in, a.id LIMIT %s",
            (organization_id, said[1], UUID(said[2]), limit),
        ).fetchall()
    return [Seen(f"{row[0]}.{row[1]}", Listed(*row[1:])) for row in rows]
