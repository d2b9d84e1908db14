"""OTLP batches for tests, and what they become."""

from typing import Any

import orjson
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from schemas.otlp import read

AT = 1_772_447_820_123_456_789
TRACE, SPAN, PARENT = bytes(range(16)), bytes(range(8)), bytes(range(8, 16))


def pairs(**said: Any) -> list[KeyValue]:
    """Attributes; `__` is a dot."""
    return [KeyValue(key=key.replace("__", "."), value=value(of)) for key, of in said.items()]


def value(of: Any) -> AnyValue:  # noqa: PLR0911 a table of cases
    match of:
        case bool():
            return AnyValue(bool_value=of)
        case int():
            return AnyValue(int_value=of)
        case float():
            return AnyValue(double_value=of)
        case bytes():
            return AnyValue(bytes_value=of)
        case list():
            return AnyValue(array_value=ArrayValue(values=map(value, of)))
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=pairs(**of)))
        case None:
            return AnyValue()
        case _:
            return AnyValue(string_value=str(of))


def logs(*records: LogRecord, **resource: Any) -> LogsData:
    batch = LogsData()
    group = batch.resource_logs.add()
    group.resource.attributes.extend(pairs(**resource))
    group.scope_logs.add().log_records.extend(records)
    return batch


def traces(*spans: Span, **resource: Any) -> TracesData:
    batch = TracesData()
    group = batch.resource_spans.add()
    group.resource.attributes.extend(pairs(**resource))
    group.scope_spans.add().spans.extend(spans)
    return batch


def metrics(*several: Metric, **resource: Any) -> MetricsData:
    batch = MetricsData()
    group = batch.resource_metrics.add()
    group.resource.attributes.extend(pairs(**resource))
    group.scope_metrics.add().metrics.extend(several)
    return batch


def told(batch: Message, signal: str) -> list[tuple[dict[str, Any], str, bytes]]:
    """(event, stream, producer's id) of a batch in which all is right."""
    events, dead = read(batch.SerializeToString(), signal)
    assert dead == []
    assert [index for index, *_ in events] == list(range(len(events)))
    return [(orjson.loads(body), stream, event_id) for _, body, stream, event_id in events]
