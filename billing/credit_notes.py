"""Credit notes to Stripe: what a credit takes back of a period whose hours can't be lowered any more.

| outcome | what |
|---|---|
| issued | Stripe has it; its id is kept |
| nothing_due | the credit changes no cent |
| waits | the period's invoice is not final yet: asked again in an hour |
| unanswered, 429 | asked again with back-off; one that is there already is found by its metadata, so none is issued twice |
| refused | rings; by hand |
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from billing import stripe_gateway as gateway
from billing import stripe_orders as orders
from billing.alarms import Alarm, raise_alarm
from billing.meter_hours import backoff

Connection = psycopg.Connection[Any]
NOT_FINAL = timedelta(hours=1)
MOST_OF_A_PASS = 100

_DUE = """
SELECT c.organization_id, c.id, c.cents, c.reason, c.attempts, (
    SELECT i.id FROM invoices_mirror i WHERE i.organization_id = c.organization_id AND i.customer_id = c.customer_id
    AND i.status IN ('open', 'paid') AND i.period_start <= c.period_start AND i.period_end > c.period_start
    AND i.billing_reason <> 'subscription_create' ORDER BY i.created_at LIMIT 1)
FROM credit_notes c WHERE c.state = 'pending' AND (c.next_attempt_at IS NULL OR c.next_attempt_at <= %s)
ORDER BY c.created_at, c.id LIMIT %s
"""


@dataclass(frozen=True)
class Due:
    """A credit note that waits, and the final invoice of its period, if there is one."""

    organization_id: UUID
    id: UUID
    cents: int
    reason: str
    attempts: int
    invoice_id: str | None


def issue_due(
    connection: Connection,
    stripe: gateway.Connection,
    now: datetime,
    rng: random.Random,
    crash: Callable[[str], None] = lambda _name: None,
) -> dict[str, int]:
    """Issue what is due, as role driftlock_meter on a connection in autocommit mode; how many had which outcome."""
    done: dict[str, int] = {}
    for row in connection.execute(_DUE, (now, MOST_OF_A_PASS)).fetchall():
        outcome = _issue(connection, stripe, Due(*row), now, rng, crash)
        done[outcome] = done.get(outcome, 0) + 1
        if outcome == "unanswered":
            break
    return done


def _issue(
    connection: Connection,
    stripe: gateway.Connection,
    due: Due,
    now: datetime,
    rng: random.Random,
    crash: Callable[[str], None],
) -> str:
    if due.cents == 0:
        _mark(connection, due, "nothing_due", now)
        return "nothing_due"
    if due.invoice_id is None:
        _later(connection, due, "its period's invoice is not final yet", now + NOT_FINAL, counts=False)
        return "waits"
    key = str(due.id)
    # Noted first: whoever comes after our death looks whether it is there before asking again.
    _later(connection, due, "asked", now + backoff(due.attempts + 1, rng))
    crash("credits:before-send")
    try:
        made = orders.find_credit_note(stripe, due.invoice_id, key) if due.attempts else None
        made = made or orders.credit_note(stripe, due.invoice_id, due.cents, due.reason, key)
    except (gateway.StripeUnanswered, gateway.StripeBusy) as error:
        _note(connection, due, str(error))
        return "unanswered"
    except gateway.StripeRefused as error:
        _mark(connection, due, "refused", now, str(error))
        said = f"credit note of {due.cents} cents on invoice {due.invoice_id} is refused: {error}"
        with connection.transaction():
            raise_alarm(connection, Alarm("credit_note_refused", key, said, due.organization_id), now)
        return "refused"
    crash("credits:after-send-before-mark")
    _mark(connection, due, "issued", now, stripe_id=made)
    return "issued"


def _mark(
    connection: Connection, due: Due, state: str, now: datetime, said: str | None = None, stripe_id: str | None = None
) -> None:
    connection.execute(
        "UPDATE credit_notes SET state = %s, stripe_id = %s, issued_at = %s, next_attempt_at = NULL, last_error = %s"
        " WHERE organization_id = %s AND id = %s",
        (state, stripe_id, now if state == "issued" else None, said, due.organization_id, due.id),
    )


def _later(connection: Connection, due: Due, said: str, until: datetime, *, counts: bool = True) -> None:
    connection.execute(
        "UPDATE credit_notes SET attempts = attempts + %s, next_attempt_at = %s, last_error = %s"
        " WHERE organization_id = %s AND id = %s",
        (int(counts), until, said, due.organization_id, due.id),
    )


def _note(connection: Connection, due: Due, said: str) -> None:
    connection.execute(
        "UPDATE credit_notes SET last_error = %s WHERE organization_id = %s AND id = %s",
        (said, due.organization_id, due.id),
    )
