"""What Stripe's side tells: notices to the tenant and to the operator by the outbox, and actions for the audit trail.

Each in the caller's transaction. A notice is told once: its dedupe key says what it is about.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing import actions, outbox
from billing.actions import INSTALLATION, State
from billing.outbox import Letter
from billing.periods import milliseconds
from schemas.notices import AlarmRinging, Notice

Connection = psycopg.Connection[Any]
ACTOR = "stripe"
"""Who acts where an object at Stripe changed."""


def tell(connection: Connection, key: str, notice: Notice) -> None:
    """Tell a tenant, once."""
    outbox.put(connection, [Letter(key, notice)])


def tell_operator(connection: Connection, kind: str, subject: str, said: str, since: datetime, now: datetime) -> None:
    """Tell whoever runs this that an alarm rings, once for each time it began."""
    key = f"alarm/{kind}/{subject}/{milliseconds(since)}"
    notice = AlarmRinging(
        organization_id=INSTALLATION,
        at=milliseconds(now),
        kind=kind,
        subject=subject,
        said=said,
        since=milliseconds(since),
    )
    outbox.put(connection, [Letter(key, notice)])


def acted(
    connection: Connection,
    organization_id: UUID,
    actor: str,
    action: str,
    before: State | None,
    after: State | None,
    now: datetime,
) -> None:
    """Keep who did what, with what was before and after."""
    actions.record(connection, organization_id, actor=actor, action=action, before=before, after=after, at=now)
