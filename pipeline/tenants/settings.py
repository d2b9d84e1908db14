"""Settings of an organization. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

from billing.terms import Mode

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class OrganizationSettings:
    """`sensitivity` 0 to 1 in steps of 0.001, None: the installation's. `cap_percent` None: the plan's. `version` 0: never set."""

    name: str
    sensitivity: Decimal | None
    billing_email: str | None
    cap_mode: Mode
    cap_percent: int | None
    version: int


def get_settings(connection: Connection, organization_id: UUID) -> OrganizationSettings:
    """The settings as they are."""
    raise NotImplementedError


def set_sensitivity(
    connection: Connection,
    organization_id: UUID,
    sensitivity: Decimal | None,
    *,
    by: str,
    if_version: int | None,
    at: datetime,
) -> OrganizationSettings:
    """Store the sensitivity (workers do not read it yet). `PreconditionFailed`, `Invalid`."""
    raise NotImplementedError


def set_name(
    connection: Connection, organization_id: UUID, name: str, *, by: str, at: datetime
) -> OrganizationSettings:
    """Rename the organization. `Invalid`."""
    raise NotImplementedError


def set_cap(
    connection: Connection, organization_id: UUID, mode: Mode, cap_percent: int | None, *, by: str, at: datetime
) -> OrganizationSettings:
    """Choose what happens over the cap: billing.agreements.set_cap. `BillingRefused`."""
    raise NotImplementedError


def set_billing_email(
    connection: Connection, organization_id: UUID, address: str, *, by: str, at: datetime
) -> OrganizationSettings:
    """Where e-mails about money go: billing.agreements.set_billing_email. `BillingRefused`."""
    raise NotImplementedError
