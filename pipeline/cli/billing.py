"""`driftlock billing ...`: what an operator agrees with tenants, takes off bills, and rolls on."""

import os
import sys
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Literal
from uuid import UUID

from pipeline import jobs
from schemas.errors import BillingRefused
from schemas.settings import load


def override(
    organization: UUID,
    plan: str,
    *,
    by: str,
    reason: str,
    included: int | None = None,
    overage_cents: str | None = None,
    cap_percent: int | None = None,
    requests_per_minute: int | None = None,
    streams: int | None = None,
    retention_days: int | None = None,
) -> None:
    """Agree with one organization on something else than its plan says; nothing given withdraws what was agreed.

    Included units and the overage rate hold from its next period on, the rest at once. What is not given is as the plan says.

    Parameters
    ----------
    organization
        Its id.
    plan
        The plan that this is for.
    by
        Who does this: kept in the audit trail.
    reason
        Why: kept in the audit trail.
    included
        Units that the month contains.
    overage_cents
        Cents for each unit over them, such as 0.08.
    cap_percent
        Height of the cap in percent of the included units.
    requests_per_minute
        Requests a minute to the API.
    streams
        Streams that are scored apart.
    retention_days
        Days for which anomalies are kept.
    """
    from billing.agreements import Wanted, set_override

    try:
        rate = None if overage_cents is None else Decimal(overage_cents)
    except InvalidOperation as error:
        raise BillingRefused(f"--overage-cents must be a number such as 0.08, not {overage_cents}") from error
    if rate is not None and not rate.is_finite():
        raise BillingRefused(f"--overage-cents must be a number such as 0.08, not {overage_cents}")
    wanted = Wanted(included, rate, cap_percent, requests_per_minute, streams, retention_days)
    with jobs.connect(load(os.environ)) as connection:
        version = set_override(connection, organization, plan, wanted, by=by, reason=reason, at=jobs.present())
    sys.stdout.write(f"override {version} of organization {organization} for plan {plan}\n")


def cap(organization: UUID, mode: Literal["soft", "block", "allow"], *, by: str, percent: int | None = None) -> None:
    """Choose what happens over an organization's cap, from now on; what was capped before stays unbilled.

    Parameters
    ----------
    organization
        Its id.
    mode
        soft: detect on, bill no more. block: and refuse intake over HTTP. allow: bill on.
    by
        Who does this: kept in the audit trail.
    percent
        Height of the cap in percent of the included units; else as the plan says.
    """
    from billing.agreements import set_cap

    with jobs.connect(load(os.environ)) as connection:
        version = set_cap(connection, organization, mode, percent, by=by, at=jobs.present())
    sys.stdout.write(f"cap setting {version} of organization {organization}: {mode}\n")


def email(organization: UUID, address: str, *, by: str) -> None:
    """Set where an organization's e-mails about usage and money go.

    Parameters
    ----------
    organization
        Its id.
    address
        One e-mail address.
    by
        Who does this: kept in the audit trail.
    """
    from billing.agreements import set_billing_email

    with jobs.connect(load(os.environ)) as connection:
        set_billing_email(connection, organization, address, by=by, at=jobs.present())
    sys.stdout.write(f"e-mails of organization {organization} go to the new address\n")


def credit(organization: UUID, anomaly: UUID, *, by: str, note: str = "", at: datetime | None = None) -> int:
    """Mark an anomaly as a false positive and credit its unit. Exit code 1 if nothing is credited, with why.

    Parameters
    ----------
    organization
        Its id.
    anomaly
        The anomaly's id.
    by
        Who does this: kept in the audit trail.
    note
        What to remember about the mark.
    at
        Take this for the present (UTC), for recorded data.
    """
    from billing.credits import credit_false_positive, mark_false_positive

    settings, now = load(os.environ), jobs.present(at)
    with jobs.connect(settings) as connection:
        mark_false_positive(connection, organization, anomaly, by=by, note=note, at=now)
        done = credit_false_positive(
            connection, organization, anomaly, by=by, at=now, limit_percent=settings.credit_limit_percent
        )
    said = {
        "credited": "credited 1 unit in its hour",
        "credit_note": f"credited 1 unit: a credit note of {done.cents} cents, because its period is closed",
        "known": "it was credited before",
        "limit": f"not credited: credits are limited to {settings.credit_limit_percent} % of a period's billable units",
        "not_billed": "not credited: no billable unit stands for it",
    }
    sys.stdout.write(f"anomaly {anomaly}: {said[done.outcome]}\n")
    return 1 if done.outcome in {"limit", "not_billed"} else 0


def waive(organization: UUID, usage: UUID, *, by: str, reason: str, at: datetime | None = None) -> int:
    """Take all billable units of a usage record off the bill. Exit code 1 if it has none.

    Parameters
    ----------
    organization
        Its id.
    usage
        The usage record's id: that of its anomaly.
    by
        Who does this: kept in the audit trail.
    reason
        Why: kept in the ledger and in the audit trail.
    at
        Take this for the present (UTC), for recorded data.
    """
    from billing.credits import waive as waive_units

    with jobs.connect(load(os.environ)) as connection:
        done = waive_units(connection, organization, usage, by=by, reason=reason, at=jobs.present(at))
    return _say(usage, "waived", done.outcome, done.units, done.cents)


def correct(
    organization: UUID, usage: UUID, units: int, *, reference: str, by: str, reason: str, at: datetime | None = None
) -> int:
    """Take some units of a usage record off the bill, once for a reference. Exit code 1 if it has none.

    Parameters
    ----------
    organization
        Its id.
    usage
        The usage record's id: that of its anomaly.
    units
        How many.
    reference
        What this is about, such as a ticket: the same one is done once.
    by
        Who does this: kept in the audit trail.
    reason
        Why: kept in the ledger and in the audit trail.
    at
        Take this for the present (UTC), for recorded data.
    """
    from billing.credits import correct as correct_units

    with jobs.connect(load(os.environ)) as connection:
        done = correct_units(
            connection,
            organization,
            usage,
            units,
            reference=reference,
            by=by,
            reason=reason,
            at=jobs.present(at),
        )
    return _say(usage, "corrected", done.outcome, done.units, done.cents)


def _say(usage: UUID, verb: str, outcome: str, units: int, cents: int) -> int:
    if outcome == "not_billed":
        sys.stdout.write(f"usage {usage}: no billable unit stands for it\n")
        return 1
    note = f", a credit note of {cents} cents" if outcome == "credit_note" else ""
    sys.stdout.write(f"usage {usage}: {'done before' if outcome == 'known' else f'{verb} {units} units{note}'}\n")
    return 0


def roll_periods(*, at: datetime | None = None) -> None:
    """Make the billing periods that have begun, for every organization that lacks its present one. Run it every hour.

    Parameters
    ----------
    at
        Take this for the present (UTC), for recorded data.
    """
    from billing.changes import roll_periods as roll

    with jobs.connect(load(os.environ)) as connection:
        rolled = roll(connection, jobs.present(at))
    sys.stdout.write(f"organizations with new periods: {rolled}\n")
