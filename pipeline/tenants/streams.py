"""Streams of an organization and their settings. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

from billing import actions
from billing.periods import milliseconds
from billing.tenant import tenant
from pipeline.accounts.errors import Invalid, NotFound, PreconditionFailed
from pipeline.tenants.controls import tell
from schemas import controls
from schemas.records import wrong_stream

Connection = psycopg.Connection[Any]

MOST_A_PAGE = 1_000
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
CALIBRATED_FROM = 1_000
_KNOWN = """
WITH found AS (
    SELECT stream, count(*) AS anomalies, max(last_at) AS last_at,
        (array_agg(reference_n ORDER BY created_at DESC))[1] AS reference_n
    FROM anomalies WHERE organization_id = %(organization)s AND (%(one)s::text IS NULL OR stream = %(one)s) GROUP BY stream
), settings AS (
    SELECT * FROM stream_settings WHERE organization_id = %(organization)s AND (%(one)s::text IS NULL OR stream = %(one)s)
), stands AS (
    SELECT * FROM stream_standing WHERE organization_id = %(organization)s AND (%(one)s::text IS NULL OR stream = %(one)s)
)
SELECT stream, t.sensitivity, t.entity_field, coalesce(t.paused, false), t.maintenance_until, coalesce(t.muted, false),
    coalesce(t.version, 0), coalesce(a.anomalies, 0), a.last_at, coalesce(s.reference_n, a.reference_n),
    s.events, s.per_day, s.last_at, s.anchor_n, s.drift
FROM found AS a FULL JOIN settings AS t USING (stream) FULL JOIN stands AS s USING (stream)
WHERE stream COLLATE "C" > %(after)s AND (t.deleted_at IS NULL OR greatest(a.last_at, s.last_at) > t.deleted_at)
ORDER BY stream COLLATE "C" LIMIT %(limit)s
"""


@dataclass(frozen=True)
class StreamSettings:
    """What a tenant set for a stream; None: as the organization says.

    `muted`, or until `maintenance_until`: scored and learned, nothing is reported or billed. `paused`: not scored.
    """

    sensitivity: Decimal | None = None
    entity_field: str | None = None
    paused: bool = False
    maintenance_until: datetime | None = None
    muted: bool = False


@dataclass(frozen=True)
class WarmUp:
    """A stream is warm once it has `needed` scores to compare with; its findings are billed from then on.

    `seconds_left`: at its present rate; None where that is not known.
    """

    reference_n: int
    needed: int
    warm: bool
    text: str
    seconds_left: int | None


@dataclass(frozen=True)
class Anchor:
    """The frequencies that were frozen when `events` events had come, of `needed`; `drift_bits`: what an event of the present costs
    more by them than by its own, None while nothing can be said.
    """

    events: int
    needed: int
    drift_bits: Decimal | None


@dataclass(frozen=True)
class Stream:
    """A stream that is known: by an event, an anomaly, or settings. `events`: scored since it began, `per_day`: lately.

    `warm_up` None: nothing of it is known yet.
    """

    name: str
    settings: StreamSettings
    version: int
    anomalies: int
    last_anomaly_at: datetime | None
    warm_up: WarmUp | None
    events: int | None
    per_day: int | None
    last_event_at: datetime | None
    anchor: Anchor | None


@dataclass(frozen=True)
class StreamPage:
    """Streams by name; the cursor is the last name, None at the end."""

    items: tuple[Stream, ...]
    next_cursor: str | None


def list_streams(
    connection: Connection, organization_id: UUID, *, cursor: str | None = None, limit: int = 100
) -> StreamPage:
    """A page of streams by name."""
    if not 1 <= limit <= MOST_A_PAGE:
        raise Invalid(f"limit must be 1 to {MOST_A_PAGE}")
    if cursor is not None and (reason := wrong_stream(cursor)):
        raise Invalid(f"cursor: {reason}")
    with tenant(connection, organization_id):
        found = _read(connection, organization_id, None, cursor or "", limit + 1)
    items = tuple(found[:limit])
    return StreamPage(items, items[-1].name if len(found) > limit else None)


def get_stream(connection: Connection, organization_id: UUID, stream: str) -> Stream:
    """One stream. `NotFound`."""
    _check_name(stream)
    with tenant(connection, organization_id):
        return _get(connection, organization_id, stream)


def set_stream(
    connection: Connection,
    organization_id: UUID,
    stream: str,
    wanted: StreamSettings,
    *,
    by: str,
    if_version: int | None,
    at: datetime,
) -> Stream:
    """Set all settings of a stream. `if_version`: the version it must have, None for any. `PreconditionFailed`, `Invalid`."""
    _check_name(stream)
    _check(wanted)
    with tenant(connection, organization_id):
        _get(connection, organization_id, stream)
        _set(connection, organization_id, stream, wanted, by=by, if_version=if_version, at=at)
        return _get(connection, organization_id, stream)


def delete_stream(connection: Connection, organization_id: UUID, stream: str, *, by: str, at: datetime) -> None:
    """Unset a stream's settings and forget what was learned of it; its anomalies stay. It is there again from its next event on.

    `NotFound`.
    """
    _check_name(stream)
    with tenant(connection, organization_id):
        _get(connection, organization_id, stream)
        version = _set(connection, organization_id, stream, StreamSettings(), by=by, if_version=None, at=at)
        connection.execute(
            "UPDATE stream_settings SET deleted_at = %s WHERE organization_id = %s AND stream = %s",
            (at, organization_id, stream),
        )
        tell(connection, controls.ForgetControl(organization_id=organization_id, stream=stream, version=version), at)
        actions.record(
            connection,
            organization_id,
            actor=by,
            action="stream.delete",
            before={"stream": stream},
            after=None,
            at=at,
        )


def reset_anchor(connection: Connection, organization_id: UUID, stream: str, *, by: str, at: datetime) -> Stream:
    """The stream's present becomes its anchor, within seconds. `NotFound`."""
    _check_name(stream)
    with tenant(connection, organization_id):
        found = _get(connection, organization_id, stream)
        version = _set(connection, organization_id, stream, found.settings, by=by, if_version=None, at=at)
        tell(connection, controls.AnchorControl(organization_id=organization_id, stream=stream, version=version), at)
        actions.record(
            connection,
            organization_id,
            actor=by,
            action="stream.anchor",
            before=None,
            after={"stream": stream},
            at=at,
        )
        return found


