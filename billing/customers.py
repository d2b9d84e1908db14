"""Whose a customer at Stripe is: the link to an organization, and what happens when another customer takes its place.

| found | what is done |
|---|---|
| the customer is known | its organization; nothing more where it is frozen |
| it is not, and its metadata names an organization without one | linked |
| that organization has one whose subscriptions are all over | relinked: the old one's hours are frozen, once no sender has them |
| that organization has one with a live subscription | refused: `CustomerConflict`, rings |
| no organization of that name | `NotLinked`: later again |
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing import announce, ledger
from billing.alarms import Alarm, clear_others, raise_alarm
from billing.meter_hours import sender_lock
from billing.stripe_gateway import Connection as Stripe
from billing.stripe_objects import read_customer
from schemas.errors import DriftlockError

Connection = psycopg.Connection[Any]

LIVE = "status NOT IN ('canceled', 'incomplete', 'incomplete_expired')"
"""A subscription that is not over and was begun: a condition on `subscriptions`."""


class NotLinked(DriftlockError):
    """The customer belongs to no organization that is known here."""


class CustomerConflict(DriftlockError):
    """An organization has two customers, or two subscriptions, that are both alive.

    `other` is the subscription known here; empty where the customer was replaced, whatever the other one has.
    """

    def __init__(self, message: str, other: str) -> None:
        super().__init__(message)
        self.other = other


class HoursInFlight(DriftlockError):
    """A sender has the hours of the customer that is to be replaced: in a moment again."""


@dataclass(frozen=True)
class Link:
    """A customer's organization. `frozen`: another customer has taken its place."""

    organization_id: UUID
    frozen: bool


def find(connection: Connection, customer_id: str) -> Link | None:
    """The link of a customer that is known."""
    row = connection.execute(
        "SELECT organization_id, unlinked_at IS NOT NULL FROM billing_customers WHERE id = %s", (customer_id,)
    ).fetchone()
    return None if row is None else Link(*row)


def resolve(connection: Connection, at: Stripe, customer_id: str, hint: str, began_at: datetime, now: datetime) -> Link:
    """The link of a customer, made if it is new: `hint` or its metadata name the organization.

    `began_at`: the start of the subscription by which it came, from when its hours count.
    """
    if found := find(connection, customer_id):
        return found
    named = hint or read_customer(at, customer_id).organization_id
    try:
        organization_id = UUID(named)
    except ValueError:
        raise NotLinked(f"customer {customer_id}: its metadata has no organization_id") from None
    if not connection.execute("SELECT 1 FROM organizations WHERE id = %s", (organization_id,)).fetchone():
        raise NotLinked(f"customer {customer_id}: there is no organization {organization_id}")
    link(connection, organization_id, customer_id, began_at, now, livemode=at.livemode)
    return Link(organization_id, frozen=False)


def link(
    connection: Connection,
    organization_id: UUID,
    customer_id: str,
    began_at: datetime,
    now: datetime,
    *,
    livemode: bool,
) -> None:
    """Link a new customer to an organization; the one before is frozen with its hours.

    `CustomerConflict` if that lives, `HoursInFlight` while a sender has its hours.
    """
    ledger.lock(connection, [organization_id])
    row = connection.execute(
        "SELECT id FROM billing_customers WHERE organization_id = %s AND unlinked_at IS NULL", (organization_id,)
    ).fetchone()
    old = None if row is None else row[0]
    if old == customer_id:
        return
    if old is not None:
        alive = connection.execute(
            f"SELECT id FROM subscriptions WHERE customer_id = %s AND {LIVE}",  # noqa: S608 a constant
            (old,),
        ).fetchone()
        if alive:
            raise CustomerConflict(
                f"organization {organization_id} has customer {old} with subscription {alive[0]}: {customer_id} is refused",
                alive[0],
            )
        _freeze(connection, old, now)
    connection.execute(
        "INSERT INTO billing_customers (id, organization_id, livemode, linked_at) VALUES (%s, %s, %s, %s)",
        (customer_id, organization_id, livemode, began_at),
    )
    before, after = {"customer_id": old}, {"customer_id": customer_id}
    announce.acted(connection, organization_id, announce.ACTOR, "customer.link", before, after, now)


def _freeze(connection: Connection, customer_id: str, now: datetime) -> None:
    """Nothing is sent for it any more. `HoursInFlight` while a sender has it: its answer would say otherwise of an hour.

    Tried, not waited for: what we hold locked may be what the sender waits for.
    """
    row = connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (sender_lock(customer_id),)
    ).fetchone()
    if row is None or not row[0]:
        raise HoursInFlight(f"customer {customer_id}: its hours are being sent, it can't be replaced now")
    connection.execute("UPDATE billing_customers SET unlinked_at = %s WHERE id = %s", (now, customer_id))
    connection.execute(f"{_FREEZE} AND c.id = %s", (customer_id,))


_DOUBT = "in doubt when its customer was replaced"
_FREEZE = f"""
UPDATE meter_hours m SET state = 'frozen', last_error = CASE WHEN m.state = 'unconfirmed'
    OR right(m.sent_identifier, 1 + length(m.sent_version::text)) <> '.' || m.sent_version THEN '{_DOUBT}' END
FROM billing_customers c
WHERE c.unlinked_at IS NOT NULL AND m.organization_id = c.organization_id AND m.customer_id = c.id AND m.state <> 'frozen'
"""  # noqa: S608 constants of our own
_UNSENT = f"""
SELECT m.organization_id, m.customer_id, count(*),
    sum(m.units - CASE WHEN m.last_error IS NULL THEN coalesce(m.sent_units, 0) ELSE 0 END)::bigint
FROM billing_customers c JOIN meter_hours m ON m.organization_id = c.organization_id AND m.customer_id = c.id
WHERE c.unlinked_at IS NOT NULL AND m.state = 'frozen' AND m.units > 0
    AND (m.last_error = '{_DOUBT}' OR m.units <> coalesce(m.sent_units, 0))
GROUP BY 1, 2 ORDER BY 2
"""  # noqa: S608 the same


def ring_unsent(connection: Connection, now: datetime) -> int:
    """Freeze what was booked to replaced customers since, and ring for what is not at Stripe of them; how many customers.

    Late usage of a period before the replacement lands in their hours. By hand: an invoice item, and a waiver, which ends it.
    Runs as driftlock_meter.
    """
    with connection.transaction():
        connection.execute(_FREEZE)
        rows = connection.execute(_UNSENT).fetchall()
        for organization_id, customer, hours, units in rows:
            said = f"customer {customer} was replaced with {hours} hours ({units} units) that are not at Stripe"
            raise_alarm(connection, Alarm("frozen_unsent", customer, said, organization_id), now)
        clear_others(connection, "frozen_unsent", [row[1] for row in rows], now)
    return len(rows)
