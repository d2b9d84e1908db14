"""What a log record and a span become."""

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.schemas.batches import AT, PARENT, SPAN, TRACE, logs, pairs, told, traces, value


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
    assert (stream, event_id) == ("logs:shop.cart", b"u-1")
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
    assert (stream, first_id) == ("traces:cart", f"{TRACE.hex()}/{PARENT.hex()}".encode())
    assert (first["name"], first["kind"], first["duration_ns"]) == ("GET /cart", "server", 7_000)
    assert {"parent", "status", "attributes"}.isdisjoint(first)
    assert second["parent"] == "GET /cart"
    assert second["duration_ns"] == -9  # two clocks
    assert (second["status"], second["status_message"]) == ("error", "timed out")
    assert second["events"] == [{"name": "exception", "attributes": {"type": "Timeout"}}]
    assert second["links"] == [{"trace_id": (PARENT * 2).hex(), "span_id": SPAN.hex()}]
