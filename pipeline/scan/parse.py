"""What a line says: its event, its stream and its time, by the fields the user names."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from pipeline.scan.read import Line, ScanInput

DEFAULT_STREAM = "default"


@dataclass(frozen=True)
class Fields:
    """Names of the fields of a JSON line; without `event` the whole line is the event."""

    event: str | None = None
    stream: str | None = None
    time: str | None = None

    @property
    def any(self) -> bool:
        """Whether lines must be JSON objects."""
        return self.event is not None or self.stream is not None or self.time is not None


def parse(line: Line, fields: Fields) -> tuple[bytes, str, int]:
    """(body, stream, time in ms) of a line; ScanInput says which line does not fit and why."""
    if not fields.any:
        return line.data, DEFAULT_STREAM, 0
    try:
        row = orjson.loads(line.data)
    except orjson.JSONDecodeError as error:
        raise _wrong(line, f"is not JSON ({error}), and fields were named") from error
    if not isinstance(row, dict):
        raise _wrong(line, "is not a JSON object, and fields were named")
    body = line.data
    if fields.event is not None:
        value = _field(line, row, fields.event)
        body = value.encode() if isinstance(value, str) else orjson.dumps(value)
    stream = DEFAULT_STREAM if fields.stream is None else str(row.get(fields.stream) or DEFAULT_STREAM)
    time = 0 if fields.time is None else _milliseconds(line, fields.time, _field(line, row, fields.time))
    return body, stream, time


def _field(line: Line, row: dict[str, Any], name: str) -> Any:
    if name not in row:
        raise _wrong(line, f"has no field {name!r}; it has {', '.join(map(str, row))}")
    return row[name]


def _milliseconds(line: Line, name: str, value: object) -> int:
    """Milliseconds since 1970 of seconds, milliseconds, microseconds or nanoseconds (told apart by size) or of an ISO 8601 text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        for limit, factor in ((1e11, 1000), (1e14, 1), (1e17, 1e-3)):
            if abs(value) < limit:
                return round(value * factor)
        if abs(value) < 1e20:
            return round(value * 1e-6)
    elif isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    raise _wrong(line, f"has {value!r:.60} in {name!r}: give seconds since 1970 or an ISO 8601 time")


def _wrong(line: Line, what: str) -> ScanInput:
    return ScanInput(f"{line.file}, line {line.number} {what}")
