"""The tenant of a transaction: what row-level security lets the API and readers see."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg


@contextmanager
def tenant(connection: psycopg.Connection[Any], organization_id: UUID) -> Iterator[psycopg.Connection[Any]]:
    """One transaction that sees and writes the rows of one organization only.

    The setting ends with the transaction, so a pooled connection carries nothing to its next user. It can't be nested
    in another transaction: there, the outer one would go on as this tenant.
    """
    if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        raise RuntimeError("tenant() needs a connection outside any transaction")
    with connection.transaction():
        connection.execute("SELECT set_config('driftlock.organization_id', %s, true)", (str(organization_id),))
        yield connection
