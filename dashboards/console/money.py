"""Usage and billing: what was used, what it costs, and what is to come."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from billing.preview import worst_cents
from dashboards.console import parts, session
from dashboards.console.pages import page
from dashboards.console.session import Who
from pipeline.tenants import usage
from schemas.errors import UnknownOrganization

routes = APIRouter()


@routes.get("/usage")
def used(request: Request, who: Annotated[Who, Depends(session.allowed("usage:read"))]) -> HTMLResponse:
    """The present period, day by day, with its alerts and the forecast."""
    ours = parts.of(request)
    now = ours.clock()
    try:
        with ours.pools.tenants.connection() as connection:
            found = usage.usage(connection, who.organization_id, now)
            alerts = usage.alerts(connection, who.organization_id, now)
    except UnknownOrganization:
        return page(request, "usage.html", u=None, alerts=[], most=0, now=now)
    most = max((d.billable + d.capped + d.free_withheld for d in found.days), default=0)
    return page(request, "usage.html", u=found, alerts=alerts, most=most, now=now)


@routes.get("/billing")
def billed(request: Request, who: Annotated[Who, Depends(session.allowed("billing:read"))]) -> HTMLResponse:
    """Plan, cap, the invoice as it stands, cost of an anomaly, invoices."""
    ours = parts.of(request)
    try:
        with ours.pools.tenants.connection() as connection:
            preview = usage.preview(connection, who.organization_id, ours.clock())
            invoices = usage.invoices(connection, who.organization_id)
    except UnknownOrganization:
        return page(request, "billing.html", b=None, invoices=[], worst=None)
    return page(request, "billing.html", b=preview, invoices=invoices, worst=worst_cents(preview.terms))
