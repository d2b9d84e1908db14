"""Where a tenant stands in its period: what is used, what is left, whether intake is blocked, and its limits."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing import plans, rollup, terms
from billing.alerts import forecast
from billing.periods import instant, milliseconds
from billing.preview import period_of
from billing.rollup import Use
from billing.terms import Terms

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Quota:
    """A period's use against its terms. `full_at`: when the included units will be used, None if not in this period."""

    period_start: datetime
    period_end: datetime
    terms: Terms
    use: Use
    full_at: datetime | None

    @property
    def over_cap(self) -> bool:
        """Whether units are counted now and not billed (a free plan: not shown)."""
        return self.terms.cap is not None and self.use.delivered >= self.terms.cap

    @property
    def blocked(self) -> bool:
        """Whether intake by HTTP is to answer 429. What comes by Kafka is scored all the same."""
        return self.terms.mode == "block" and self.over_cap


def quota(connection: Connection, organization_id: UUID, at: datetime) -> Quota:
    """Where an organization stands at `at`. `UnknownOrganization` without a period then; reads only."""
    period = period_of(connection, organization_id, at)
    now = milliseconds(at)
    plan = plans.of_version(connection, period.plan, period.plan_version)
    agreed = terms.load(connection, [organization_id]).get(organization_id, terms.NOTHING)
    applied = terms.terms(plan, agreed, period.starts_at, now)
    key = (organization_id, period.starts_at)
    use = rollup.use_of(connection, [key]).get(key, Use())
    full = forecast(
        rollup.days_of(connection, *key),
        used=use.used,
        included=applied.included,
        period_start=period.starts_at,
        period_end=period.ends_at,
        at=now,
    )
    return Quota(
        instant(period.starts_at), instant(period.ends_at), applied, use, None if full is None else instant(full)
    )
