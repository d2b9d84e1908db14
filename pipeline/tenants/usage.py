"""Usage and billing as a tenant sees them. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing import preview as previews
from billing import quota as quotas
from billing import report
from billing.periods import instant
from billing.preview import Preview
from billing.quota import Quota
from billing.report import Day
from billing.tenant import tenant

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Usage:
    """A period's use against its terms, and its days."""

    quota: Quota
    days: tuple[Day, ...]


@dataclass(frozen=True)
class Alert:
    """A threshold that was crossed. `threshold`: percent, units or cents, by kind."""

    kind: str
    threshold: int
    used: int
    crossed_at: datetime


@dataclass(frozen=True)
class Invoice:
    """An invoice as Stripe has it."""

    id: str
    number: str | None
    status: str
    currency: str
    total_cents: int
    amount_due_cents: int
    period_start: datetime
    period_end: datetime
    hosted_url: str | None


def usage(connection: Connection, organization_id: UUID, at: datetime) -> Usage:
    """The present period."""
    with tenant(connection, organization_id):
        quota = quotas.quota(connection, organization_id, at)
        return Usage(quota, tuple(report.days(connection, organization_id, quota.period_start)))


def preview(connection: Connection, organization_id: UUID, at: datetime) -> Preview:
    """The present period's invoice as it stands."""
    with tenant(connection, organization_id):
        return previews.preview(connection, organization_id, at)


def alerts(connection: Connection, organization_id: UUID, at: datetime) -> list[Alert]:
    """Thresholds crossed in the present period, the newest first."""
    with tenant(connection, organization_id):
        period = previews.period_of(connection, organization_id, at)
        rows = connection.execute(
            "SELECT kind, threshold, used, crossed_at FROM usage_alerts WHERE organization_id = %s AND period_start = %s"
            " ORDER BY crossed_at DESC, kind, threshold DESC",
            (organization_id, instant(period.starts_at)),
        )
        return [Alert(*row) for row in rows]


def invoices(connection: Connection, organization_id: UUID) -> list[Invoice]:
    """Invoices, the newest first."""
    with tenant(connection, organization_id):
        rows = connection.execute(
            "SELECT id, number, status, currency, total_cents, amount_due_cents, period_start, period_end, hosted_url"
            " FROM invoices_mirror WHERE organization_id = %s ORDER BY period_start DESC, id LIMIT 200",
            (organization_id,),
        )
        return [Invoice(*row) for row in rows]
