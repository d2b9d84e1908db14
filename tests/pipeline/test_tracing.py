"""Spans of a step: for the traces that their senders follow, each from where it came, and bounded."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from pipeline import tracing


def context(number: int, flags: str = "01") -> str:
    return f"00-{number:032x}-{number:016x}-{flags}"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = tracing.Following(ParentBased(ALWAYS_OFF))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def test_a_step_goes_on_from_each_trace_once(kept: InMemorySpanExporter) -> None:
    given = [context(1), None, context(2), context(1), context(3, "00"), ""]
    with tracing.following("step", given, since_ms=5_000, attributes={"frame": 7}) as spans:
        assert list(spans) == [context(1), context(2)]
        assert trace.get_current_span() is spans[context(1)]
        on = tracing.carried(spans, context(1))
        assert on is not None
        assert on.split("-")[1] == f"{1:032x}"
        assert on.split("-")[2] != f"{1:016x}"
        assert tracing.carried(spans, context(3, "00")) == context(3, "00")
        assert tracing.carried(spans, None) is None
        assert kept.get_finished_spans() == ()
    found = kept.get_finished_spans()
    assert [span.parent.span_id for span in found if span.parent] == [1, 2]
    assert {(span.name, span.start_time, dict(span.attributes or {})["frame"]) for span in found} == {
        ("step", 5_000_000_000, 7)
    }


def test_an_error_ends_the_spans_too(kept: InMemorySpanExporter) -> None:
    with pytest.raises(ZeroDivisionError), tracing.following("step", [context(1), context(2)]):
        raise ZeroDivisionError
    assert len(kept.get_finished_spans()) == 2


def test_spans_of_a_step_are_bounded(kept: InMemorySpanExporter) -> None:
    with tracing.following("step", map(context, range(1, 1_000))) as spans:
        assert len(spans) == tracing.MOST
    assert len(kept.get_finished_spans()) == tracing.MOST


def test_without_an_endpoint_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", TracerProvider)
    with tracing.following("step", [context(1)]) as spans:
        assert spans == {}
        assert tracing.carried(spans, context(1)) == context(1)
