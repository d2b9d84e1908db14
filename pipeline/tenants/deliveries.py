"""How alerts went to an organization's endpoints. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import psycopg

from billing import actions
from billing.tenant import tenant
from pipeline.accounts.errors import Conflict, Invalid, NotFound
from pipeline.alerts.formats import message_id
from pipeline.alerts.spread import GIVES_UP
from pipeline.tenants import endpoints

Connection = psycopg.Connection[Any]
State = Literal["pending", "delivered", "dead"]

MOST_A_PAGE = 200
_READ = """
SELECT d.seq, d.id, d.outbox_id, d.endpoint_id, e.name, d.kind, d.state, d.created_at, d.attempts, d.next_attempt_at,
    d.delivered_at, d.last_error
FROM alert_deliveries d JOIN alert_endpoints e ON e.organization_id = d.organization_id AND e.id = d.endpoint_id
WHERE d.organization_id = %(organization)s AND (%(before)s::bigint IS NULL OR d.seq < %(before)s)
    AND (%(endpoint)s::uuid IS NULL OR d.endpoint_id = %(endpoint)s) AND (%(state)s::text IS NULL OR d.state = %(state)s)
    AND (%(one)s::uuid IS NULL OR d.id = %(one)s)
ORDER BY d.seq DESC LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Delivery:
    """A message for an endpoint. `message_id`: the header webhook-id. `next_attempt_at`: while it is pending."""

    id: UUID
    message_id: str
    endpoint_id: UUID
    endpoint: str
    event_type: str
    state: State
    created_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_error: str | None


@dataclass(frozen=True)
class DeliveryPage:
    """Deliveries, the newest first, and the cursor of the next page; None at the end."""

    items: tuple[Delivery, ...]
    next_cursor: int | None


@dataclass(frozen=True)
class AttemptMade:
    """An attempt. `status`: of HTTP, None where no answer came or it was an e-mail; `said`: the answer's beginning, or why."""

    number: int
    at: datetime
    took_ms: int
    status: int | None
    said: str


@dataclass(frozen=True)
class DeliveryFound:
    """A delivery with all its attempts, the newest first."""

    delivery: Delivery
    attempts: tuple[AttemptMade, ...]


def list_deliveries(
    connection: Connection,
    organization_id: UUID,
    *,
    endpoint_id: UUID | None = None,
    state: State | None = None,
    cursor: int | None = None,
    limit: int = 50,
) -> DeliveryPage:
    """A page of deliveries; `limit` 1 to 200."""
    if not 1 <= limit <= MOST_A_PAGE:
        raise Invalid(f"limit must be 1 to {MOST_A_PAGE}")
    with tenant(connection, organization_id):
        rows = _read(connection, organization_id, None, endpoint_id, state, cursor, limit + 1)
    items = tuple(_delivery(row) for row in rows[:limit])
    return DeliveryPage(items, rows[limit - 1][0] if len(rows) > limit else None)


def get_delivery(connection: Connection, organization_id: UUID, delivery_id: UUID) -> DeliveryFound:
    """One delivery. `NotFound`."""
    with tenant(connection, organization_id):
        return _get(connection, organization_id, delivery_id)


def redeliver(
    connection: Connection, organization_id: UUID, delivery_id: UUID, *, by: str, at: datetime
) -> DeliveryFound:
    """Send it again, with the same message id, for up to 72 hours. `NotFound`; `Conflict` where it could not go out."""
    with tenant(connection, organization_id):
        found = _get(connection, organization_id, delivery_id).delivery
        row = connection.execute(
            "SELECT deleted_at IS NULL AND disabled_at IS NULL FROM alert_endpoints WHERE organization_id = %s AND id = %s",
            (organization_id, found.endpoint_id),
        ).fetchone()
        if row is None or not row[0]:
            raise Conflict("the endpoint is disabled or removed: enable it first")
        connection.execute(
            "UPDATE alert_deliveries SET state = 'pending', next_attempt_at = %s, gives_up_at = %s, last_error = NULL"
            " WHERE organization_id = %s AND id = %s",
            (at, at + GIVES_UP, organization_id, delivery_id),
        )
        endpoints.at_once(connection, organization_id, found.endpoint_id)
        after = {"id": str(delivery_id), "endpoint": str(found.endpoint_id), "type": found.event_type}
        actions.record(
            connection, organization_id, actor=by, action="delivery.redeliver", before=None, after=after, at=at
        )
        return _get(connection, organization_id, delivery_id)


def _read(
    connection: Connection,
    organization_id: UUID,
    one: UUID | None,
    endpoint_id: UUID | None,
    state: State | None,
    before: int | None,
    limit: int,
) -> list[tuple[Any, ...]]:
    asked = {"organization": organization_id, "one": one, "endpoint": endpoint_id, "state": state}
    return connection.execute(_READ, {**asked, "before": before, "limit": limit}).fetchall()


def _delivery(row: tuple[Any, ...]) -> Delivery:
    _, id_, outbox_id, endpoint_id, endpoint, kind, state, created_at, attempts, again, delivered_at, said = row
    waits = again if state == "pending" else None
    return Delivery(
        *(id_, message_id(outbox_id), endpoint_id, endpoint, kind, state, created_at, attempts, waits),
        *(delivered_at, said),
    )


def _get(connection: Connection, organization_id: UUID, delivery_id: UUID) -> DeliveryFound:
    rows = _read(connection, organization_id, delivery_id, None, None, None, 1)
    if not rows:
        raise NotFound("there is no such delivery")
    made = connection.execute(
        "SELECT number, at, took_ms, status, said FROM alert_attempts WHERE organization_id = %s AND delivery_id = %s"
        " ORDER BY number DESC",
        (organization_id, delivery_id),
    )
    return DeliveryFound(_delivery(rows[0]), tuple(AttemptMade(*row) for row in made))
