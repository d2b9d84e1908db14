"""`driftlock usage report`, `driftlock invoice preview`, `driftlock invoice episodes`: what was used, and what it costs."""

import os
import sys
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from billing import preview as previews
from billing import quota as quotas
from billing import report as reports
from billing.preview import LineName, Preview
from billing.quota import Quota
from pipeline import export, jobs
from pipeline.export import Format, dollars
from schemas.settings import load

_DAY_COLUMNS = tuple(reports.Day.__dataclass_fields__)
_EPISODE_COLUMNS = tuple(previews.Episode.__dataclass_fields__)


def report(organization: UUID, *, at: datetime | None = None, form: Format = "table") -> None:
    """What an organization used in a billing period, day by day, and where it stands. Exit code 2 without such a period.

    Parameters
    ----------
    organization
        Its id.
    at
        The period that contains this (UTC); else the present one.
    form
        table, csv (the days) or json.
    """
    with jobs.connect(load(os.environ)) as connection:
        when = jobs.present(at)
        stands = quotas.quota(connection, organization, when)
        days = [asdict(day) for day in reports.days(connection, organization, stands.period_start)]
        late = reports.late_units(connection, organization, stands.period_start)
    summary = _summary(stands, late)
    if form == "json":
        export.as_json({"organization_id": organization, **summary, "days": days})
        return
    export.rows(days, _DAY_COLUMNS, form)
    if form == "table":
        sys.stdout.write(
            "\n" + "".join(f"{name.replace('_', ' ')}: {export.plain(v)}\n" for name, v in summary.items())
        )


def _summary(stands: Quota, late: int) -> dict[str, Any]:
    return {
        "plan": stands.terms.plan,
        "period_start": stands.period_start,
        "period_end": stands.period_end,
        "used": stands.use.used,
        "on_the_bill": stands.use.net,
        "included": stands.terms.included,
        "cap": stands.terms.cap,
        "cap_mode": stands.terms.mode,
        "over_the_cap": stands.use.over,
        "late": late,
        "requests_per_minute": stands.terms.requests_per_minute,
        "streams": stands.terms.streams,
        "retention_days": stands.terms.retention_days,
        "included_used_on": None if stands.full_at is None else stands.full_at.date(),
    }


def preview(organization: UUID, *, at: datetime | None = None, form: Format = "table") -> None:
    """The invoice of a billing period as it stands: its lines, what an anomaly costs, and the worst bill at the cap.

    Parameters
    ----------
    organization
        Its id.
    at
        The period that contains this (UTC); else the present one.
    form
        table, csv (the lines) or json.
    """
    with jobs.connect(load(os.environ)) as connection:
        found = previews.preview(connection, organization, jobs.present(at))
    if form == "json":
        export.as_json(_shown(found))
        return
    lines = [asdict(line) for line in found.lines]
    export.rows(lines, ("name", "text", "quantity", "unit_cents", "cents"), form)
    if form == "table":
        sys.stdout.write(_figures(found))


def _shown(found: Preview) -> dict[str, Any]:
    return {
        "organization_id": found.organization_id,
        "plan": found.terms.plan,
        "plan_version": found.terms.plan_version,
        "period_start": found.period_start,
        "period_end": found.period_end,
        "units": asdict(found.units) | {"on_the_bill": found.units.net},
        "lines": [asdict(line) for line in found.lines],
        "total_cents": found.total_cents,
        "effective_cents": found.effective_cents,
        "marginal_cents": found.marginal_cents,
        "worst_cents": found.worst_cents,
    }


def _figures(found: Preview) -> str:
    total, net = dollars(found.total_cents), found.units.net
    effective = "-" if found.effective_cents is None else f"{export.plain(found.effective_cents)} cents"
    marginal = "-" if found.marginal_cents is None else f"{export.plain(found.marginal_cents)} cents"
    worst = "none: the cap is off" if found.worst_cents is None else dollars(found.worst_cents)
    return (
        f"\ntotal {total}: {found.terms.plan}, {found.period_start:%Y-%m-%d %H:%M}Z to {found.period_end:%Y-%m-%d %H:%M}Z\n"
        f"an anomaly costs {effective} (bill / units on the bill = {total} / {net:,});"
        f" the next one over the included {marginal}\n"
        f"worst bill at the cap: {worst}\n"
    )


def episodes(organization: UUID, line: LineName, *, at: datetime | None = None, form: Format = "table") -> None:
    """The episodes behind a line of the invoice, one row an entry of the ledger.

    Parameters
    ----------
    organization
        Its id.
    line
        flat or included: within the included units; overage: over them; adjusted: credits, waivers, corrections;
        not_billed: capped, withheld, delivered free, in warm-up, scored again.
    at
        The period that contains this (UTC); else the present one.
    form
        table, csv or json (an object a line).
    """
    with jobs.connect(load(os.environ)) as connection:
        period = previews.preview(connection, organization, jobs.present(at))
        found = previews.episodes(connection, organization, period.period_start, line)
        export.rows((asdict(episode) for episode in found), _EPISODE_COLUMNS, form)
