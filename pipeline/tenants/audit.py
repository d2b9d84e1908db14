"""The audit trail of an organization. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing.tenant import tenant
from pipeline.accounts.errors import Invalid

Connection = psycopg.Connection[Any]

MOST_A_PAGE = 500


@dataclass(frozen=True)
class Action:
    """Who did what."""

    seq: int
    at: datetime
    actor: str
    action: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def list_actions(
    connection: Connection, organization_id: UUID, *, before_seq: int | None = None, limit: int = 100
) -> list[Action]:
    """Actions, the newest first; the next page is before the last one's `seq`."""
    if not 1 <= limit <= MOST_A_PAGE:
        raise Invalid(f"limit must be 1 to {MOST_A_PAGE}")
    if before_seq is not None and not 0 < before_seq < 1 << 63:
        raise Invalid("cursor is none of ours: leave it out to begin at the newest")
    with tenant(connection, organization_id):
        rows = connection.execute(
            "SELECT seq, at, actor, action, before, after FROM billing_actions WHERE organization_id = %s"
            " AND (%s::bigint IS NULL OR seq < %s) ORDER BY seq DESC LIMIT %s",
            (organization_id, before_seq, before_seq, limit),
        )
        return [Action(*row) for row in rows]
