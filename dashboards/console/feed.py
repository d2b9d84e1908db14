"""The live feed of anomalies, and the page of one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, cast, get_args
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.datastructures import FormData, QueryParams

from dashboards.console import findings, parts, plots, security, session
from dashboards.console.pages import fragment, page
from dashboards.console.parts import Parts
from dashboards.console.problems import Problem
from dashboards.console.security import text
from dashboards.console.session import Known, Who
from pipeline.accounts.errors import PreconditionFailed
from pipeline.tenants import anomalies, course, live
from pipeline.tenants.anomalies import Filter, Found, Listed, Status
from schemas.models import Severity

routes = APIRouter()
PAGE = 50
BEAT_S = 15.0
SOON_S, WHILE_S = 0.2, 10.0
STREAM_S = 300.0
"""A stream ends after that, and the browser comes again: then its login is looked at again."""
SEVERITIES: tuple[Severity, ...] = tuple(reversed(get_args(Severity)))
STATUSES: tuple[Status, ...] = get_args(Status)
NAMES = {"open": "open", "acknowledged": "acknowledged", "resolved": "resolved", "false_positive": "false positive"}
Writer = Annotated[Who, Depends(session.allowed("anomalies:write"))]
Reader = Annotated[Who, Depends(session.allowed("anomalies:read"))]


def wanted(query: QueryParams) -> Filter:
    """The filter of an address; 400 for what it can't be."""
    given = {
        name: [v.strip() for v in query.getlist(name) if v.strip()][:20] for name in ("severity", "status", "stream")
    }
    if not set(given["severity"]) <= set(SEVERITIES) or not set(given["status"]) <= set(STATUSES):
        raise Problem(400, "That filter does not fit.", "Choose a severity and a status from the lists.")
    return Filter(
        since=_day(query.get("since", "")),
        until=_day(query.get("until", "")),
        severities=cast("tuple[Severity, ...]", tuple(given["severity"])),
        statuses=cast("tuple[Status, ...]", tuple(given["status"])),
        streams=tuple(given["stream"]),
        text=query.get("text", "").strip()[:200],
    )


def _day(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC) if value else None
    except ValueError as error:
        raise Problem(400, "That day does not fit.", "Give it as year-month-day.") from error


@routes.get("/anomalies")
def feed(request: Request, who: Reader, cursor: str | None = None) -> HTMLResponse:
    """A page of the feed; the first one goes on live."""
    ours, asked = parts.of(request), wanted(request.query_params)
    with ours.pools.tenants.connection() as connection:
        place = live.present(connection, who.organization_id)
        found = anomalies.list_anomalies(connection, who.organization_id, asked, cursor=cursor, limit=PAGE)
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor" and value]
    return page(
        request,
        "feed.html",
        found=found,
        looked_at=anomalies.MOST_LOOKED_AT,
        asked=asked,
        filtered=asked != Filter(),
        following=cursor is None and asked.until is None,
        stream_at="/anomalies/stream?" + urlencode([*kept, ("after", place)]),
        next_at=found.next_cursor and "/anomalies?" + urlencode([*kept, ("cursor", found.next_cursor)]),
        severities=SEVERITIES,
        statuses=STATUSES,
        names=NAMES,
        chosen={
            name: request.query_params.get(name, "")
            for name in ("severity", "status", "stream", "text", "since", "until")
        },
    )


@routes.get("/anomalies/stream")
async def stream(request: Request, after: str = "") -> Response:
    """Server-sent events `anomaly`, each a row of the feed; resumed by Last-Event-ID. 204 without a login: come no more."""
    who = await asyncio.to_thread(session.look, request)
    if who is None or not who.may("anomalies:read"):
        return Response(status_code=204)
    asked, place = wanted(request.query_params), request.headers.get("last-event-id") or after
    ours = parts.of(request)
    if not place:
        place = await asyncio.to_thread(_present, ours, who)
    return StreamingResponse(
        _news(ours, who, asked, place), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
    )


def _present(ours: Parts, who: Who) -> str:
    with ours.pools.tenants.connection() as connection:
        return live.present(connection, who.organization_id)


async def _news(ours: Parts, who: Who, asked: Filter, place: str) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    ends, told, woken = loop.time() + STREAM_S, loop.time(), 0.0
    yield "retry: 1000\n\n"
    with ours.hub.waiting(who.organization_id) as changed:
        while loop.time() < ends and not ours.hub.ended:
            changed.clear()
            rows, place = await asyncio.to_thread(_after, ours, who, asked, place)
            if rows or loop.time() - told > BEAT_S:
                told = loop.time()
                yield "".join(rows) or f"id: {place}\n: still here\n\n"
                continue
            # What was told of is visible only when older transactions have ended: look again soon, for a while.
            pause = SOON_S if loop.time() - woken < WHILE_S else BEAT_S
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), pause)
                woken = loop.time()


