"""OTLP batches as events: what each kind of record becomes, that none is lost, and that whatever arrives never raises."""

from typing import Any

import orjson
import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData, SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from schemas import otlp
from schemas.otlp import read, stream_name
from schemas.records import describe
from schemas.records import read as read_record
from schemas.topics import DEFAULT_STREAM, MAX_EVENT_BYTES, MAX_STREAM_BYTES

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


def test_a_log_record() -> None:
    record = LogRecord(
        time_unix_nano=AT,
        severity_number=SeverityNumber.SEVERITY_NUMBER_ERROR,
        severity_text="error",
        body=value("disk full"),
        event_name="disk.full",
        attributes=pairs(
            log__record__uid="u-1", code=5, ratio=0.5, nan=float("nan"), raw=b"\xff\x00", deep={"a": [1, None]}
        ),
        trace_id=TRACE,
        span_id=SPAN,
    )
    batch = logs(record, service__name="cart", service__namespace="shop", host__name="h1")
    batch.resource_logs[0].scope_logs[0].scope.name = "app.disk"
    ((event, stream, event_id),) = told(batch, "logs")
    assert (stream, event_id) == ("logs/shop.cart", b"u-1")
    assert event == {
        "body": "disk full",
        "severity": "error",
        "event_name": "disk.full",
        "attributes": {
            "log.record.uid": "u-1",
            "code": 5,
            "ratio": 0.5,
            "nan": "NaN",
            "raw": "ff00",
            "deep": {"a": [1, None]},
        },
        "trace_id": TRACE.hex(),
        "span_id": SPAN.hex(),
        "scope": {"name": "app.disk"},
        "resource": {"service.name": "cart", "service.namespace": "shop", "host.name": "h1"},
        "time": "2026-03-02T10:37:00.123456789Z",
    }
    assert next(iter(event)) == "body"  # what tells most comes first: the detector looks at so many tokens of an event


@pytest.mark.parametrize(
    ("number", "text", "severity", "kept"),
    [
        (9, "", "INFO", None),
        (12, "", "INFO4", None),
        (9, "notice", "notice", 9),
        (0, "x", "x", None),
        (99, "", None, 99),
    ],
)
def test_a_severity(number: int, text: str, severity: str | None, kept: int | None) -> None:
    batch = logs(LogRecord(severity_text=text, body=value("x")))
    batch.resource_logs[0].scope_logs[0].log_records[0].severity_number = number  # type: ignore[assignment]
    ((event, _, _),) = told(batch, "logs")
    assert (event.get("severity"), event.get("severity_number")) == (severity, kept)


def test_spans_know_their_parent_within_the_batch() -> None:
    root = Span(
        trace_id=TRACE,
        span_id=PARENT,
        name="GET /cart",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=AT,
        end_time_unix_nano=AT + 7_000,
    )
    child = Span(
        trace_id=TRACE,
        span_id=SPAN,
        parent_span_id=PARENT,
        name="SELECT",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=AT + 9,
        end_time_unix_nano=AT,
        attributes=pairs(db__system="postgresql"),
        events=[Span.Event(name="exception", attributes=pairs(type="Timeout"))],
        links=[Span.Link(trace_id=PARENT * 2, span_id=SPAN)],
    )
    child.status.code, child.status.message = 2, "timed out"  # type: ignore[assignment]
    (first, stream, first_id), (second, _, _) = told(traces(root, child, service__name="cart"), "traces")
    assert (stream, first_id) == ("traces/cart", f"{TRACE.hex()}/{PARENT.hex()}".encode())
    assert (first["name"], first["kind"], first["duration_ns"]) == ("GET /cart", "server", 7_000)
    assert {"parent", "status", "attributes"}.isdisjoint(first)
    assert second["parent"] == "GET /cart"
    assert second["duration_ns"] == -9  # two clocks
    assert (second["status"], second["status_message"]) == ("error", "timed out")
    assert second["events"] == [{"name": "exception", "attributes": {"type": "Timeout"}}]
    assert second["links"] == [{"trace_id": (PARENT * 2).hex(), "span_id": SPAN.hex()}]


