"""Accounts: an organization with its customer at Stripe and a subscription that began at a given instant."""

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing.periods import hour_of, period_at
from billing.plans import latest


def create_organization(connection: psycopg.Connection[Any], organization_id: UUID, name: str, at: datetime) -> None:
    """An organization with no plan yet. Doing it again changes nothing."""
    connection.execute(
        "INSERT INTO organizations (id, name, created_at) VALUES (%s, %s, %s) ON CONFLICT (id) DO NOTHING",
        (organization_id, name, at),
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

    The hour in which it began belongs, as a whole, to the plan before. Where there is none, that hour becomes a period
    of plan developer. Runs as the owner of the schema in one transaction; doing it again changes nothing.
    """
    version = latest(plan).version
    with connection.transaction():
        connection.execute(
            "INSERT INTO ledger_heads (organization_id) VALUES (%s) ON CONFLICT DO NOTHING", (organization_id,)
        )
        connection.execute("SELECT 1 FROM ledger_heads WHERE organization_id = %s FOR UPDATE", (organization_id,))
        connection.execute(
            "INSERT INTO billing_customers (id, organization_id, livemode, linked_at) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (id) DO NOTHING",
            (customer_id, organization_id, livemode, began_at),
        )
        connection.execute(
            "INSERT INTO subscriptions (id, organization_id, customer_id, livemode, plan, plan_version, status, anchor,"
            " updated_at) VALUES (%s, %s, %s, %s, %s, %s, 'active', %s, %s) ON CONFLICT (id) DO NOTHING",
            (subscription_id, organization_id, customer_id, livemode, plan, version, began_at, began_at),
        )
        before = connection.execute(
            "SELECT 1 FROM billing_periods WHERE organization_id = %s AND starts_at <= %s",
            (organization_id, hour_of(began_at)),
        ).fetchone()
        if before is None and hour_of(began_at) < began_at:
            _period(
                connection, organization_id, hour_of(began_at), began_at, "developer", latest("developer").version, None
            )
        starts_at, ends_at = period_at(began_at, began_at)
        _period(connection, organization_id, starts_at, ends_at, plan, version, subscription_id)


def _period(
    connection: psycopg.Connection[Any],
    organization_id: UUID,
    starts_at: datetime,
    ends_at: datetime,
    plan: str,
    version: int,
    subscription_id: str | None,
) -> None:
    connection.execute(
        "INSERT INTO billing_periods (organization_id, starts_at, ends_at, plan, plan_version, subscription_id)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (organization_id, starts_at, ends_at, plan, version, subscription_id),
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
