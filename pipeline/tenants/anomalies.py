"""Anomalies of an organization: pages, one, its status. Connections are of role driftlock_api, in autocommit mode."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from billing import ledger
from billing.credits import TakenBack, credit_false_positive
from billing.tenant import tenant
from pipeline.accounts.errors import Invalid, NotFound, PreconditionFailed
from pipeline.accounts.texts import line
from pipeline.tenants.controls import tell
from schemas.controls import FeedbackControl
from schemas.models import Severity

Connection = psycopg.Connection[Any]
Status = Literal["open", "acknowledged", "resolved", "false_positive"]

MOST_A_PAGE = 500
MOST_LOOKED_AT = 5_000
"""Rows that a page looks at for those that fit: what no index finds is then a few pages, each quick, instead of a slow one."""

_CURSOR = re.compile(r"(\d{1,17})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_ETAG = re.compile(r'"s(\d{1,9})"')

_VERDICTS: dict[Status, Literal["normal", "confirmed", "none"]] = {
    "open": "none",
    "acknowledged": "confirmed",
    "resolved": "confirmed",
    "false_positive": "normal",
}

# What a free plan has over its cap is counted and not shown (README of billing: free_withheld).
SHOWN = (
    "NOT EXISTS (SELECT FROM ledger l WHERE l.organization_id = a.organization_id AND l.usage_id = a.id"
    " AND l.disposition = 'free_withheld')"
)
STATUS = (
    "LEFT JOIN LATERAL (SELECT status, version FROM anomaly_status s WHERE s.organization_id = a.organization_id"
    " AND s.anomaly_id = a.id ORDER BY version DESC LIMIT 1) AS s ON true"
)
COLUMNS = (
    "a.id, a.created_at, a.last_at, a.stream, a.event_type, a.kind, a.severity, a.count, a.open, a.calibrated,"
    " a.surprisal, a.explanation ->> 'sentence' AS sentence, coalesce(s.status, 'open') AS status,"
    " coalesce(s.version, 0) AS status_version, a.revision"
)


@dataclass(frozen=True)
class Filter:
    """Which anomalies; empty means all. `since` is in, `until` is out. `text` is looked for in the sentence and the event."""

    since: datetime | None = None
    until: datetime | None = None
    severities: tuple[Severity, ...] = ()
    statuses: tuple[Status, ...] = ()
    streams: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Listed:
    """An anomaly as a list shows it. `surprisal` in 2^-16 bit. `status_version` 0: never set."""

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


@dataclass(frozen=True)
class Page:
    """Anomalies, the newest first, and the cursor of the next page; None at the end. A page may hold few, even none, and yet not be the last."""

    items: tuple[Listed, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Change:
    """An entry of a status's history."""

    version: int
    status: Status
    changed_by: str
    changed_at: datetime
    note: str


@dataclass(frozen=True)
class Found:
    """A whole anomaly. `explanation`, `metrics`, `channels`: as schemas.models.Anomaly has them. `etag` names its status."""

    listed: Listed
    etag: str
    extrapolated: bool
    reference_n: int
    score_bits: int
    channels: dict[str, int]
    explanation: dict[str, Any]
    metrics: dict[str, Any]
    first_event_id: UUID
    detector_version: str
    trace: str | None
    history: tuple[Change, ...]


@dataclass(frozen=True)
class Set:
    """The anomaly after its status was set, and what became of the credit where it is now a false positive."""

    anomaly: Found
    credit: TakenBack | None


def list_anomalies(
    connection: Connection, organization_id: UUID, wanted: Filter, *, cursor: str | None = None, limit: int = 50
) -> Page:
    """A page; `limit` 1 to 500. New anomalies move no later page. `Invalid` for a cursor of ours that it is not.

    It looks at MOST_LOOKED_AT anomalies of the organization (and stream) at most, and then says where the next page goes on.
    """
    if not 1 <= limit <= MOST_A_PAGE:
        raise Invalid(f"limit must be 1 to {MOST_A_PAGE}")
    values: dict[str, Any] = {"organization": organization_id, "limit": limit + 1, "most": MOST_LOOKED_AT}
    indexed, fits = _indexed(wanted, cursor, values), _fits(wanted, values)
    # No list of columns: a row that is looked at and does not fit must not be unpacked.
    looked = f"SELECT * FROM anomalies a WHERE {indexed} ORDER BY a.created_at DESC, a.id DESC LIMIT %(most)s"  # noqa: S608 - texts of our own
    query = (
        f"SELECT {COLUMNS} FROM ({looked}) AS a {STATUS} WHERE {fits}"  # noqa: S608
        " ORDER BY a.created_at DESC, a.id DESC LIMIT %(limit)s"
    )
    with tenant(connection, organization_id):
        found = [Listed(*row) for row in connection.execute(query, values)]
        if len(found) > limit:
            items = tuple(found[:limit])
            return Page(items, _cursor(items[-1].created_at, items[-1].id))
        last = connection.execute(
            f"SELECT a.created_at, a.id FROM anomalies a WHERE {indexed}"  # noqa: S608
            " ORDER BY a.created_at DESC, a.id DESC OFFSET %(most)s - 1 LIMIT 1",
            values,
        ).fetchone()
    return Page(tuple(found), None if last is None else _cursor(*last))


