"""Requests with an Idempotency-Key, remembered for a day. Connections are of role driftlock_api, in autocommit mode.

What a request was answered follows from its body and its key, so only that it was answered is kept, and the body's hash.
"""

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import psycopg

from billing.tenant import tenant
from pipeline.accounts.errors import Conflict, Invalid

Connection = psycopg.Connection[Any]

PRESUMED_DEAD = timedelta(seconds=60)


def begin(
    connection: Connection, organization_id: UUID, key_hash: bytes, body_hash: bytes, at: datetime
) -> Literal["new", "done"]:
    """Claim a request, or learn that it is done. `Conflict` while another one works on it; `Invalid` for another body.

    One that was begun a minute ago and not finished is claimed again: its process died.
    """
    with tenant(connection, organization_id):
        row = connection.execute(
            "INSERT INTO intake_requests AS r (organization_id, key_hash, body_hash, begun_at) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (organization_id, key_hash) DO UPDATE SET begun_at = excluded.begun_at"
            " WHERE r.answer IS NULL AND r.begun_at <= %s AND r.body_hash = excluded.body_hash RETURNING 1",
            (organization_id, key_hash, body_hash, at, at - PRESUMED_DEAD),
        ).fetchone()
        if row is not None:
            return "new"
        known = connection.execute(
            "SELECT body_hash, answer IS NOT NULL FROM intake_requests WHERE organization_id = %s AND key_hash = %s",
            (organization_id, key_hash),
        ).fetchone()
    if known is not None and known[0] != body_hash:
        raise Invalid("this Idempotency-Key was used for another body: give each request its own")
    if known is not None and known[1]:
        return "done"
    raise Conflict("a request with this Idempotency-Key is under way: try again in a second")


def finish(connection: Connection, organization_id: UUID, key_hash: bytes, *, accepted: int) -> None:
    """It is answered: the same request is answered the same from now on."""
    with tenant(connection, organization_id):
        connection.execute(
            "UPDATE intake_requests SET answer = jsonb_build_object('accepted', %s::int)"
            " WHERE organization_id = %s AND key_hash = %s",
            (accepted, organization_id, key_hash),
        )


def release(connection: Connection, organization_id: UUID, key_hash: bytes, at: datetime) -> None:
    """It failed: the same request may be tried again at once."""
    with tenant(connection, organization_id):
        connection.execute(
            "UPDATE intake_requests SET begun_at = %s WHERE organization_id = %s AND key_hash = %s AND answer IS NULL",
            (at - PRESUMED_DEAD, organization_id, key_hash),
        )