def _set(
    connection: Connection,
    organization_id: UUID,
    stream: str,
    wanted: StreamSettings,
    *,
    by: str,
    if_version: int | None,
    at: datetime,
) -> int:
    """Store settings, tell workers, record the action; the new version."""
    row = connection.execute(
        "SELECT version, sensitivity, entity_field, paused, maintenance_until, muted FROM stream_settings"
        " WHERE organization_id = %s AND stream = %s FOR UPDATE",
        (organization_id, stream),
    ).fetchone()
    version = row[0] if row else 0
    if if_version is not None and if_version != version:
        raise PreconditionFailed(f"If-Match does not name the present version, which is {version}")
    done = connection.execute(
        "INSERT INTO stream_settings AS t (organization_id, stream, version, sensitivity, entity_field, paused,"
        " maintenance_until, muted, changed_at, changed_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (organization_id, stream) DO UPDATE SET version = excluded.version,"
        " sensitivity = excluded.sensitivity, entity_field = excluded.entity_field, paused = excluded.paused,"
        " maintenance_until = excluded.maintenance_until, muted = excluded.muted, deleted_at = NULL, changed_at = excluded.changed_at,"
        " changed_by = excluded.changed_by WHERE t.version = excluded.version - 1",
        (
            organization_id,
            stream,
            version + 1,
            wanted.sensitivity,
            wanted.entity_field,
            wanted.paused,
            wanted.maintenance_until,
            wanted.muted,
            at,
            by,
        ),
    )
    if not done.rowcount:
        raise PreconditionFailed("it was changed at the same time: read it again")
    tell(connection, _control(organization_id, stream, version + 1, wanted), at)
    actions.record(
        connection,
        organization_id,
        actor=by,
        action="stream.set",
        before={"stream": stream, **_state(StreamSettings(*row[1:]))} if row else None,
        after={"stream": stream, **_state(wanted)},
        at=at,
    )
    return version + 1