def _indexed(wanted: Filter, cursor: str | None, values: dict[str, Any]) -> str:
    """The conditions that an index finds; their values are added."""
    where = ["a.organization_id = %(organization)s"]
    for value, condition in (
        (wanted.since, "a.created_at >= %(since)s"),
        (wanted.until, "a.created_at < %(until)s"),
    ):
        if value is not None:
            where.append(condition)
    values |= {"since": wanted.since, "until": wanted.until}
    if wanted.streams:
        where.append("a.stream = %(stream)s" if len(wanted.streams) == 1 else "a.stream = ANY(%(streams)s)")
        values |= {"stream": wanted.streams[0], "streams": list(wanted.streams)}
    if cursor is not None:
        # The first by itself: PostgreSQL leaves out partitions by it, and not by the second.
        where.append("a.created_at <= %(at)s AND (a.created_at, a.id) < (%(at)s, %(id)s)")
        values["at"], values["id"] = _place(cursor)
    return " AND ".join(where)


def _fits(wanted: Filter, values: dict[str, Any]) -> str:
    """The other conditions; their values are added."""
    where = [SHOWN]
    for name, chosen, column in (
        ("severities", wanted.severities, "a.severity"),
        ("statuses", wanted.statuses, "coalesce(s.status, 'open')"),
        ("kinds", wanted.kinds, "a.kind"),
    ):
        if chosen:
            where.append(f"{column} = ANY(%({name})s)")
            values[name] = list(chosen)
    if wanted.text:
        where.append(
            "(strpos(lower(a.explanation ->> 'sentence'), lower(%(text)s)) > 0"
            " OR strpos(lower(a.explanation ->> 'event'), lower(%(text)s)) > 0)"
        )
        values["text"] = line(wanted.text, "text", 200)
    return " AND ".join(where)


def get_anomaly(connection: Connection, organization_id: UUID, anomaly_id: UUID) -> Found:
    """One anomaly with its history. `NotFound`."""
    with tenant(connection, organization_id):
        return _get(connection, organization_id, anomaly_id)


def set_status(
    connection: Connection,
    organization_id: UUID,
    anomaly_id: UUID,
    status: Status,
    *,
    by: str,
    note: str = "",
    if_match: str | None,
    at: datetime,
    credit_limit_percent: int,
) -> Set:
    """Set the status; false_positive credits the bill, and its stream learns it as normal. `if_match`: an etag, or None for any version.

    `NotFound`, `PreconditionFailed`, `Invalid`.
    """
    note = line(note, "note", 1_000, least=0)
    with tenant(connection, organization_id):
        ledger.lock(connection, [organization_id])  # one at a time, in the order in which the books are locked
        before = _get(connection, organization_id, anomaly_id)
        if if_match is not None and not _names(if_match, before.etag):
            raise PreconditionFailed(f"If-Match does not name the present version, which is {before.etag}")
        connection.execute(
            "INSERT INTO anomaly_status (organization_id, anomaly_id, version, status, changed_by, changed_at, note)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (organization_id, anomaly_id, before.listed.status_version + 1, status, by, at, note),
        )
        if patterns := _patterns(connection, organization_id, anomaly_id):
            said = FeedbackControl(
                organization_id=organization_id,
                stream=before.listed.stream,
                version=before.listed.status_version + 1,
                anomaly_id=anomaly_id,
                verdict=_VERDICTS[status],
                patterns=patterns,
            )
            tell(connection, said, at)
        credit = None
        if status == "false_positive":
            credit = credit_false_positive(
                connection, organization_id, anomaly_id, by=by, at=at, limit_percent=credit_limit_percent
            )
        return Set(_get(connection, organization_id, anomaly_id), credit)


def _patterns(connection: Connection, organization_id: UUID, anomaly_id: UUID) -> tuple[str, ...]:
    row = connection.execute(
        "SELECT patterns FROM anomalies WHERE organization_id = %s AND id = %s", (organization_id, anomaly_id)
    ).fetchone()
    return tuple(row[0]) if row else ()


def _get(connection: Connection, organization_id: UUID, anomaly_id: UUID) -> Found:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            f"SELECT {COLUMNS}, extrapolated, reference_n, score_bits, channels, explanation, metrics, first_event_id,"  # noqa: S608
            f" detector_version, trace FROM anomalies a {STATUS}"
            f" WHERE a.organization_id = %s AND a.id = %s AND {SHOWN}",
            (organization_id, anomaly_id),
        ).fetchone()
    if row is None:
        raise NotFound(f"there is no anomaly {anomaly_id}")
    listed = Listed(**{name: row.pop(name) for name in Listed.__dataclass_fields__})
    history = connection.execute(
        "SELECT version, status, changed_by, changed_at, note FROM anomaly_status"
        " WHERE organization_id = %s AND anomaly_id = %s ORDER BY version",
        (organization_id, anomaly_id),
    )
    return Found(listed, f'"s{listed.status_version}"', **row, history=tuple(Change(*change) for change in history))


def _cursor(at: datetime, identity: UUID) -> str:
    micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return f"{micros}.{identity}"


def _place(cursor: str) -> tuple[datetime, UUID]:
    said = _CURSOR.fullmatch(cursor)
    if said is None:
        raise Invalid("cursor is none of ours: leave it out to begin at the newest")
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(said[1])), UUID(said[2])
    except OverflowError as error:
        raise Invalid("cursor is none of ours: leave it out to begin at the newest") from error


def _names(if_match: str, etag: str) -> bool:
    """Whether a header If-Match holds an etag (RFC 9110, 13.1.1)."""
    given = [one.strip() for one in if_match.split(",")]
    if given != ["*"] and not all(_ETAG.fullmatch(one) for one in given):
        raise Invalid('If-Match must be etags as GET gives them, like "s3", or *')
    return given == ["*"] or etag in given
