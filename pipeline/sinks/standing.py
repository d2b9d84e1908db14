"""How streams stand, from usage records that were counted: the last word of each stream."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pipeline.sinks.sink import Connection
from schemas.models import ScoredUsage, StreamStanding

_COLUMNS = ("events", "reference_n", "per_day", "last_at", "anchor_n", "drift")
_TYPES = ("bigint", "bigint", "bigint", "timestamptz", "bigint", "bigint")
_UPSERT = (
    f"INSERT INTO stream_standing (organization_id, stream, {', '.join(_COLUMNS)})"  # noqa: S608 names of our own
    f" SELECT * FROM unnest(%s::uuid[], %s::text[], {', '.join(f'%s::{kind}[]' for kind in _TYPES)})"
    " ON CONFLICT (organization_id, stream) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)
)


def unfit(record: ScoredUsage) -> str:
    """Why a record's standings can't be stored, or nothing."""
    for one in record.streams:
        numbers = (one.events, one.reference_n, one.per_day, one.anchor_n, one.drift or 0)
        if not (0 <= one.last_at < 1 << 42 and all(n < 1 << 63 for n in numbers)) or "\0" in one.stream:
            return f"streams: the standing of {one.stream!r} does not fit"
    return ""


def store(connection: Connection, records: Iterable[ScoredUsage]) -> None:
    """Write the last standing of each stream; records in the order in which they were counted."""
    last: dict[tuple[str, str], StreamStanding] = {}
    for record in records:
        last |= {(str(record.organization_id), one.stream): one for one in record.streams}
    if last:
        rows = [
            (*key, one.events, one.reference_n, one.per_day, _time(one.last_at), one.anchor_n, one.drift)
            for key, one in sorted(last.items())
        ]
        connection.execute(_UPSERT, [list(column) for column in zip(*rows, strict=True)])


def _time(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
