"""OTLP's JSON becomes the same protobuf, with ids in hexadecimal; whatever else arrives is refused in a line."""

from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from pipeline.api.otlp_json import MAX_PARTS, to_protobuf
from schemas import otlp

TRACE, SPAN = bytes(range(160, 176)).hex(), bytes(range(200, 208)).hex()
SPANS = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "traceId", "value": {"stringValue": "no id"}}]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": TRACE,
                            "spanId": SPAN.upper(),
                            "parentSpanId": "",
                            "name": "GET /",
                            "kind": 2,
                            "startTimeUnixNano": "1544712660000000000",
                            "endTimeUnixNano": 1544712661000000000,
                            "links": [{"traceId": TRACE, "spanId": SPAN}],
                            "unknown": {"a": 1},
                        }
                    ]
                }
            ],
        }
    ]
}


def test_ids_are_hexadecimal() -> None:
    message = TracesData.FromString(to_protobuf(orjson.dumps(SPANS), "traces"))
    (span,) = message.resource_spans[0].scope_spans[0].spans
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id) == (TRACE, SPAN, b"")
    assert span.links[0].trace_id.hex() == TRACE
    assert (span.end_time_unix_nano - span.start_time_unix_nano, int(span.kind)) == (10**9, 2)
    (attribute,) = message.resource_spans[0].resource.attributes
    assert attribute.value.string_value == "no id"


def test_every_kind_of_metric_comes_through() -> None:
    message = MetricsData()
    metrics = message.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="a").gauge.data_points.add(as_int=-(2**63), time_unix_nano=2**63)
    metrics.add(name="b").histogram.data_points.add(count=2, sum=0.1, explicit_bounds=[1], bucket_counts=[1, 1])
    metrics.add(name="c").summary.data_points.add(count=1).quantile_values.add(quantile=0.5, value=1.5)
    said = json_format.MessageToJson(message).encode()
    assert MetricsData.FromString(to_protobuf(said, "metrics")) == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"resourceLogs": 5}',
        b'{"resourceLogs": {"a": 1}}',
        b'{"resourceLogs": [5]}',
        b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"traceId": "xyz"}]}]}]}',
        b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "soon"}]}]}]}',
        b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": -1}]}]}]}',
        b'{"resourceLogs":' * 500 + b"1" + b"}" * 500,
        b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": '
        + b'{"arrayValue":{"values":[' * 200
        + b'{"intValue":1}'
        + b"]}}" * 200
        + b"}]}]}]}",
        b'{"resourceLogs": [' + b"{}," * MAX_PARTS + b"{}]}",
    ],
)
def test_what_is_no_batch_is_refused_in_a_line(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]{5,400}\Z"):
        to_protobuf(body, "logs")


NAMES = st.sampled_from(
    [
        "resourceLogs",
        "scopeLogs",
        "logRecords",
        "body",
        "traceId",
        "attributes",
        "key",
        "value",
        "stringValue",
        "kvlistValue",
    ]
)
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(ODD.map(lambda inner: {"resourceLogs": inner}) | ODD)
def test_whatever_arrives_is_a_batch_or_a_reason(value: Any) -> None:
    try:
        raw = to_protobuf(orjson.dumps(value), "logs")
    except ValueError:
        return
    events, dead = otlp.read(raw, "logs")
    assert events or dead
