"""OTLP batches as events: a log record, a span, a metric's point is a JSON object each. Pure; whatever arrives, nothing raises.

A batch is one `ExportLogsServiceRequest`, `...Trace...` or `...Metrics...` in protobuf, as a collector's `otlp_proto` writes it.
What the members of an event are is in otlp_events.py and otlp_points.py; behind them stand `scope`, `resource` and `time`, the
producer's, in UTC with nine digits of a second. Members that are empty are left out.

| signal | stream | producer's id |
|---|---|---|
| logs | `logs:<service>` | the attribute log.record.uid, if it is text |
| traces | `traces:<service>` | `<trace id>/<span id>` |
| metrics | `metrics:<service>:<metric>` | none |

`<service>` is service.name, behind service.namespace and a dot where that is given, or `unknown`. The attribute `driftlock.stream` of the
record, else of the resource, else the header x-stream, names another stream. A name that is made here stands in URLs: a slash or a control
character in it becomes `_`, a name that is too long is cut, and either then ends in `~` and a checksum of the whole.

Bounds: a batch has MAX_BATCH_BYTES, an event 64 KiB as any other, and twice that in protobuf (so that nothing large is looked at closely); the
events of a batch together have MAX_EXPANDED_BYTES, because a resource's attributes stand in each; resources, scopes and metrics are MAX_GROUPS;
nesting is as deep as protobuf lets it be. What is over one is a dead letter, alone where the others can be read: then its bytes are a batch
of that one record with its resource and scope, to be sent again.
"""

import re
import zlib
from collections.abc import Callable, Container, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any

import orjson
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, MetricsData
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from schemas import otlp_events, otlp_points
from schemas.otlp_events import attributes
from schemas.topics import DEFAULT_STREAM, MAX_EVENT_BYTES, MAX_ID_BYTES, MAX_STREAM_BYTES

MAX_BATCH_BYTES = 5 << 20
MAX_EXPANDED_BYTES = 64 << 20
MAX_GROUPS = 1 << 16
MAX_FAILURES = 1_000
STREAM_ATTRIBUTE = "driftlock.stream"
UID_ATTRIBUTE = "log.record.uid"

Event = tuple[int, bytes, str, bytes]
Dead = tuple[int, str, str, bytes]
"""Both as in records.py."""

Made = tuple[bytes, str, bytes] | tuple[str, str]
"""(body, stream, producer's id), or (class, reason)."""

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/]")
_MAX_BYTES = 2 * MAX_EVENT_BYTES
_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 253_402_300_800
"""The year 10,000, in seconds."""


def read(value: bytes, signal: str, stream: str = DEFAULT_STREAM) -> tuple[list[Event], list[Dead]]:
    """The events and dead letters of a batch, each with the index that its record has in the batch, counted from 0.

    `stream` is the header's. A batch of which nothing can be read is one dead letter.
    """
    try:
        batch = parse(value, signal)
    except ValueError as error:
        return [], [(0, "otlp", str(error), value)]
    if wrong := crowded(batch, signal):
        return [], [(0, "too large", wrong, value)]
    events: list[Event] = []
    dead: list[Dead] = []
    size = buried = 0
    for index, (made, alone) in enumerate(_READERS[signal](batch, stream)):
        if len(made) == 3:
            events.append((index, *made))
            size += len(made[0])
        else:
            body = alone()
            dead.append((index, *made, body))
            buried += len(body)
        if size > MAX_EXPANDED_BYTES:
            reason = f"its records, each with its resource's attributes, have more than {MAX_EXPANDED_BYTES} bytes"
            return [], [(0, "too large", reason, value)]
        if len(dead) > MAX_FAILURES or buried > len(value) + MAX_EVENT_BYTES:
            reason = f"{len(dead)} of its records can't be events; the first: {dead[0][2]}"
            return [], [(0, "too many failures", reason, value)]
    if not events and not dead:
        return [], [(0, "empty", "the batch holds no record", value)]
    return events, dead


def parse(value: bytes, signal: str) -> Any:
    """The message of a batch, whose class depends on the signal; `ValueError` says in one line why there is none."""
    if len(value) > MAX_BATCH_BYTES:
        raise ValueError(f"a batch of {len(value)} bytes: the limit is {MAX_BATCH_BYTES}")
    try:
        return MESSAGES[signal].FromString(value)
    except DecodeError as error:
        raise ValueError(f"not OTLP {signal} in protobuf: {' '.join(str(error).split())}") from error


