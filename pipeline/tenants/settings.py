"""Settings of an organization. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

from billing import actions, agreements, terms
from billing.tenant import tenant
from billing.terms import Mode
from pipeline.accounts import texts
from pipeline.accounts.errors import NotFound, PreconditionFailed
from pipeline.tenants.controls import tell
from pipeline.tenants.streams import check_sensitivity, thousandths
from schemas import controls

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
    with tenant(connection, organization_id):
        return _get(connection, organization_id)


def set_sensitivity(
    connection: Connection,
    organization_id: UUID,
    sensitivity: Decimal | None,
    *,
    by: str,
    if_version: int | None,
    at: datetime,
) -> OrganizationSettings:
    """Store the sensitivity, and tell workers. `PreconditionFailed`, `Invalid`."""
    check_sensitivity(sensitivity)
    with tenant(connection, organization_id):
        before = _get(connection, organization_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed(f"If-Match does not name the present version, which is {before.version}")
        done = connection.execute(
            "INSERT INTO organization_settings AS t (organization_id, version, sensitivity, changed_at, changed_by)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (organization_id) DO UPDATE SET version = excluded.version,"
            " sensitivity = excluded.sensitivity, changed_at = excluded.changed_at, changed_by = excluded.changed_by"
            " WHERE t.version = excluded.version - 1",
            (organization_id, before.version + 1, sensitivity, at, by),
        )
        if not done.rowcount:
            raise PreconditionFailed("it was changed at the same time: read it again")
        said = controls.SettingsControl(
            organization_id=organization_id, version=before.version + 1, sensitivity=thousandths(sensitivity)
        )
        tell(connection, said, at)
        _record(connection, organization_id, by, "sensitivity.set", _text(before.sensitivity), _text(sensitivity), at)
        return _get(connection, organization_id)


def set_name(
    connection: Connection, organization_id: UUID, name: str, *, by: str, at: datetime
) -> OrganizationSettings:
    """Rename the organization. `Invalid`."""
    name = texts.line(name, "name", 100)
    with tenant(connection, organization_id):
        connection.execute("UPDATE organizations SET name = %s WHERE id = %s", (name, organization_id))
        _record(connection, organization_id, by, "name.set", None, None, at)
        return _get(connection, organization_id)


def set_cap(
    connection: Connection, organization_id: UUID, mode: Mode, cap_percent: int | None, *, by: str, at: datetime
) -> OrganizationSettings:
    """Choose what happens over the cap: billing.agreements.set_cap. `BillingRefused`."""
    with tenant(connection, organization_id):
        agreements.set_cap(connection, organization_id, mode, cap_percent, by=by, at=at)
        return _get(connection, organization_id)


def set_billing_email(
    connection: Connection, organization_id: UUID, address: str, *, by: str, at: datetime
) -> OrganizationSettings:
    """Where e-mails about money go: billing.agreements.set_billing_email. `BillingRefused`."""
    address = texts.email(address)
    with tenant(connection, organization_id):
        agreements.set_billing_email(connection, organization_id, address, by=by, at=at)
        return _get(connection, organization_id)


def _get(connection: Connection, organization_id: UUID) -> OrganizationSettings:
    row = connection.execute(
        "SELECT o.name, s.sensitivity, o.billing_email, coalesce(s.version, 0) FROM organizations o"
        " LEFT JOIN organization_settings s ON s.organization_id = o.id WHERE o.id = %s",
        (organization_id,),
    ).fetchone()
    if row is None:
        raise NotFound("there is no such organization")
    caps = terms.load(connection, [organization_id]).get(organization_id, terms.NOTHING).caps
    mode, percent = (caps[-1].mode, caps[-1].cap_percent) if caps else ("soft", None)
    return OrganizationSettings(row[0], row[1], row[2], mode, percent, row[3])


def _text(sensitivity: Decimal | None) -> str | None:
    return None if sensitivity is None else f"{sensitivity:.3f}"


def _record(
    connection: Connection, organization_id: UUID, by: str, action: str, was: str | None, now: str | None, at: datetime
) -> None:
    actions.record(
        connection, organization_id, actor=by, action=action, before={"value": was}, after={"value": now}, at=at
    )