def test_a_span_without_its_ids_is_none() -> None:
    spans = [Span(trace_id=TRACE, span_id=SPAN), Span(trace_id=TRACE), Span(span_id=SPAN)]
    events, dead = read(traces(*spans).SerializeToString(), "traces")
    assert ([e[0] for e in events], [(d[0], d[1]) for d in dead]) == ([0], [(1, "otlp"), (2, "otlp")])
    # Protobuf does not tell batches of two signals apart: of logs read as traces nothing may become an event.
    events, dead = read(logs(LogRecord(body=value("a log line"), time_unix_nano=AT)).SerializeToString(), "traces")
    assert (events, [d[1] for d in dead]) == ([], ["otlp"])


def test_metric_points() -> None:
    gauge = Metric(name="cpu", unit="%")
    gauge.gauge.data_points.add(as_double=12.5, time_unix_nano=AT, attributes=pairs(core=0))
    gauge.gauge.data_points.add(as_int=-3)
    gauge.gauge.data_points.add(flags=1)
    total = Metric(name="requests")
    total.sum.aggregation_temporality, total.sum.is_monotonic = 2, True  # type: ignore[assignment]
    total.sum.data_points.add(as_int=5)
    spread = Metric(name="latency", unit="s")
    spread.histogram.aggregation_temporality = 1  # type: ignore[assignment]
    spread.histogram.data_points.add(
        count=6, sum=4.5, min=0.1, max=3.0, explicit_bounds=[0.5, 1], bucket_counts=[3, 2, 1]
    )
    scaled = Metric(name="size")
    point = scaled.exponential_histogram.data_points.add(count=3, scale=2, zero_count=1)
    point.positive.offset = -1
    point.positive.bucket_counts.extend([0, 2])
    old = Metric(name="old")
    old.summary.data_points.add(count=9, sum=float("inf")).quantile_values.add(quantile=0.99, value=7.0)
    events = told(metrics(gauge, total, spread, scaled, old, Metric(name="none"), service__name="cart"), "metrics")
    assert [stream for _, stream, _ in events] == [
        f"metrics/cart/{n}" for n in ("cpu", "cpu", "cpu", "requests", "latency", "size", "old")
    ]
    shared = {"resource": {"service.name": "cart"}}
    assert [event for event, _, _ in events] == [
        shared | said
        for said in (
            {
                "metric": "cpu",
                "unit": "%",
                "type": "gauge",
                "value": 12.5,
                "attributes": {"core": 0},
                "time": "2026-03-02T10:37:00.123456789Z",
            },
            {"metric": "cpu", "unit": "%", "type": "gauge", "value": -3},
            {"metric": "cpu", "unit": "%", "type": "gauge", "no_recorded_value": True},
            {"metric": "requests", "type": "sum", "temporality": "cumulative", "monotonic": True, "value": 5},
            {
                "metric": "latency",
                "unit": "s",
                "type": "histogram",
                "temporality": "delta",
                "count": 6,
                "sum": 4.5,
                "min": 0.1,
                "max": 3.0,
                "buckets": {"0.5": 3, "1": 2, "Infinity": 1},
            },
            {
                "metric": "size",
                "type": "exponential_histogram",
                "count": 3,
                "scale": 2,
                "zero_count": 1,
                "positive": {"0": 2},
            },
            {"metric": "old", "type": "summary", "count": 9, "sum": "Infinity", "quantiles": {"0.99": 7.0}},
        )
    ]


def test_streams() -> None:
    def stream(header: str = DEFAULT_STREAM, own: Any = None, **resource: Any) -> str:
        record = LogRecord(body=value("x"), attributes=pairs(driftlock__stream=own) if own is not None else [])
        events, dead = read(logs(record, **resource).SerializeToString(), "logs", header)
        return events[0][2] if events else dead[0][1]

    assert stream() == "logs/unknown"
    assert stream(service__name=7) == "logs/unknown"
    assert stream(service__name="a\nb") == "logs/a_b"
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
        assert 0 < len(name.encode()) <= MAX_STREAM_BYTES
        assert name.isprintable() or name == "".join(name.splitlines())
    for _, kind, reason, alone in dead:
        again, (refused,) = read(alone, signal, stream)
        assert (again, refused[:3]) == ([], (0, kind, reason))


@given(st.binary(max_size=300), SIGNALS)
def test_whatever_arrives_never_raises(raw: bytes, signal: str) -> None:
    events, dead = read(raw, signal)
    assert events or dead