def crowded(batch: Any, signal: str) -> str:
    """Why a batch has too many parts beside its records; nothing where it has not."""
    groups = _GROUPS[signal](batch)
    parts = len(groups)
    for group in groups if parts <= MAX_GROUPS else ():
        scopes = _SCOPES[signal](group)
        parts += len(scopes)
        if signal == "metrics" and parts <= MAX_GROUPS:
            parts += sum(len(scope.metrics) for scope in scopes)
    return f"the batch has more than {MAX_GROUPS} resources, scopes and metrics" if parts > MAX_GROUPS else ""


def count(batch: Any, signal: str) -> int:
    """How many records a batch holds."""
    return sum(map(len, _lists(batch, signal)))


def without(batch: Any, signal: str, indexes: Container[int]) -> bytes:
    """The batch, which is changed, without the records with these indexes."""
    index = count(batch, signal)
    for several in reversed(list(_lists(batch, signal))):
        for at in reversed(range(len(several))):
            index -= 1
            if index in indexes:
                del several[at]
    return bytes(batch.SerializeToString())


def _lists(batch: Any, signal: str) -> Iterator[Any]:
    """The lists in which a batch has its records, in the order of their indexes."""
    for group in _GROUPS[signal](batch):
        for scope in _SCOPES[signal](group):
            if signal == "metrics":
                yield from map(otlp_points.points, scope.metrics)
            else:
                yield scope.log_records if signal == "logs" else scope.spans


def stream_name(signal: str, service: str, metric: str = "") -> str:
    """The name of a stream that no attribute and no header names; at most MAX_STREAM_BYTES, different names stay different."""
    name = ":".join(part for part in (signal, service or "unknown", metric) if part)
    whole, raw = name.encode("utf-8", "replace"), _NOT_IN_NAMES.sub("_", name).encode("utf-8", "replace")
    if raw == whole and len(raw) <= MAX_STREAM_BYTES:
        return raw.decode()
    end = f"~{zlib.crc32(whole):08x}"
    return raw[: MAX_STREAM_BYTES - len(end)].decode("utf-8", "ignore") + end


_named = lru_cache(maxsize=4_096)(stream_name)

Records = Iterator[tuple[Made, Callable[[], bytes]]]
"""What became of each record, and the bytes of a batch that holds it alone."""


def _logs(batch: LogsData, stream: str) -> Records:
    for group in batch.resource_logs:
        resource = _Resource(group.resource, stream)
        for part in group.scope_logs:
            scope = otlp_events.scope(part.scope)
            for record in part.log_records:
                yield _log(record, resource, scope), partial(_log_alone, group, part, record)


def _log(record: LogRecord, resource: "_Resource", scope: dict[str, Any]) -> Made:
    if reason := resource.too_large(record):
        return "too large", reason
    own = attributes(record.attributes)
    uid = own.get(UID_ATTRIBUTE)
    event_id = uid.encode("utf-8", "replace") if type(uid) is str else b""
    time = record.time_unix_nano or record.observed_time_unix_nano
    return resource.event(otlp_events.log(record, own), scope, time, own, "logs", event_id=event_id)


def _log_alone(group: Any, part: Any, record: LogRecord) -> bytes:
    one = LogsData()
    kept = _around(one.resource_logs.add(), group).scope_logs.add()
    _around(kept, part).log_records.append(record)
    return one.SerializeToString()


def _traces(batch: TracesData, stream: str) -> Records:
    names = {
        (span.trace_id, span.span_id): span.name
        for group in batch.resource_spans
        for part in group.scope_spans
        for span in part.spans
    }
    for group in batch.resource_spans:
        resource = _Resource(group.resource, stream)
        for part in group.scope_spans:
            scope = otlp_events.scope(part.scope)
            for span in part.spans:
                yield _span(span, names, resource, scope), partial(_span_alone, group, part, span)


def _span(span: Span, names: dict[tuple[bytes, bytes], str], resource: "_Resource", scope: dict[str, Any]) -> Made:
    if reason := resource.too_large(span):
        return "too large", reason
    if len(span.trace_id) != 16 or len(span.span_id) != 8:  # also what a batch of another signal looks like
        return "otlp", "a span must have a trace id of 16 bytes and a span id of 8"
    own = attributes(span.attributes)
    parent = names.get((span.trace_id, span.parent_span_id), "") if span.parent_span_id else ""
    event_id = f"{span.trace_id.hex()}/{span.span_id.hex()}".encode()
    event = otlp_events.span(span, own, parent)
    return resource.event(event, scope, span.start_time_unix_nano, own, "traces", event_id=event_id)


def _span_alone(group: Any, part: Any, span: Span) -> bytes:
    one = TracesData()
    kept = _around(one.resource_spans.add(), group).scope_spans.add()
    _around(kept, part).spans.append(span)
    return one.SerializeToString()


