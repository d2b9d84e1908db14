"""Streams with their warm-up."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from dashboards.console import parts, session
from dashboards.console.pages import page
from dashboards.console.session import Who
from pipeline.tenants import course, streams

routes = APIRouter()
CALIBRATED_FROM = 1_000
SHOWN_FROM = 50


@routes.get("/streams")
def listed(
    request: Request, who: Annotated[Who, Depends(session.allowed("streams:read"))], cursor: str | None = None
) -> HTMLResponse:
    """A page of streams by name."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        found = streams.list_streams(connection, who.organization_id, cursor=cursor)
        opened = course.opened(connection, who.organization_id, ours.clock().date())
    return page(
        request, "streams.html", found=found, opened=opened, calibrated_from=CALIBRATED_FROM, shown_from=SHOWN_FROM
    )
