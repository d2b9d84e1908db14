"""What a tenant says to workers, stored in the transaction that it belongs to; `driftlock control run` carries it to Kafka."""

from datetime import datetime
from typing import Any

import psycopg

from schemas.controls import Control

Connection = psycopg.Connection[Any]


def tell(connection: Connection, said: Control, at: datetime) -> None:
    """Store a control message; inside `tenant()` of its organization, which may speak for no other."""
    connection.execute(
        "INSERT INTO control_outbox (organization_id, key, message, created_at) VALUES (%s, %s, %s, %s)",
        (said.organization_id, said.key, said.to_bytes().decode(), at),
    )
