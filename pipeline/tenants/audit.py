"""The audit trail of an organization. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

Connection = psycopg.Connection[Any]


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
    raise NotImplementedError
