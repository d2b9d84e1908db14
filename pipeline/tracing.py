"""Traces of our own: an event's way through our processes, in the trace that its sender began (W3C traceparent).

With OTLP_ENDPOINT a trace is followed where its sender asked for it by the sampled flag; we begin none of our own, so nobody pays
for spans that nobody asked for. Without, spans only give ids to the lines of logs. A step has a span for each trace that it carries on, for the
first MOST of them; they go to the collector in the background, and are dropped rather than waited for.

`traceparent` in a record → span of the step → `traceparent` in what the step writes: API (publish) → packer (pack) → worker (score) → sinks
(store) and their statements in PostgreSQL. A frame keeps the contexts as they came, so that the same records give the same frames: pack and
score are siblings.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.settings import Settings
from schemas.topics import TRACE_HEADER

MOST = 100
"""Traces that a step carries on, of those that come together: the others lack that step."""

_EXPORT_S = 5.0
_CONTEXT = TraceContextTextMapPropagator()


class Following(TracerProvider):
    """A provider whose spans go somewhere."""


class WithoutAddress(SpanProcessor):
    """Takes the path and the query out of a request's span, whose route says enough: a link that was mailed has a secret there."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:  # noqa: ARG002 the SDK's
        """Before anybody sees the span."""
        for name in ("url.path", "url.query"):
            if name in (span.attributes or ()):
                span.set_attribute(name, "")


def configure(settings: Settings, process: str) -> None:
    """Make spans with ids that logs show, and send those of followed traces; statements to PostgreSQL are spans of their own."""
    resource = Resource.create({"service.name": f"driftlock-{process}", "deployment.environment": settings.environment})
    if settings.otlp_endpoint:
        provider: TracerProvider = Following(ParentBased(ALWAYS_OFF), resource)
        exporter = OTLPSpanExporter(f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_S)
        provider.add_span_processor(WithoutAddress())
        provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=1_000, export_timeout_millis=_EXPORT_S * 1000)
        )
    else:
        provider = TracerProvider(ALWAYS_OFF, resource)  # a span that nobody will see has ids, and costs little more
    trace.set_tracer_provider(provider)
    PsycopgInstrumentor().instrument(skip_dep_check=True)


@contextmanager
def following(
    name: str,
    traces: Iterable[str | None],
    kind: SpanKind = SpanKind.CONSUMER,
    since_ms: int | None = None,
    attributes: Mapping[str, str | int] | None = None,
) -> Iterator[dict[str, Span]]:
    """The spans of a step by the context that each goes on from; the first is the current one. They end with the block.

    `since_ms`: when the step's input was written, if the time it lay there is to be seen.
    """
    spans: dict[str, Span] = {}
    provider = trace.get_tracer_provider()
    if isinstance(provider, Following):
        tracer = provider.get_tracer("driftlock")
        start = None if since_ms is None else since_ms * 1_000_000
        for given in traces:
            if given and given not in spans and given[-1] in "13579bdf" and len(spans) < MOST:
                parent = _CONTEXT.extract({TRACE_HEADER: given})
                spans[given] = tracer.start_span(name, parent, kind, attributes, start_time=start)
    try:
        if spans:
            with trace.use_span(next(iter(spans.values())), end_on_exit=False):
                yield spans
        else:
            yield spans
    finally:
        for span in spans.values():
            span.end()


def carried(spans: Mapping[str, Span], given: str | None) -> str | None:
    """The context to write on: that of the step's span, else the one that came."""
    if given is None or given not in spans:
        return given
    carrier: dict[str, str] = {}
    _CONTEXT.inject(carrier, trace.set_span_in_context(spans[given]))
    return carrier.get(TRACE_HEADER, given)
