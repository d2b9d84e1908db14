"""What is agreed with a tenant: an operator's overrides of a plan, the tenant's own cap, where e-mails about money go.

Each is a new version, written under the lock of the organization's books, with its action. Nothing is changed in place.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

from billing import actions, ledger, plans, terms
from billing.actions import State
from billing.periods import milliseconds
from billing.terms import Mode
from schemas.errors import BillingRefused, UnknownOrganization

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Wanted:
    """What an override says, whole: None is "as the plan says". Money in cents."""

    included: int | None = None
    overage_cents: Decimal | None = None
    cap_percent: int | None = None
    requests_per_minute: int | None = None
    streams: int | None = None
    retention_days: int | None = None


_LEAST = {"included": 0, "cap_percent": 100, "requests_per_minute": 1, "streams": 1, "retention_days": 1}
_MOST_CAP_PERCENT = 100_000
_MOST = 1_000_000_000_000
_MOST_OF_A_LIMIT = 1_000_000_000
_PLACES = 12
"""Of a rate in cents: Stripe's, and the column's."""


def set_override(
    connection: Connection, organization_id: UUID, plan: str, wanted: Wanted, *, by: str, reason: str, at: datetime
) -> int:
    """Agree on `wanted` for a tenant's periods of `plan`; its version. An empty `Wanted` withdraws what was agreed.

    Included units and the overage rate hold from the first period that starts at or after `at`, the rest at once.
    `UnknownPlan`, `UnknownOrganization`, `BillingRefused` where a value makes no sense.
    """
    base = plans.latest(plan)
    for name, least in _LEAST.items():
        value = getattr(wanted, name)
        if value is not None and value < least:
            raise BillingRefused(f"{name} must be {least} or more, not {value}")
        most = _MOST if name == "included" else _MOST_CAP_PERCENT if name == "cap_percent" else _MOST_OF_A_LIMIT
        if value is not None and value > most:
            raise BillingRefused(f"{name} must be at most {most}, not {value}")
    rate = wanted.overage_cents
    if rate is not None and not (rate.is_finite() and 0 < rate < 1_000_000):
        raise BillingRefused(f"overage_cents must be over 0 and below 1000000, not {rate}")
    if rate is not None and rate != round(rate, _PLACES):
        raise BillingRefused(f"overage_cents has at most {_PLACES} places, not those of {rate}")
    if not by.strip() or not reason.strip():
        raise BillingRefused("an override says who agreed on it, and why")
    if wanted.overage_cents is not None and base.overage_cents is None:
        raise BillingRefused(f"plan {plan} bills no unit over the included ones: it takes no overage rate")
    with connection.transaction():
        before = _agreed(connection, organization_id)
        version = len(before.overrides) + 1
        _require_order(at, [o.set_at for o in before.overrides])
        connection.execute(
            "INSERT INTO plan_overrides (organization_id, version, plan, included, overage_cents, cap_percent,"
            " requests_per_minute, streams, retention_days, set_at, set_by, reason)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (organization_id, version, plan, *asdict(wanted).values(), _whole(at), by, reason),
        )
        was = next((o for o in reversed(before.overrides) if o.plan == plan), None)
        actions.record(
            connection,
            organization_id,
            actor=by,
            action="override.set",
            before=None if was is None else _state(asdict(was)),
            after=_state({"version": version, "plan": plan, **asdict(wanted), "reason": reason}),
            at=at,
        )
    return version


def set_cap(
    connection: Connection, organization_id: UUID, mode: Mode, cap_percent: int | None, *, by: str, at: datetime
) -> int:
    """Choose what happens over the cap, and its height in percent of the included units; the setting's version.

    For units that arrive from now on: what was capped stays so. `BillingRefused` outside 100 to 100,000 %.
    """
    if mode not in {"soft", "block", "allow"}:
        raise BillingRefused(f"a cap's mode is soft, block or allow, not {mode}")
    if cap_percent is not None and not 100 <= cap_percent <= _MOST_CAP_PERCENT:
        raise BillingRefused(f"a cap is 100 to {_MOST_CAP_PERCENT} percent of the included units, not {cap_percent}")
    with connection.transaction():
        before = _agreed(connection, organization_id)
        version = len(before.caps) + 1
        _require_order(at, [c.set_at for c in before.caps])
        connection.execute(
            "INSERT INTO cap_settings (organization_id, version, mode, cap_percent, set_at, set_by)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (organization_id, version, mode, cap_percent, _whole(at), by),
        )
        actions.record(
            connection,
            organization_id,
            actor=by,
            action="cap.set",
            before=_state(asdict(before.caps[-1])) if before.caps else None,
            after={"version": version, "mode": mode, "cap_percent": cap_percent},
            at=at,
        )
    return version


def set_billing_email(connection: Connection, organization_id: UUID, address: str, *, by: str, at: datetime) -> None:
    """Where e-mails about usage and money go from now on. `BillingRefused` if it is no address."""
    with connection.transaction():
        found = connection.execute(
            "SELECT billing_email FROM organizations WHERE id = %s", (organization_id,)
        ).fetchone()
        if found is None:
            raise UnknownOrganization(f"there is no organization {organization_id}")
        try:
            connection.execute("UPDATE organizations SET billing_email = %s WHERE id = %s", (address, organization_id))
        except psycopg.errors.CheckViolation as error:
            raise BillingRefused("that is no e-mail address") from error
        actions.record(
            connection,
            organization_id,
            actor=by,
            action="billing_email.set",
            before={"set": found[0] is not None},  # an address is personal: the log says that it changed, not to what
            after={"set": True},
            at=at,
        )


def _agreed(connection: Connection, organization_id: UUID) -> terms.Agreed:
    """What is agreed with an organization, its books locked."""
    if connection.execute("SELECT 1 FROM organizations WHERE id = %s", (organization_id,)).fetchone() is None:
        raise UnknownOrganization(f"there is no organization {organization_id}")
    ledger.lock(connection, [organization_id])
    return terms.load(connection, [organization_id]).get(organization_id, terms.NOTHING)


def _require_order(at: datetime, earlier: list[int]) -> None:
    if earlier and milliseconds(at) < earlier[-1]:
        raise BillingRefused("the version before is from a later time: is this machine's clock right?")


def _whole(at: datetime) -> datetime:
    """To the millisecond, as it is compared."""
    return at.replace(microsecond=at.microsecond // 1_000 * 1_000)


def _state(values: dict[str, Any]) -> State:
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in values.items()}
