"""Streams with their warm-up; the page of one, with its own settings."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from dashboards.console import parts, security, session
from dashboards.console.pages import page
from dashboards.console.problems import Problem
from dashboards.console.security import text
from dashboards.console.session import Who
from pipeline.tenants import course, streams
from pipeline.tenants.streams import StreamSettings

routes = APIRouter()
SHOWN_FROM = 50
Reader = Annotated[Who, Depends(session.allowed("streams:read"))]
Writer = Annotated[Who, Depends(session.allowed("streams:write"))]
Form = Annotated[FormData, Depends(security.form)]


@routes.get("/streams")
def listed(request: Request, who: Reader, cursor: str | None = None) -> HTMLResponse:
    """A page of streams by name."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        found = streams.list_streams(connection, who.organization_id, cursor=cursor)
        opened = course.opened(connection, who.organization_id, ours.clock().date())
    return page(
        request,
        "streams.html",
        found=found,
        opened=opened,
        calibrated_from=streams.CALIBRATED_FROM,
        shown_from=SHOWN_FROM,
        now=ours.clock(),
    )


@routes.get("/stream")
def one(request: Request, who: Reader, name: str) -> HTMLResponse:
    """One stream: what is known of it, and its own settings. Its name is a parameter, because it may hold slashes."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        found = streams.get_stream(connection, who.organization_id, name)
    return page(
        request,
        "stream.html",
        s=found,
        calibrated_from=streams.CALIBRATED_FROM,
        may_write=who.may("streams:write"),
        now=ours.clock(),
    )


@routes.post("/stream")
def save(request: Request, who: Writer, fields: Form) -> Response:
    """Save a stream's own settings."""
    ours, name = parts.of(request), text(fields, "name", 128)
    try:
        version = int(text(fields, "version", 12))
        percent = text(fields, "percent", 8)
        sensitivity = Decimal(percent) / 100 if percent else None
        until = text(fields, "maintenance_until", 32)
        maintenance = datetime.fromisoformat(until).replace(tzinfo=UTC) if until else None
    except (InvalidOperation, ValueError) as error:
        raise Problem(400, "Those settings do not fit.", "Sensitivity is a percentage, maintenance a time.") from error
    with ours.pools.tenants.connection() as connection:
        before = streams.get_stream(connection, who.organization_id, name)
        wanted = StreamSettings(
            sensitivity,
            before.settings.entity_field,
            paused=bool(text(fields, "paused", 8)),
            maintenance_until=maintenance,
            muted=bool(text(fields, "muted", 8)),
        )
        streams.set_stream(
            connection,
            who.organization_id,
            name,
            wanted,
            by=who.principal.actor,
            if_version=version,
            at=ours.clock(),
        )
    return RedirectResponse(f"/stream?{urlencode({'name': name, 'saved': 'settings'})}", 303)


@routes.post("/stream/delete")
def delete(request: Request, who: Writer, fields: Form) -> Response:
    """Forget a stream."""
    ours, name = parts.of(request), text(fields, "name", 128)
    with ours.pools.tenants.connection() as connection:
        streams.delete_stream(connection, who.organization_id, name, by=who.principal.actor, at=ours.clock())
    return RedirectResponse("/streams", 303)


@routes.post("/stream/anchor")
def anchor(request: Request, who: Writer, fields: Form) -> Response:
    """Let a stream's present become its anchor."""
    ours, name = parts.of(request), text(fields, "name", 128)
    with ours.pools.tenants.connection() as connection:
        streams.reset_anchor(connection, who.organization_id, name, by=who.principal.actor, at=ours.clock())
    return RedirectResponse(f"/stream?{urlencode({'name': name, 'saved': 'anchor'})}", 303)
