"""Accounts: an organization with its customer at Stripe and a subscription that began at a given instant."""

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing import ledger
from billing.changes import start_period
from billing.periods import hour_of
from billing.plans import latest


def create_organization(connection: psycopg.Connection[Any], organization_id: UUID, name: str, at: datetime) -> None:
    """An organization on plan developer from the hour of `at` on. Doing it again changes nothing.

    Runs as the owner of the schema.
    """
    with connection.transaction():
        made = connection.execute(
            "INSERT INTO organizations (id, name, created_at) VALUES (%s, %s, %s) ON CONFLICT (id) DO NOTHING",
            (organization_id, name, at),
        )
        if made.rowcount:
            anchor = hour_of(at)
            start_period(
                connection,
                organization_id,
                latest("developer"),
                at=anchor,
                anchor=anchor,
                subscription_id=None,
                by="sign-up",
                now=at,
            )


def subscribe(
    connection: psycopg.Connection[Any],
    organization_id: UUID,
    *,
    customer_id: str,
    subscription_id: str,
    plan: str,
    began_at: datetime,
    livemode: bool = False,
) -> None:
    """Link a customer and a subscription of the newest version of `plan` that began at `began_at`, with its first period.

    The period that contains `began_at` ends there, so the hour in which the subscription began belongs, as a whole, to
    the plan before. Runs as the owner of the schema; doing it again changes nothing. `PlanChanged` if a period starts
    later.
    """
    version = latest(plan)
    with connection.transaction():
        ledger.lock(connection, [organization_id])
        connection.execute(
            "INSERT INTO billing_customers (id, organization_id, livemode, linked_at) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (id) DO NOTHING",
            (customer_id, organization_id, livemode, began_at),
        )
        made = connection.execute(
            "INSERT INTO subscriptions (id, organization_id, customer_id, livemode, plan, plan_version, status, anchor,"
            " updated_at) VALUES (%s, %s, %s, %s, %s, %s, 'active', %s, %s) ON CONFLICT (id) DO NOTHING",
            (subscription_id, organization_id, customer_id, livemode, plan, version.version, began_at, began_at),
        )
        if not made.rowcount:
            return
        start_period(
            connection,
            organization_id,
            version,
            at=began_at,
            anchor=began_at,
            subscription_id=subscription_id,
            by="subscribe",
            now=began_at,
        )


def seed(
    connection: psycopg.Connection[Any],
    organization_id: UUID,
    *,
    name: str,
    customer_id: str,
    subscription_id: str,
    plan: str,
    began_at: datetime,
) -> None:
    """An organization with a customer and a subscription, in one transaction, as the owner of the schema."""
    with connection.transaction():
        create_organization(connection, organization_id, name, began_at)
        subscribe(
            connection,
            organization_id,
            customer_id=customer_id,
            subscription_id=subscription_id,
            plan=plan,
            began_at=began_at,
        )
