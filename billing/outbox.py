"""The outbox: what is to be told, written in the transaction that made it true, told once by whoever delivers it.

Delivery is not here (pipeline/alerts): this only writes rows. A dedupe key says what a row is about; a second row with the
key of an organization is not written.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing.periods import instant
from schemas.notices import Notice

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Letter:
    """A notice, and the key that keeps it from being told twice, such as `usage/<period's start>/percent/70`.

    `rule_id`: it goes to that rule's endpoints. `due_at`: not to endpoints before; None: at once.
    """

    dedupe_key: str
    notice: Notice
    rule_id: UUID | None = None
    due_at: datetime | None = None


def put(connection: Connection, letters: Iterable[Letter]) -> None:
    """Write what is to be told, in the caller's transaction. `created_at` is the notice's `at`."""
    rows = list(letters)
    if not rows:
        return
    connection.execute(
        "INSERT INTO outbox (organization_id, kind, payload, dedupe_key, created_at, rule_id, due_at) SELECT * FROM"
        " unnest(%s::uuid[], %s::text[], %s::jsonb[], %s::text[], %s::timestamptz[], %s::uuid[], %s::timestamptz[])"
        " ON CONFLICT (organization_id, dedupe_key) DO NOTHING",
        [
            [row.notice.organization_id for row in rows],
            [row.notice.model_dump()["type"] for row in rows],
            [row.notice.to_bytes().decode() for row in rows],
            [row.dedupe_key for row in rows],
            [instant(row.notice.at) for row in rows],
            [row.rule_id for row in rows],
            [row.due_at for row in rows],
        ],
    )
