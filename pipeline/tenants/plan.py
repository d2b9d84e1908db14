"""The organization's plan: checkout, customer portal, another plan. What Stripe refuses or does not answer becomes a refusal.

Connections are of role driftlock_api, in autocommit mode. Our tables change when Stripe says that it happened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import structlog

from billing import checkout, plans
from billing.checkout import FREE, Change, CheckoutRefused
from billing.customers import LIVE
from billing.plans import Plan
from billing.stripe_gateway import Connection as Stripe
from billing.stripe_gateway import LiveModeMismatch, StripeBusy, StripeRefused, StripeUnanswered
from billing.stripe_prices import UnknownPrice
from billing.tenant import tenant
from pipeline.accounts.errors import Conflict, Invalid, Refused
from schemas.errors import UnknownPlan

Connection = psycopg.Connection[Any]
_LOG = structlog.get_logger("pipeline.tenants")


class NotConnected(Refused):
    """This installation is not connected to Stripe: ask whoever runs it to set STRIPE_API_KEY and CONSOLE_URL."""

    status = 409


class StripeAway(Refused):
    """Stripe does not answer now: nothing was changed here, try again."""

    status = 503


@dataclass(frozen=True)
class Subscribed:
    """What is known of the organization at Stripe. `next_plan` begins at `period_end`; None: the plan goes on."""

    customer: bool
    plan: str
    subscribed: bool
    next_plan: str | None
    period_end: datetime | None


@dataclass(frozen=True)
class Continued:
    """Where a person goes on: a page of Stripe's."""

    url: str


@dataclass(frozen=True)
class Changed:
    """What became of a plan: upgrade (at once), downgrade or cancel (at the period's end), keep (what was planned is taken back)."""

    change: Change


def choices() -> tuple[Plan, ...]:
    """The newest version of every plan, the cheapest first."""
    names = {plan.plan for plan in plans.plans()}
    return tuple(sorted((plans.latest(name) for name in names), key=lambda plan: plan.monthly_cents))


def subscribed(connection: Connection, organization_id: UUID) -> Subscribed:
    """The organization's subscription."""
    found = checkout.account(connection, organization_id)
    with tenant(connection, organization_id):
        row = connection.execute(
            "SELECT CASE WHEN cancel_at_period_end THEN %s ELSE next_plan END, period_end FROM subscriptions"  # noqa: S608
            f" WHERE organization_id = %s AND {LIVE}",
            (FREE, organization_id),
        ).fetchone() or (None, None)
    return Subscribed(found.customer_id is not None, found.plan or FREE, found.subscription_id is not None, *row)


def check_out(
    connection: Connection,
    stripe: Stripe | None,
    organization_id: UUID,
    plan: str,
    *,
    console_url: str,
    key: str,
    promotion_code: str,
    by: str,
    now: datetime,
) -> Continued:
    """A checkout page of Stripe's for a paid plan. The same `key` gives the same page."""
    with _asked() as ask:
        connected = _connected(stripe, console_url)
        ask.url = checkout.start(
            connection,
            connected,
            organization_id,
            plan,
            urls=(f"{console_url}/billing?done=checkout", f"{console_url}/billing"),
            key=key,
            by=by,
            now=now,
            promotion_code=promotion_code,
        ).url
    return Continued(_secure(ask.url))


def portal(connection: Connection, stripe: Stripe | None, organization_id: UUID, *, console_url: str) -> Continued:
    """The customer portal of Stripe's: cards, invoices, cancellation."""
    with _asked() as ask:
        connected = _connected(stripe, console_url)
        ask.url = checkout.portal(connection, connected, organization_id, f"{console_url}/billing")
    return Continued(_secure(ask.url))


def change(
    connection: Connection, stripe: Stripe | None, organization_id: UUID, plan: str, *, by: str, now: datetime
) -> Changed:
    """Another plan for the subscription there is."""
    plan = _known(plan)
    with _asked():
        if stripe is None:
            raise NotConnected
        return Changed(checkout.change_plan(connection, stripe, organization_id, plan, by=by, now=now))


def _known(plan: str) -> str:
    try:
        return plans.latest(plan).plan
    except UnknownPlan as error:
        raise Invalid(str(error)) from error


def _connected(stripe: Stripe | None, console_url: str) -> Stripe:
    if stripe is None or not console_url:
        raise NotConnected
    return stripe


def _secure(url: str | None) -> str:
    if url is None or not url.startswith("https://"):
        raise StripeAway("Stripe gave no page to go on to: try again")
    return url


@dataclass
class _Asked:
    url: str | None = None


@contextmanager
def _asked() -> Iterator[_Asked]:
    """What Stripe and billing say, as refusals; Stripe's own words go to the log, without what was asked."""
    try:
        yield _Asked()
    except CheckoutRefused as error:
        raise Conflict(str(error)) from error
    except UnknownPlan as error:
        raise Invalid(str(error)) from error
    except (StripeUnanswered, StripeBusy) as error:
        _LOG.warning("Stripe does not answer", error=type(error).__name__)
        raise StripeAway from error
    except (StripeRefused, UnknownPrice, LiveModeMismatch) as error:
        _LOG.error("Stripe refused", error=type(error).__name__)
        raise Conflict("Stripe refused this: ask whoever runs this installation, it is in the log") from error
