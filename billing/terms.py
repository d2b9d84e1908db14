"""The terms in force: a plan version, what an operator agreed on top of it (overrides), and what the tenant chose (cap).

Both are versions that are only added. The price (included units, overage rate) is that of the newest override when the
period started, so a price never changes within a period. The cap is that of the newest versions at a given instant, for a
usage record that of its arrival, so a raised cap is never retroactive. Limits are the newest ones.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import psycopg

from billing.periods import milliseconds
from billing.plans import Plan

Connection = psycopg.Connection[Any]
Mode = Literal["soft", "block", "allow"]


@dataclass(frozen=True, slots=True)
class Override:
    """What an operator agreed with a tenant for a plan; None: as the plan says. `set_at` in ms."""

    version: int
    plan: str
    included: int | None
    overage_cents: Decimal | None
    requests_per_minute: int | None
    streams: int | None
    retention_days: int | None
    cap_percent: int | None
    set_at: int


@dataclass(frozen=True, slots=True)
class CapSetting:
    """What a tenant chose for units over the cap; `cap_percent` None: that of its terms. `set_at` in ms."""

    version: int
    mode: Mode
    cap_percent: int | None
    set_at: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """An organization's overrides and cap settings, each by version."""

    overrides: tuple[Override, ...] = ()
    caps: tuple[CapSetting, ...] = ()


NOTHING = Agreed()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a tenant's period costs and allows. Money in cents."""

    plan: str
    plan_version: int
    monthly_cents: Decimal
    included: int
    overage_cents: Decimal | None
    cap_percent: int
    mode: Mode
    requests_per_minute: int
    streams: int
    retention_days: int

    @property
    def metered(self) -> bool:
        """Whether units over the included ones cost anything."""
        return self.overage_cents is not None

    @property
    def cap(self) -> int | None:
        """Units from which on nothing more is billed (a free plan: shown); None where all are billed."""
        if self.mode == "allow" and self.metered:
            return None
        return self.included * self.cap_percent // 100


def load(connection: Connection, organization_ids: Iterable[UUID]) -> Mapping[UUID, Agreed]:
    """What was agreed with some organizations; one without anything may be missing."""
    overrides: dict[UUID, list[Override]] = defaultdict(list)
    caps: dict[UUID, list[CapSetting]] = defaultdict(list)
    # One query: it is asked for each batch of usage.
    for organization_id, mode, *row, cap_percent, set_at in connection.execute(
        "SELECT organization_id, NULL, version, plan, included, overage_cents, requests_per_minute, streams,"
        " retention_days, cap_percent, set_at FROM plan_overrides WHERE organization_id = ANY(%(wanted)s)"
        " UNION ALL SELECT organization_id, mode, version, NULL, NULL, NULL, NULL, NULL, NULL, cap_percent, set_at"
        " FROM cap_settings WHERE organization_id = ANY(%(wanted)s) ORDER BY 1, 3",
        {"wanted": sorted(set(organization_ids))},
    ):
        if mode is None:
            overrides[organization_id].append(Override(*(*row, cap_percent, milliseconds(set_at))))
        else:
            caps[organization_id].append(CapSetting(row[0], mode, cap_percent, milliseconds(set_at)))
    return {
        organization_id: Agreed(tuple(overrides[organization_id]), tuple(caps[organization_id]))
        for organization_id in overrides.keys() | caps.keys()
    }


def terms(plan: Plan, agreed: Agreed, period_start: int, at: int) -> Terms:
    """The terms of a period of `plan` that started at `period_start`, as they stand at `at`; both in ms.

    A tenant's own cap is for plans with an overage rate: it can't raise what a free plan shows.
    """
    priced = _newest(agreed, plan.plan, period_start) or _AS_PLANNED
    other = _newest(agreed, plan.plan, at) or _AS_PLANNED
    overage = plan.overage_cents if priced.overage_cents is None else priced.overage_cents
    percent = _either(other.cap_percent, plan.cap_percent)
    chosen = next((c for c in reversed(agreed.caps) if c.set_at <= at), None)
    if chosen is not None and overage is not None:
        percent = _either(chosen.cap_percent, percent)
    return Terms(
        plan.plan,
        plan.version,
        plan.monthly_cents,
        _either(priced.included, plan.included),
        overage,
        percent,
        chosen.mode if chosen else "soft",
        _either(other.requests_per_minute, plan.requests_per_minute),
        _either(other.streams, plan.streams),
        _either(other.retention_days, plan.retention_days),
    )


_AS_PLANNED = Override(0, "", None, None, None, None, None, None, 0)


def _newest(agreed: Agreed, plan: str, at: int) -> Override | None:
    return next((o for o in reversed(agreed.overrides) if o.plan == plan and o.set_at <= at), None)


def _either(given: int | None, otherwise: int) -> int:
    return otherwise if given is None else given
