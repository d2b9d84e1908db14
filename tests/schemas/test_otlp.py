"""OTLP batches as events: streams, bounds, that no record is lost, and that whatever arrives never raises."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from schemas import otlp
from schemas.otlp import read, stream_name
from schemas.records import describe, wrong_stream
from schemas.records import read as read_record
from schemas.topics import DEFAULT_STREAM, MAX_EVENT_BYTES, MAX_STREAM_BYTES
from tests.schemas.batches import AT, PARENT, SPAN, TRACE, logs, metrics, pairs, traces, value


def test_a_span_without_its_ids_is_none() -> None:
    spans = [Span(trace_id=TRACE, span_id=SPAN), Span(trace_id=TRACE), Span(span_id=SPAN)]
    events, dead = read(traces(*spans).SerializeToString(), "traces")
    assert ([e[0] for e in events], [(d[0], d[1]) for d in dead]) == ([0], [(1, "otlp"), (2, "otlp")])
    # Protobuf does not tell batches of two signals apart: of logs read as traces nothing may become an event.
    events, dead = read(logs(LogRecord(body=value("a log line"), time_unix_nano=AT)).SerializeToString(), "traces")
    assert (events, [d[1] for d in dead]) == ([], ["otlp"])


def test_streams() -> None:
    def stream(header: str = DEFAULT_STREAM, own: Any = None, **resource: Any) -> str:
        record = LogRecord(body=value("x"), attributes=pairs(driftlock__stream=own) if own is not None else [])
        events, dead = read(logs(record, **resource).SerializeToString(), "logs", header)
        return events[0][2] if events else dead[0][1]

    assert stream() == "logs:unknown"
    assert stream(service__name=7) == "logs:unknown"
    odd = [stream(service__name=name) for name in ("a\nb", "a/b", "a_b")]
    assert odd[2] == "logs:a_b"
    assert len(set(odd)) == 3
    assert all(name.startswith("logs:a_b") for name in odd)
    assert stream("web") == "web"
    assert stream("web", driftlock__stream="theirs") == "theirs"
    assert stream("web", own="own", driftlock__stream="theirs") == "own"
    assert [stream(own=bad) for bad in ("", "a\nb", 5, "x" * 129)] == ["stream"] * 4
    long = [stream_name("metrics", "cart", "m" * n) for n in (500, 501)]
    assert long[0] != long[1]
    assert all(len(name) == MAX_STREAM_BYTES for name in long)


def test_a_record_that_is_too_large_is_a_dead_letter_alone_and_can_be_sent_again() -> None:
    small, large = LogRecord(body=value("small")), LogRecord(body=value("x" * MAX_EVENT_BYTES))
    batch = logs(small, large, small, service__name="cart")
    events, dead = read(batch.SerializeToString(), "logs")
    assert [index for index, *_ in events] == [0, 2]
    assert [(index, kind) for index, kind, _, _ in dead] == [(1, "too large")]
    assert LogsData.FromString(dead[0][3]) == logs(large, service__name="cart")


def test_a_resource_that_would_swell_a_batch_is_refused_whole() -> None:
    records = [LogRecord(body=value("x"))] * 2_000
    small = logs(*records, filler="y" * 20_000).SerializeToString()
    assert len(read(small, "logs")[0]) == len(records)
    large = logs(*records, filler="y" * 60_000).SerializeToString()
    events, dead = read(large, "logs")
    assert (events, [(d[0], d[1], d[3]) for d in dead]) == ([], [(0, "too large", large)])
    over = logs(
        *records, filler="y" * 70_000
    ).SerializeToString()  # each record is a dead letter, each with the resource
    events, dead = read(over, "logs")
    assert (events, [d[1] for d in dead]) == ([], ["too many failures"])


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf with its length."""
    size, left = b"", len(content)
    while left >= 128:
        size, left = size + bytes([left & 127 | 128]), left >> 7
    return bytes([number << 3 | 2]) + size + bytes([left]) + content


def test_what_is_no_batch() -> None:
    body = value("x").SerializeToString()
    for _ in range(200):  # protobuf itself does not make such: AnyValue.array_value = 5, ArrayValue.values = 1
        body = field(5, field(1, body))
    deep = field(1, field(2, field(2, field(5, body))))
    for signal, raw, kind in (
        ("logs", b"\xff", "otlp"),
        ("logs", b"{}", "otlp"),
        ("logs", deep, "otlp"),
        ("logs", b"\x0a\x00", "empty"),
        ("metrics", b"\x0a\x00" * (otlp.MAX_GROUPS + 1), "too large"),
        ("metrics", b"\x0a\x00" * otlp.MAX_BATCH_BYTES, "otlp"),
        ("metrics", metrics(*[Metric()] * (otlp.MAX_GROUPS + 1)).SerializeToString(), "too large"),
    ):
        events, dead = read(raw, signal)
        assert (events, [(d[0], d[1], d[3]) for d in dead]) == ([], [(0, kind, raw)]), signal


