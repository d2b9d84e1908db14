"""Usage with its alerts and forecast; billing: the invoice as it stands, past ones, what anomalies cost, the plan."""

from datetime import timedelta
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from billing.preview import worst_cents
from dashboards.console import parts, security, session
from dashboards.console.pages import page
from dashboards.console.security import text
from dashboards.console.session import Who
from pipeline.tenants import plan, usage
from schemas.errors import UnknownOrganization

routes = APIRouter()
FORECAST_AFTER = timedelta(days=1)
"""A rate that is known for minutes says nothing about a month."""
Form = Annotated[FormData, Depends(security.form)]
Paying = Annotated[Who, Depends(session.allowed("billing:write"))]


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
    young = now - found.quota.period_start < FORECAST_AFTER
    return page(request, "usage.html", u=found, alerts=alerts, most=most, now=now, young=young)


@routes.get("/billing")
def billed(
    request: Request, who: Annotated[Who, Depends(session.allowed("billing:read"))], done: str = ""
) -> HTMLResponse:
    """Plan, cap, the invoice as it stands, cost of an anomaly, invoices. `done`: what was just asked for."""
    ours = parts.of(request)
    try:
        with ours.pools.tenants.connection() as connection:
            preview = usage.preview(connection, who.organization_id, ours.clock())
            invoices = usage.invoices(connection, who.organization_id)
            subscribed = plan.subscribed(connection, who.organization_id)
    except UnknownOrganization:
        return page(request, "billing.html", b=None)
    return page(
        request,
        "billing.html",
        b=preview,
        invoices=invoices,
        worst=worst_cents(preview.terms),
        s=subscribed,
        plans=plan.choices(),
        connected=ours.stripe is not None and bool(ours.settings.console_url),
        may_write=who.may("billing:write"),
        done=done,
        order=uuid4(),
    )


@routes.post("/billing/checkout")
def check_out(request: Request, who: Paying, fields: Form) -> Response:
    """The way to Stripe's checkout. The form's `order` makes a form that is sent twice one order."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        continued = plan.check_out(
            connection,
            ours.stripe,
            who.organization_id,
            text(fields, "plan", 40),
            console_url=ours.settings.console_url.rstrip("/"),
            key=text(fields, "order", 64) or str(uuid4()),
            promotion_code="",
            by=who.principal.actor,
            now=ours.clock(),
        )
    return page(request, "stripe.html", url=continued.url, what="order the plan")


@routes.post("/billing/portal", dependencies=[Depends(security.form)])
def portal(request: Request, who: Paying) -> Response:
    """The way to Stripe's customer portal."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        continued = plan.portal(
            connection, ours.stripe, who.organization_id, console_url=ours.settings.console_url.rstrip("/")
        )
    return page(request, "stripe.html", url=continued.url, what="change cards and see invoices")


@routes.post("/billing/plan")
def change(request: Request, who: Paying, fields: Form) -> Response:
    """Another plan, or the end of it."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        changed = plan.change(
            connection,
            ours.stripe,
            who.organization_id,
            text(fields, "plan", 40),
            by=who.principal.actor,
            now=ours.clock(),
        )
    return RedirectResponse(f"/billing?done={changed.change}", 303)
