"""Anomalies: lists, one, its status, the live stream, the export."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, Field

from pipeline.accounts.errors import Invalid
from pipeline.accounts.roles import Principal
from pipeline.api import live as streams
from pipeline.api.problems import Answered
from pipeline.api.routes_accounts import Body
from pipeline.api.serving import Served, allowed
from pipeline.tenants import anomalies, export, live
from pipeline.tenants.anomalies import Filter, Found, Page, Status
from schemas.models import Severity

router = APIRouter(tags=["anomalies"])
Reads = Annotated[Principal, Depends(allowed("anomalies:read"))]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class SetStatus(Body):
    """A status, with what there is to say about it."""

    status: Status
    note: Annotated[str, Field(max_length=1_000)] = ""


def wanted(
    since: Annotated[AwareDatetime | None, Query(description="from this time on")] = None,
    until: Annotated[AwareDatetime | None, Query(description="before this time")] = None,
    severity: Annotated[list[Severity], Query(max_length=4)] = [],  # noqa: B006 - FastAPI copies it
    status: Annotated[list[Status], Query(max_length=4)] = [],  # noqa: B006
    stream: Annotated[list[Name], Query(max_length=50)] = [],  # noqa: B006
    kind: Annotated[list[Name], Query(max_length=20)] = [],  # noqa: B006
    text: Annotated[str, Query(max_length=200, description="in the sentence or the event, whatever the case")] = "",
) -> Filter:
    """The filter of a query."""
    for time in (since, until):
        _require_year(time)
    return Filter(since, until, tuple(severity), tuple(status), tuple(stream), tuple(kind), text)


def _require_year(time: datetime | None) -> None:
    if time is not None and not 1900 <= time.year <= 2200:
        raise Invalid("since and until must lie between the years 1900 and 2200")


Wanted = Annotated[Filter, Depends(wanted)]


@router.get("/v1/anomalies")
def get_anomalies(
    served: Served,
    principal: Reads,
    filtered: Wanted,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=anomalies.MOST_A_PAGE)] = 50,
) -> Page:
    """Anomalies, the newest first. `next_cursor` begins the next page, null at the end; new anomalies move no later page.

    With a filter that few fit a page may hold few, even none, and yet not be the last: follow `next_cursor`.
    """
    with served.tenants() as connection:
        return anomalies.list_anomalies(connection, principal.organization_id, filtered, cursor=cursor, limit=limit)


@router.get(
    "/v1/anomalies/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def get_stream(
    served: Served,
    principal: Reads,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> StreamingResponse:
    """New and changed anomalies as server-sent events; with Last-Event-ID from where the stream ended."""
    if served.feed.open >= streams.MOST_STREAMS:
        raise Answered(503, "too many streams are open here", {"Retry-After": "10"})

    def read(place: str) -> list[streams.Told]:
        with served.tenants() as connection:
            found = live.after(connection, principal.organization_id, place, streams.A_READ)
        return [streams.told(one) for one in found]

    def present() -> str:
        with served.tenants() as connection:
            return live.present(connection, principal.organization_id)

    def check() -> None:
        served.again(principal).require("anomalies:read")

    async def may_still() -> None:
        if not served.checked_now(principal):
            await served.feed.checks.get(principal, lambda: asyncio.to_thread(check))

    if last_event_id:
        place = last_event_id
        await asyncio.to_thread(read, place)  # a wrong one is a 422, not a broken stream
    else:
        place = await served.feed.present(principal.organization_id, lambda: asyncio.to_thread(present))
    made = streams.stream(
        served.feed, principal.organization_id, place, lambda after: asyncio.to_thread(read, after), may_still
    )
    return StreamingResponse(
        made, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


@router.get("/v1/anomalies/{anomaly_id}")
def get_anomaly(served: Served, principal: Reads, response: Response, anomaly_id: UUID) -> Found:
    """One anomaly with its explanation and the history of its status. ETag names the status."""
    with served.tenants() as connection:
        found = anomalies.get_anomaly(connection, principal.organization_id, anomaly_id)
    response.headers["ETag"] = found.etag
    response.headers["Cache-Control"] = "no-store"
    return found


@router.put("/v1/anomalies/{anomaly_id}")
def put_anomaly(
    served: Served,
    principal: Annotated[Principal, Depends(allowed("anomalies:write"))],
    response: Response,
    anomaly_id: UUID,
    body: SetStatus,
    if_match: Annotated[str | None, Header(max_length=200)] = None,
) -> anomalies.Set:
    """Set the status; false_positive credits the bill once, within the limit. With If-Match only where nobody was quicker."""
    with served.tenants() as connection:
        done = anomalies.set_status(
            connection,
            principal.organization_id,
            anomaly_id,
            body.status,
            by=principal.actor,
            note=body.note,
            if_match=if_match,
            at=served.now(),
            credit_limit_percent=served.credit_limit_percent,
        )
    response.headers["ETag"] = done.anomaly.etag
    return done


@router.get(
    "/v1/export/anomalies",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}},
            }
        }
    },
)
def get_export(
    served: Served, principal: Reads, filtered: Wanted, form: Annotated[Literal["ndjson", "csv"], Query()] = "ndjson"
) -> StreamingResponse:
    """All anomalies of a filter as a file, the newest first."""

    def page(cursor: str | None, limit: int) -> Page:
        with served.tenants() as connection:
            return anomalies.list_anomalies(connection, principal.organization_id, filtered, cursor=cursor, limit=limit)

    def whole() -> Iterator[bytes]:
        yield from export.anomalies(page, form)

    kind = "text/csv; charset=utf-8" if form == "csv" else "application/x-ndjson"
    headers = {"Content-Disposition": f'attachment; filename="anomalies.{form}"', "Cache-Control": "no-store"}
    page(None, 1)  # what is wrong with the filter is said before the file begins
    return StreamingResponse(whole(), media_type=kind, headers=headers)
