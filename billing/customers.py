"""Whose a customer at Stripe is: the link to an organization, and what happens when another customer takes its place.

| found | what is done |
|---|---|
| the customer is known | its organization; nothing more where it is frozen |
| it is not, and its metadata names an organization without one | linked |
| that organization has one whose subscriptions are all over | relinked: the old one's hours are frozen |
| that organization has one with a live subscription | refused: `CustomerConflict`, rings |
| no organization of that name | `NotLinked`: later again |
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing import announce, ledger
from billing.alarms import Alarm, raise_alarm
from billing.stripe_gateway import Connection as Stripe
from billing.stripe_objects import read_customer
from schemas.errors import DriftlockError

Connection = psycopg.Connection[Any]

LIVE = "status NOT IN ('canceled', 'incomplete', 'incomplete_expired')"
"""A subscription that is not over and was begun: a condition on `subscriptions`."""


class NotLinked(DriftlockError):
    """The customer belongs to no organization that is known here."""


class CustomerConflict(DriftlockError):
    """An organization has two customers, or two subscriptions, that are both alive. `other` is the one known here."""

    def __init__(self, message: str, other: str) -> None:
        super().__init__(message)
        self.other = other


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
    """Link a new customer to an organization; the one before is frozen with its hours. `CustomerConflict` if that lives."""
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
        _freeze(connection, organization_id, old, now)
    connection.execute(
        "INSERT INTO billing_customers (id, organization_id, livemode, linked_at) VALUES (%s, %s, %s, %s)",
        (customer_id, organization_id, livemode, began_at),
    )
    before, after = {"customer_id": old}, {"customer_id": customer_id}
    announce.acted(connection, organization_id, announce.ACTOR, "customer.link", before, after, now)


def _freeze(connection: Connection, organization_id: UUID, customer_id: str, now: datetime) -> None:
    """Nothing is sent for it any more; what never reached Stripe rings, to be settled by hand."""
    connection.execute("UPDATE billing_customers SET unlinked_at = %s WHERE id = %s", (now, customer_id))
    row = connection.execute(
        "SELECT count(*), coalesce(sum(units - coalesce(sent_units, 0)), 0)::bigint FROM meter_hours"
        " WHERE customer_id = %s AND state <> 'frozen' AND sent_version < version AND units <> coalesce(sent_units, 0)",
        (customer_id,),
    ).fetchone()
    connection.execute("UPDATE meter_hours SET state = 'frozen' WHERE customer_id = %s", (customer_id,))
    if row and row[0]:
        said = f"customer {customer_id} was replaced with {row[0]} hours ({row[1]} units) that are not at Stripe"
        raise_alarm(connection, Alarm("frozen_unsent", customer_id, said, organization_id), now)
