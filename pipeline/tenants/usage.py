"""Usage and billing as a tenant sees them. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing.preview import Preview
from billing.quota import Quota
from billing.report import Day

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
    raise NotImplementedError


def preview(connection: Connection, organization_id: UUID, at: datetime) -> Preview:
    """The present period's invoice as it stands."""
    raise NotImplementedError


def alerts(connection: Connection, organization_id: UUID, at: datetime) -> list[Alert]:
    """Thresholds crossed in the present period, the newest first."""
    raise NotImplementedError


def invoices(connection: Connection, organization_id: UUID) -> list[Invoice]:
    """Invoices, the newest first."""
    raise NotImplementedError
