"""What a number of units costs: on an organization's own terms, on a plan, or on each plan there is."""

from datetime import datetime
from uuid import UUID

import psycopg

from billing import plans, preview
from billing.price import Rates, price
from pipeline import jobs
from schemas.settings import Settings


def rates(settings: Settings, organization: UUID | None, plan: str, at: datetime) -> dict[str, Rates]:
    """Rates by the name of their plan. `plan` names one; else an organization's own, where DATABASE_URL_JOBS is set; else every plan's."""
    if plan:
        return {plan: plans.latest(plan)}
    if organization is not None and settings.database_url_jobs.get_secret_value():
        with jobs.connect(settings) as connection:
            return _own(connection, organization, at)
    return {name: plans.latest(name) for name in dict.fromkeys(p.plan for p in plans.plans())}


def _own(connection: psycopg.Connection[tuple[object, ...]], organization: UUID, at: datetime) -> dict[str, Rates]:
    terms = preview.preview(connection, organization, at).terms
    return {terms.plan: terms}


def cents(of: Rates, units: int) -> int:
    """The bill of a period with so many units, up to the cap."""
    return price(of, units).total_cents