def _after(ours: Parts, who: Who, asked: Filter, place: str) -> tuple[list[str], str]:
    rows = []
    with ours.pools.tenants.connection() as connection:
        seen = live.after(connection, who.organization_id, place)
        for one in seen:
            place = one.place
            whole = partial(anomalies.get_anomaly, connection, who.organization_id, one.anomaly.id)
            if fits(asked, one.anomaly, whole):
                html = fragment("_row.html", a=one.anomaly, names=NAMES, fresh=True)
                data = "\n".join(f"data: {line}" for line in html.splitlines())
                rows.append(f"id: {place}\nevent: anomaly\n{data}\n\n")
    if seen and not rows:
        rows.append(f"id: {place}\n: nothing that was asked for\n\n")
    return rows, place


def fits(asked: Filter, one: Listed, whole: Callable[[], Found]) -> bool:
    """Whether an anomaly is one of those asked for; `whole` gives its event, where text is looked for."""
    if asked.since is not None and one.created_at < asked.since:
        return False
    for values, value in ((asked.severities, one.severity), (asked.statuses, one.status), (asked.streams, one.stream)):
        if values and value not in values:
            return False
    looked = asked.text.casefold()
    return not looked or looked in one.sentence.casefold() or looked in str(whole().explanation["event"]).casefold()


@routes.get("/anomalies/{anomaly_id}")
def one(request: Request, anomaly_id: UUID, who: Reader) -> HTMLResponse:
    """The finding made plain."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        found = anomalies.get_anomaly(connection, who.organization_id, anomaly_id)
    return _shown(request, who, found)


def _shown(request: Request, who: Who, found: Found, *, status: int = 200, wrong: str = "") -> HTMLResponse:
    with parts.of(request).pools.tenants.connection() as connection:
        people = session.people(connection, who)
    return page(
        request,
        "anomaly.html",
        status=status,
        wrong=wrong,
        found=found,
        a=found.listed,
        v=findings.view(record(found)),
        statuses=STATUSES,
        names=NAMES,
        said=SAID.get(request.query_params.get("credit", ""), ""),
        may_write=who.may("anomalies:write"),
        people=people,
    )


def record(found: Found) -> dict[str, Any]:
    """What findings.view reads, of a stored anomaly."""
    kept = found.listed
    return {
        "kind": kept.kind,
        "severity": kept.severity,
        "count": kept.count,
        "calibrated": kept.calibrated,
        "extrapolated": found.extrapolated,
        "reference_n": found.reference_n,
        "surprisal": kept.surprisal,
        "score_bits": found.score_bits,
        "channels": found.channels,
        "explanation": found.explanation,
        "metrics": found.metrics,
    }


SAID = {
    "credited": "Marked as a false positive, and credited: it is no longer on this period's bill.",
    "credit_note": "Marked as a false positive, and credited by a credit note: its period is closed.",
    "known": "Marked as a false positive. It was credited before.",
    "not_billed": "Marked as a false positive. It was not billed, so there is nothing to credit.",
    "limit": "Marked as a false positive. Not credited: this period's share of credits is used up.",
}


@routes.post("/anomalies/{anomaly_id}")
def set_status(
    request: Request, anomaly_id: UUID, who: Writer, fields: Annotated[FormData, Depends(security.form)]
) -> Response:
    """Set the status that was chosen, unless somebody else did since the page was read."""
    ours, chosen = parts.of(request), text(fields, "status", 32)
    if chosen not in STATUSES:
        raise Problem(400, "That status does not fit.", "Use the buttons of the page.")
    try:
        with ours.pools.tenants.connection() as connection:
            done = anomalies.set_status(
                connection,
                who.organization_id,
                anomaly_id,
                chosen,
                by=who.principal.actor,
                note=text(fields, "note", 1000),
                if_match=text(fields, "etag", 200),
                at=ours.clock(),
                credit_limit_percent=ours.settings.credit_limit_percent,
            )
    except PreconditionFailed:
        with ours.pools.tenants.connection() as connection:
            found = anomalies.get_anomaly(connection, who.organization_id, anomaly_id)
        wrong = "Somebody changed it meanwhile. This is how it is now; your change was not made."
        return _shown(request, who, found, status=412, wrong=wrong)
    credit = "" if done.credit is None else f"?credit={done.credit.outcome}"
    return RedirectResponse(f"/anomalies/{anomaly_id}{credit}", 303)


@routes.get("/anomalies/{anomaly_id}/plot.json")
def plot(request: Request, anomaly_id: UUID, who: Known) -> JSONResponse:
    """The stream's anomalies around this one."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        found = anomalies.get_anomaly(connection, who.organization_id, anomaly_id)
        points: Sequence[course.Point] = course.around(
            connection, who.organization_id, found.listed.stream, found.listed.created_at
        )
    return JSONResponse(plots.of_points(points, anomaly_id))