def _check_name(stream: str) -> None:
    if reason := wrong_stream(stream):
        raise Invalid(reason)


def _check(wanted: StreamSettings) -> None:
    check_sensitivity(wanted.sensitivity)
    field = wanted.entity_field
    if field is not None and (
        not 1 <= len(field.encode("utf-8", "replace")) <= 256
        or not field.isprintable()
        or "\ud800" <= max(field) <= "\udfff"
    ):
        raise Invalid("entity_field must have 1 to 256 bytes and no control character")
    until = wanted.maintenance_until
    if until is not None and (until.tzinfo is None or not _FIRST <= until <= _LAST):
        raise Invalid("maintenance_until must be a time with its zone, between the years 2000 and 2100")


def check_sensitivity(value: Decimal | None) -> None:
    """`Invalid` unless it is None, or 0 to 1 in steps of 0.001."""
    if value is not None and (not value.is_finite() or not 0 <= value <= 1 or value != round(value, 3)):
        raise Invalid("sensitivity must be 0 to 1 in steps of 0.001")


def thousandths(value: Decimal | None) -> int | None:
    """A sensitivity as control messages say it."""
    return None if value is None else int(value * 1_000)


def _control(organization_id: UUID, stream: str, version: int, settings: StreamSettings) -> controls.StreamControl:
    until = settings.maintenance_until
    return controls.StreamControl(
        organization_id=organization_id,
        stream=stream,
        version=version,
        sensitivity=thousandths(settings.sensitivity),
        muted=settings.muted,
        muted_until=None if until is None else milliseconds(until),
        paused=settings.paused,
    )


def _state(settings: StreamSettings) -> dict[str, Any]:
    until = settings.maintenance_until
    return {
        "sensitivity": None if settings.sensitivity is None else f"{settings.sensitivity:.3f}",
        "entity_field": settings.entity_field,
        "paused": settings.paused,
        "maintenance_until": None if until is None else until.isoformat(),
        "muted": settings.muted,
    }


def _get(connection: Connection, organization_id: UUID, stream: str) -> Stream:
    found = _read(connection, organization_id, stream, "", 1)
    if not found:
        raise NotFound("there is no stream of that name: a stream is known from its first events on")
    return found[0]


def _read(connection: Connection, organization_id: UUID, one: str | None, after: str, limit: int) -> list[Stream]:
    rows = connection.execute(_KNOWN, {"organization": organization_id, "one": one, "after": after, "limit": limit})
    return [_stream(row) for row in rows]


def _stream(row: tuple[Any, ...]) -> Stream:
    name, *settings, version, anomalies, last_anomaly_at = row[:9]
    reference_n, events, per_day, last_event_at, anchor_n, drift = row[9:]
    anchor = None
    if anchor_n is not None:
        bits = None if drift is None else round(Decimal(drift) / 65_536, 3)
        anchor = Anchor(min(anchor_n, CALIBRATED_FROM), CALIBRATED_FROM, bits)
    warm_up = None if reference_n is None else _warm_up(reference_n, per_day)
    return Stream(
        name,
        StreamSettings(*settings),
        version,
        anomalies,
        last_anomaly_at,
        warm_up,
        events,
        per_day,
        last_event_at,
        anchor,
    )


def _warm_up(reference_n: int, per_day: int | None) -> WarmUp:
    missing = max(0, CALIBRATED_FROM - reference_n)
    left = None if not per_day else missing * 86_400 // per_day
    text = "warm" if not missing else f"warming {reference_n:,}/{CALIBRATED_FROM:,}"
    return WarmUp(reference_n, CALIBRATED_FROM, not missing, text, left)