def _metrics(batch: MetricsData, stream: str) -> Records:
    for group in batch.resource_metrics:
        resource = _Resource(group.resource, stream)
        for part in group.scope_metrics:
            scope = otlp_events.scope(part.scope)
            for metric in part.metrics:
                head = otlp_points.head(metric)
                for index, point in enumerate(otlp_points.points(metric)):
                    made = _point(point, metric.name, head, resource, scope)
                    yield made, partial(_point_alone, group, part, metric, index)


def _point(
    point: otlp_points.Point, metric: str, head: dict[str, Any], resource: "_Resource", scope: dict[str, Any]
) -> Made:
    if reason := resource.too_large(point):
        return "too large", reason
    own = attributes(point.attributes)
    event = head | otlp_points.members(point) | {"attributes": own}
    return resource.event(event, scope, point.time_unix_nano, own, "metrics", metric)


def _point_alone(group: Any, part: Any, metric: Metric, index: int) -> bytes:
    one = MetricsData()
    kept = _around(one.resource_metrics.add(), group).scope_metrics.add()
    _around(kept, part).metrics.append(otlp_points.only(metric, index))
    return one.SerializeToString()


def _around(kept: Any, of: Any) -> Any:
    """The message with the resource or the scope of another."""
    for name in ("resource", "scope"):
        if name in of.DESCRIPTOR.fields_by_name and of.HasField(name):
            getattr(kept, name).CopyFrom(getattr(of, name))
    return kept


MESSAGES: dict[str, Any] = {"logs": LogsData, "traces": TracesData, "metrics": MetricsData}
_GROUPS: dict[str, Callable[[Any], Any]] = {
    "logs": attrgetter("resource_logs"),
    "traces": attrgetter("resource_spans"),
    "metrics": attrgetter("resource_metrics"),
}
_SCOPES: dict[str, Callable[[Any], Any]] = {
    "logs": attrgetter("scope_logs"),
    "traces": attrgetter("scope_spans"),
    "metrics": attrgetter("scope_metrics"),
}
_READERS: dict[str, Callable[[Any, str], Records]] = {"logs": _logs, "traces": _traces, "metrics": _metrics}


class _Resource:
    """What the records of a resource share."""

    def __init__(self, resource: Resource, stream: str) -> None:
        self._size = resource.ByteSize()
        self.attributes = attributes(resource.attributes) if self._size <= _MAX_BYTES else {}
        name, namespace = (_text(self.attributes.get(key)) for key in ("service.name", "service.namespace"))
        self.service = f"{namespace}.{name}" if namespace and name else name
        self.stream = self.attributes.get(STREAM_ATTRIBUTE, None if stream == DEFAULT_STREAM else stream)

    def too_large(self, record: Message) -> str:
        """Why a record is not looked at at all; nothing where it is."""
        size = self._size + record.ByteSize()
        return f"a record of {size} bytes with its resource: the limit is {_MAX_BYTES}" if size > _MAX_BYTES else ""

    def event(
        self,
        event: dict[str, Any],
        scope: dict[str, Any],
        time: int,
        own: dict[str, Any],
        signal: str,
        metric: str = "",
        event_id: bytes = b"",
    ) -> Made:
        """A record's event: its members, then what it shares with others."""
        stream = own.get(STREAM_ATTRIBUTE, self.stream)
        if stream is None:
            stream = _named(signal, self.service, metric)
        elif reason := _wrong_stream(stream):
            return "stream", reason
        if len(event_id) > MAX_ID_BYTES:
            return "event id", f"the attribute {UID_ATTRIBUTE} has more than {MAX_ID_BYTES} bytes"
        event |= {"scope": scope, "resource": self.attributes, "time": _time(time)}
        try:
            body = orjson.dumps({name: value for name, value in event.items() if value not in ("", {}, [], None)})
        except orjson.JSONEncodeError as error:
            return "otlp", f"a record can't be JSON: {error}"
        if len(body) > MAX_EVENT_BYTES:
            return "too large", f"an event of {len(body)} bytes: the limit is {MAX_EVENT_BYTES}"
        return body, stream, event_id


def _text(value: Any) -> str:
    return value if type(value) is str else ""


def _wrong_stream(stream: Any) -> str:
    if type(stream) is str and 0 < len(stream.encode("utf-8", "replace")) <= MAX_STREAM_BYTES:
        return f"the attribute {STREAM_ATTRIBUTE} has a control character" if _CONTROL_CHARACTERS.search(stream) else ""
    return f"the attribute {STREAM_ATTRIBUTE} must be text of 1 to {MAX_STREAM_BYTES} bytes"


def _time(nanoseconds: int) -> str:
    """A time in UTC; nothing where none is given, or none that a calendar has."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    if not 0 < seconds < _LATEST:
        return ""
    return f"{(_EPOCH + timedelta(seconds=seconds)):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
