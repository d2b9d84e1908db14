"""The sink of the topic `anomalies`: one row an anomaly, the one of its largest revision."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from pipeline.sinks import alerts
from pipeline.sinks.metrics import EVENT_TO_ANOMALY
from pipeline.sinks.sink import Connection, Fate, Outcome, Record, Sink
from schemas.models import Anomaly, BadMessage
from schemas.topics import ANOMALIES

MONTHS_AHEAD = 3
_SILENCE = "silence"
_EARLIEST_MS, _LATEST_MS = 946_684_800_000, 4_102_444_800_000  # the years 2000 to 2100
_BIGINT = 1 << 63
_COLUMNS = {
    "organization_id": "uuid",
    "created_at": "timestamptz",
    "id": "uuid",
    "revision": "bigint",
    "stream": "text",
    "event_type": "text",
    "kind": "text",
    "severity": "text",
    "last_at": "timestamptz",
    "count": "bigint",
    "open": "boolean",
    "calibrated": "boolean",
    "surprisal": "bigint",
    "extrapolated": "boolean",
    "reference_n": "bigint",
    "score_bits": "bigint",
    "channels": "jsonb",
    "explanation": "jsonb",
    "metrics": "jsonb",
    "first_event_id": "uuid",
    "blocks_topic_id": "text",
    "blocks_partition": "integer",
    "frame": "bigint",
    "event": "bigint",
    "detector_version": "text",
    "trace": "text",
    "patterns": "jsonb",
}
_KEY = ("organization_id", "created_at", "id")
_GIVEN = "unnest(" + ", ".join(f"%s::{kind}[]" for kind in _COLUMNS.values()) + ")"
# Not ON CONFLICT DO UPDATE: PostgreSQL wants the right to read each column that it takes from `excluded`, and a sink may
# not read payloads.
_INSERT = f"INSERT INTO anomalies ({', '.join(_COLUMNS)}) SELECT * FROM {_GIVEN} ON CONFLICT DO NOTHING RETURNING organization_id, id"  # noqa: S608
_UPDATE = (
    "UPDATE anomalies SET "  # noqa: S608 names of our own
    + ", ".join(f"{name} = given.{name}" for name in _COLUMNS if name not in _KEY)
    + f", stored_at = now() FROM {_GIVEN} AS given ({', '.join(_COLUMNS)}) WHERE "
    + " AND ".join(f"anomalies.{name} = given.{name}" for name in _KEY)
    + " AND anomalies.revision < given.revision RETURNING anomalies.organization_id, anomalies.id"
)


def write(connection: Connection, records: Sequence[Record], now: int) -> Outcome:
    """Insert new anomalies, update those with a larger revision, and write the alerts of both; others are duplicates.

    May be repeated at will.
    """
    fates: list[Fate] = ["duplicate"] * len(records)
    reasons: dict[int, str] = {}
    newest: dict[tuple[UUID, UUID], tuple[int, Anomaly]] = {}
    for i, record in enumerate(records):
        try:
            anomaly = _read(record)
        except BadMessage as error:
            fates[i] = "rejected"
            reasons[i] = str(error)
            continue
        key = (anomaly.organization_id, anomaly.id)
        if key not in newest or newest[key][1].revision < anomaly.revision:
            newest[key] = (i, anomaly)
    if newest:
        rows = [_row(newest[key][1]) for key in sorted(newest)]  # in one order, so that two sinks never deadlock
        columns = [list(column) for column in zip(*rows, strict=True)]
        written = connection.execute(_INSERT, columns).fetchall()
        if len(written) < len(rows):
            written += connection.execute(_UPDATE, columns).fetchall()
        for organization_id, id_ in written:
            i, anomaly = newest[organization_id, id_]
            fates[i] = "written"
            if anomaly.revision == 1 and anomaly.kind != _SILENCE:  # a silence is found by no event
                EVENT_TO_ANOMALY.observe(max(0, now - anomaly.last_at) / 1000)
        alerts.tell(connection, [newest[o, id_][1] for o, id_ in written], now)
    return Outcome(tuple(fates), reasons)


def _read(record: Record) -> Anomaly:
    if record.value is None:
        raise BadMessage("the record has no value")
    anomaly = Anomaly.from_bytes(record.value)
    if not _EARLIEST_MS <= anomaly.created_at <= anomaly.last_at <= _LATEST_MS:
        raise BadMessage("created_at, last_at: must be in order, and between the years 2000 and 2100")
    numbers = (*anomaly.channels.values(), *(n for _, n in anomaly.metrics if isinstance(n, int)))
    if any(not -_BIGINT <= n < _BIGINT for n in numbers):
        raise BadMessage("channels, metrics: a number does not fit in 64 bits")
    if b"\\u0000" in record.value:  # PostgreSQL's text can't hold a NUL; a log line can
        anomaly = Anomaly.model_validate(_without_nul(anomaly.model_dump()))
    return anomaly


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\N{SYMBOL FOR NULL}")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_without_nul, value))
    return value


def _time(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def _row(anomaly: Anomaly) -> tuple[Any, ...]:
    values = {
        **{name: getattr(anomaly, name) for name in _COLUMNS if name in Anomaly.model_fields},
        "created_at": _time(anomaly.created_at),
        "last_at": _time(anomaly.last_at),
        "channels": orjson.dumps(anomaly.channels).decode(),
        "explanation": orjson.dumps(anomaly.explanation.model_dump(mode="json")).decode(),
        "metrics": orjson.dumps(anomaly.metrics.model_dump(mode="json")).decode(),
        "patterns": orjson.dumps(anomaly.patterns).decode(),
        "blocks_topic_id": anomaly.position.topic_id,
        "blocks_partition": anomaly.position.partition,
        "frame": anomaly.position.frame,
        "event": anomaly.position.event,
    }
    return tuple(values[name] for name in _COLUMNS)


def _months_ahead(connection: Connection, now: int) -> None:
    connection.execute("SELECT create_anomaly_partitions(%s, %s)", (_time(now), MONTHS_AHEAD))


SINK = Sink("sink-anomalies", ANOMALIES, write, daily=_months_ahead)
