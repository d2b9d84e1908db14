"""Dunning, a state machine of what an organization owes; drawn in README.md. Usage and scoring never look at it.

The state is derived: from the invoices and subscriptions as they were last fetched, and the time. So the order in which
Stripe tells of them does not matter, and asking again changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import psycopg

from billing import announce
from billing.periods import milliseconds
from schemas.notices import BillingDunning

Connection = psycopg.Connection[Any]
State = Literal["ok", "grace", "suspended", "cancelled"]

GRACE = timedelta(days=7)
"""From the first failure of what is owed; later failures never move it."""

_OWED = """
SELECT i.id, i.amount_due_cents, coalesce(
    (SELECT min(e.created_at) FROM stripe_events e WHERE e.object_id = i.id AND e.type = 'invoice.payment_failed'),
    CASE WHEN s.status IN ('past_due', 'unpaid', 'canceled') OR i.status = 'uncollectible' THEN i.finalized_at END)
FROM invoices_mirror i LEFT JOIN subscriptions s ON s.id = i.subscription_id
WHERE i.organization_id = %s AND i.status IN ('open', 'uncollectible') AND i.attempt_count > 0 AND i.amount_due_cents > 0
ORDER BY i.id
"""


@dataclass(frozen=True)
class Owed:
    """A final invoice whose collection failed, first at `failed_at`."""

    invoice_id: str
    cents: int
    failed_at: datetime


@dataclass(frozen=True)
class Standing:
    """An organization's state. `deadline_at`: the end of the grace, where something is owed."""

    state: State
    first_failed_at: datetime | None = None
    deadline_at: datetime | None = None
    owed_cents: int = 0
    invoice_id: str | None = None


def standing(owed: Sequence[Owed], *, subscribed: bool, alive: bool, now: datetime) -> Standing:
    """The state that follows from what is owed, and from whether there ever was, and is, a subscription."""
    first = min(owed, key=lambda one: (one.failed_at, one.invoice_id), default=None)
    cents = sum(one.cents for one in owed)
    ended = subscribed and not alive
    if first is None:
        return Standing("cancelled" if ended else "ok")
    deadline = first.failed_at + GRACE
    state: State = "cancelled" if ended else "grace" if now < deadline else "suspended"
    return Standing(state, first.failed_at, deadline, cents, first.invoice_id)


def refresh(connection: Connection, organization_id: UUID, now: datetime) -> Standing:
    """Derive an organization's state anew, store it, and tell each step once. The caller holds the ledger's head."""
    owed = [
        Owed(invoice, cents, failed_at)
        for invoice, cents, failed_at in connection.execute(_OWED, (organization_id,)).fetchall()
        if failed_at is not None
    ]
    row = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE status NOT IN ('canceled', 'incomplete', 'incomplete_expired'))"
        " FROM subscriptions WHERE organization_id = %s AND status NOT IN ('incomplete', 'incomplete_expired')",
        (organization_id,),
    ).fetchone()
    subscribed, alive = (0, 0) if row is None else row
    found = standing(owed, subscribed=subscribed > 0, alive=alive > 0, now=now)
    kept = connection.execute(
        "SELECT state, first_failed_at FROM billing_access WHERE organization_id = %s", (organization_id,)
    ).fetchone()
    was: State = "ok" if kept is None else kept[0]
    connection.execute(
        "INSERT INTO billing_access AS a (organization_id, state, since, first_failed_at, deadline_at, owed_cents)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (organization_id) DO UPDATE SET state = excluded.state,"
        " since = CASE WHEN a.state = excluded.state THEN a.since ELSE excluded.since END,"
        " first_failed_at = excluded.first_failed_at, deadline_at = excluded.deadline_at, owed_cents = excluded.owed_cents",
        (organization_id, found.state, now, found.first_failed_at, found.deadline_at, found.owed_cents),
    )
    if found.state != was:
        _tell(connection, organization_id, was, found, None if kept is None else kept[1], now)
    return found


def _tell(
    connection: Connection,
    organization_id: UUID,
    was: State,
    found: Standing,
    failed_before: datetime | None,
    now: datetime,
) -> None:
    # What it is about: the debt that began then, the one that is over now, or the end of a subscription.
    about = found.first_failed_at or failed_before
    key = f"dunning/{milliseconds(about) if about else 'none'}/{found.state}"
    if about is None:
        key += f"/{milliseconds(now)}"
    notice = BillingDunning(
        organization_id=organization_id,
        at=milliseconds(now),
        was=was,
        state=found.state,
        until=milliseconds(found.deadline_at) if found.deadline_at else None,
        invoice_id=found.invoice_id,
    )
    announce.tell(connection, key, notice)
    after = {"state": found.state, "owed_cents": found.owed_cents, "invoice_id": found.invoice_id}
    announce.acted(connection, organization_id, announce.ACTOR, "access.change", {"state": was}, after, now)


def overdue(connection: Connection, now: datetime) -> list[UUID]:
    """The organizations whose grace is over by now: to be refreshed."""
    rows = connection.execute(
        "SELECT organization_id FROM billing_access WHERE state = 'grace' AND deadline_at <= %s ORDER BY 1", (now,)
    )
    return [organization_id for (organization_id,) in rows]