@pytest.mark.parametrize(
    ("headers", "topic", "kind"),
    [
        ([], "logs", ""),
        ([("content-type", b"application/x-protobuf")], "logs", ""),
        ([("otelcol.signal", b"logs")], "logs", ""),
        ([("otelcol.signal", b"logs")], "", ""),
        ([("otelcol.signal", b"logs"), ("content-type", b"application/x-protobuf")], "", ""),
        ([("otelcol.signal", b"profiles")], "", "signal"),
        ([("otelcol.signal", b"traces")], "logs", "signal"),
        ([("content-type", b"application/json")], "logs", "content-type"),
        ([("content-type", b"application/x-protobuf")], "", "content-type"),
    ],
)
def test_headers_and_topics_say_that_a_record_is_a_batch(
    headers: list[tuple[str, bytes | str | None]], topic: str, kind: str
) -> None:
    raw = logs(LogRecord(body=value("x"))).SerializeToString()
    described = describe(headers, topic)
    events, dead = read_record(raw, described)
    assert not described.usual
    assert ([d[1] for d in dead], len(events)) == (([kind], 0) if kind else ([], 1))


SIGNALS = st.sampled_from(["logs", "traces", "metrics"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=6)
    | st.binary(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", ""]), inner, max_size=2),
    max_leaves=6,
).map(value)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["service.name", "service.namespace", "driftlock.stream", "log.record.uid", "k"]),
    VALUES,
    max_size=3,
).map(lambda said: [KeyValue(key=key, value=of) for key, of in said.items()])
TIMES = st.sampled_from([0, 1, AT, 2**64 - 1])
LOGS = st.builds(
    LogRecord,
    time_unix_nano=TIMES,
    body=VALUES,
    attributes=ATTRIBUTES,
    trace_id=st.binary(max_size=16),
    severity_text=st.text(max_size=3),
)
SPANS = st.builds(
    Span,
    name=st.text(max_size=5),
    trace_id=st.sampled_from([TRACE, b""]),
    span_id=st.sampled_from([SPAN, PARENT, b""]),
    parent_span_id=st.sampled_from([SPAN, PARENT, b""]),
    start_time_unix_nano=TIMES,
    end_time_unix_nano=TIMES,
    attributes=ATTRIBUTES,
)


NUMBERS: st.SearchStrategy[Any] = st.one_of(st.floats(), st.integers(-(2**63), 2**63 - 1))


@st.composite
def batches(draw: st.DrawFn) -> tuple[str, Any, int]:
    """(signal, batch, number of records), several resources and scopes."""
    signal = draw(SIGNALS)
    batch: Any = {"logs": LogsData, "traces": TracesData, "metrics": MetricsData}[signal]()
    count = 0
    several: list[Any]
    for _ in range(draw(st.integers(0, 3))):
        group = {"logs": "resource_logs", "traces": "resource_spans", "metrics": "resource_metrics"}[signal]
        resource = getattr(batch, group).add()
        resource.resource.attributes.extend(draw(ATTRIBUTES))
        if signal == "logs":
            several = draw(st.lists(LOGS, max_size=3))
            resource.scope_logs.add().log_records.extend(several)
        elif signal == "traces":
            several = draw(st.lists(SPANS, max_size=3))
            resource.scope_spans.add().spans.extend(several)
        else:
            metric = resource.scope_metrics.add().metrics.add(name=draw(st.text(max_size=200)))
            several = draw(st.lists(NUMBERS, max_size=3))
            for number in several:
                point = metric.sum.data_points.add(attributes=draw(ATTRIBUTES))
                setattr(point, "as_int" if type(number) is int else "as_double", number)
        count += len(several)
    return signal, batch, count


@given(batches(), st.sampled_from([DEFAULT_STREAM, "web"]))
def test_each_record_is_an_event_or_a_dead_letter(made: tuple[str, Any, int], stream: str) -> None:
    signal, batch, count = made
    raw = batch.SerializeToString()
    events, dead = read(raw, signal, stream)
    assert read(raw, signal, stream) == (events, dead)
    if count == 0:
        assert [d[1] for d in dead] == ["empty"]
        return
    assert sorted([e[0] for e in events] + [d[0] for d in dead]) == list(range(count))
    for _, body, name, _ in events:
        assert type(orjson.loads(body)) is dict
        assert wrong_stream(name) == ""
    for _, kind, reason, alone in dead:
        again, (refused,) = read(alone, signal, stream)
        assert (again, refused[:3]) == ([], (0, kind, reason))


@given(st.binary(max_size=300), SIGNALS)
def test_whatever_arrives_never_raises(raw: bytes, signal: str) -> None:
    events, dead = read(raw, signal)
    assert events or dead
