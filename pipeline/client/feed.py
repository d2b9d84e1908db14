"""Anomalies: pages of them, one with its explanation, its status, and what is new as it comes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import httpx
import orjson

from pipeline.client.connection import LATER, Connection, Refused, Unreachable, checked, pause, request

Severity = Literal["low", "medium", "high", "critical"]
Status = Literal["open", "acknowledged", "resolved", "false_positive"]
A_PAGE = 200
SILENT_S = 40.0
"""The API says something every ten seconds: a stream that says nothing for this long is dead."""


@dataclass(frozen=True)
class Anomaly:
    """An anomaly. `surprisal`: -log2 of its p-value in 2^-16 bit. `raw`: all that the API said, the explanation too where asked."""

    id: UUID
    created_at: datetime
    last_at: datetime
    stream: str
    event_type: str
    kind: str
    severity: Severity
    count: int
    open: bool
    calibrated: bool
    surprisal: int
    sentence: str
    status: Status
    status_version: int
    revision: int
    raw: Mapping[str, Any] = field(repr=False, compare=False)


class Seen(NamedTuple):
    """An anomaly of the live stream, and the place after it."""

    place: str
    anomaly: Anomaly


def read(said: Mapping[str, Any]) -> Anomaly:
    """An anomaly as the API says it, in a list or whole."""
    shown = said.get("listed", said)
    values = {f.name: shown[f.name] for f in fields(Anomaly) if f.name != "raw"}
    times = {name: datetime.fromisoformat(values[name]) for name in ("created_at", "last_at")}
    return Anomaly(**{**values, **times, "id": UUID(values["id"]), "raw": said})


def anomalies(
    at: Connection,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    severity: Sequence[Severity] = (),
    status: Sequence[Status] = (),
    stream: Sequence[str] = (),
    kind: Sequence[str] = (),
    text: str = "",
) -> Iterator[Anomaly]:
    """All that fit, the newest first, page by page; new ones move none. Times are aware."""
    asked: dict[str, Any] = {"severity": severity, "status": status, "stream": stream, "kind": kind, "text": text}
    asked |= {"since": since and since.isoformat(), "until": until and until.isoformat()}
    query: dict[str, Any] = {name: value for name, value in asked.items() if value} | {"limit": A_PAGE}
    while True:
        page = request(at, "GET", "/v1/anomalies", params=query).json()
        yield from map(read, page["items"])
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


def anomaly(at: Connection, anomaly_id: UUID) -> Anomaly:
    """One with its explanation, metrics and history in `raw`. `Refused` with 404 where there is none."""
    return read(request(at, "GET", f"/v1/anomalies/{anomaly_id}").json())


def set_status(at: Connection, of: Anomaly, status: Status, *, note: str = "") -> Anomaly:
    """Set the status, unless somebody did since `of` was read: then `Refused` with 412. A false positive is credited."""
    answer = request(
        at,
        "PUT",
        f"/v1/anomalies/{of.id}",
        repeatable=False,
        json={"status": status, "note": note},
        headers={"If-Match": f'"s{of.status_version}"'},
    )
    return read(answer.json()["anomaly"])


def follow(at: Connection, *, after: str = "") -> Iterator[Seen]:
    """New and changed anomalies as they come, without an end; a broken stream goes on where it ended.

    `after`: a place that was seen before; else from now on. `Refused` where the key may not (any more), `Unreachable` where
    nothing comes in as many attempts as the connection has.
    """
    place, failed = after, 0
    while True:
        try:
            for seen in _stream(at, place):
                failed = 0
                place = seen.place
                if seen.anomaly is not None:
                    yield Seen(place, seen.anomaly)
            at.wait(pause(at, 0))
        except httpx.TransportError as error:
            failed += 1
            if failed >= at.attempts:
                raise Unreachable(f"the stream of the API does not come back: {type(error).__name__}") from error
            at.wait(pause(at, failed - 1))
        except Refused as error:
            failed += 1
            if error.status not in LATER or failed >= at.attempts:
                raise
            at.wait(pause(at, failed - 1))


class _Part(NamedTuple):
    place: str
    anomaly: Anomaly | None


def _stream(at: Connection, place: str) -> Iterator[_Part]:
    """Events of one connection (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": place} if place else {})
    timeout = httpx.Timeout(at.http.timeout.connect, read=SILENT_S)
    with at.http.stream("GET", "/v1/anomalies/stream", headers=headers, timeout=timeout) as answer:
        if answer.status_code >= 400:
            answer.read()
            checked(answer)
        data = ""
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                place = value
            elif name == "data":
                data = value
            elif not line:
                yield _Part(place, read(orjson.loads(data)) if data else None)
                data = ""
