"""Accounts: an organization with its customer at Stripe and a subscription that began at a given instant."""

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing.periods import hour_of, period_at
from billing.plans import Plan, latest
from schemas.errors import PlanChanged


def create_organization(connection: psycopg.Connection[Any], organization_id: UUID, name: str, at: datetime) -> None:
    """An organization on plan developer from the hour of `at` on. Doing it again changes nothing.

    Runs as the owner of the schema.
    """
    with connection.transaction():
        _lock(connection, organization_id)
        made = connection.execute(
            "INSERT INTO organizations (id, name, created_at) VALUES (%s, %s, %s) ON CONFLICT (id) DO NOTHING",
            (organization_id, name, at),
        )
        if made.rowcount:
            anchor = hour_of(at)
            plan = latest("developer")
            _period(connection, organization_id, *period_at(anchor, anchor), plan, None)


def _lock(connection: psycopg.Connection[Any], organization_id: UUID) -> None:
    connection.execute(
        "INSERT INTO ledger_heads (organization_id) VALUES (%s) ON CONFLICT DO NOTHING", (organization_id,)
    )
    connection.execute("SELECT 1 FROM ledger_heads WHERE organization_id = %s FOR UPDATE", (organization_id,))


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
    later: what was used since would change its plan.
    """
    version = latest(plan)
    with connection.transaction():
        _lock(connection, organization_id)
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
        later = connection.execute(
            "SELECT max(starts_at) FROM billing_periods WHERE organization_id = %s AND starts_at > %s",
            (organization_id, began_at),
        ).fetchone()
        if later and later[0]:
            raise PlanChanged(
                f"organization {organization_id} has a period that starts at {later[0]}, after {began_at}"
            )
        connection.execute(
            "DELETE FROM billing_periods WHERE organization_id = %s AND starts_at = %s AND subscription_id IS NULL",
            (organization_id, began_at),
        )
        connection.execute(
            "UPDATE billing_periods SET ends_at = %s WHERE organization_id = %s AND ends_at > %s",
            (began_at, organization_id, began_at),
        )
        _period(connection, organization_id, *period_at(began_at, began_at), version, subscription_id)


def _period(
    connection: psycopg.Connection[Any],
    organization_id: UUID,
    starts_at: datetime,
    ends_at: datetime,
    plan: Plan,
    subscription_id: str | None,
) -> None:
    connection.execute(
        "INSERT INTO billing_periods (organization_id, starts_at, ends_at, plan, plan_version, subscription_id)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (organization_id, starts_at, ends_at, plan.plan, plan.version, subscription_id),
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
