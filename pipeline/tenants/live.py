"""New and changed anomalies in the order in which they became visible. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from pipeline.tenants.anomalies import Listed

Connection = psycopg.Connection[Any]
CHANNEL = "driftlock_anomalies"
"""PostgreSQL's channel: its payload is the organization whose anomalies changed."""


@dataclass(frozen=True)
class Seen:
    """An anomaly and the place after it: the id of a server-sent event."""

    place: str
    anomaly: Listed


def present(connection: Connection, organization_id: UUID) -> str:
    """The place after all that is visible now."""
    raise NotImplementedError


def after(connection: Connection, organization_id: UUID, place: str, limit: int = 100) -> list[Seen]:
    """What became visible after a place, in order; nothing is skipped, also where transactions overlap. `Invalid`."""
    raise NotImplementedError
