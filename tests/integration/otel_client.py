"""Telemetry by OpenTelemetry's own Python SDK, over OTLP/HTTP."""

import time
from collections.abc import Mapping

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

RESOURCE = Resource.create({"service.name": "sdk", "host.name": "h1"})
SERIES = 500
"""Sets of attributes of the one metric, at most: an export has a point of each."""

_AT_ONCE = 2_048


def sent_by_sdk(
    base: str,
    headers: Mapping[str, str],
    *,
    logs: int,
    spans: int,
    points: int,
    name: str = "",
    timeout_s: float = 60,
) -> None:
    """Send so much, and return when whoever takes it has acknowledged all.

    `name` is of this call's log records alone, in their uid. More points than SERIES must be a multiple of it.
    """
    packed, given = Compression.Gzip, dict(headers)
    log_exporter = OTLPLogExporter(f"{base}/v1/logs", headers=given, timeout=timeout_s, compression=packed)
    _logs(log_exporter, name, logs, timeout_s)
    span_exporter = OTLPSpanExporter(f"{base}/v1/traces", headers=given, timeout=timeout_s, compression=packed)
    _spans(span_exporter, spans, timeout_s)
    point_exporter = OTLPMetricExporter(f"{base}/v1/metrics", headers=given, timeout=timeout_s, compression=packed)
    _points(point_exporter, points, timeout_s)


def _logs(exporter: OTLPLogExporter, name: str, count: int, timeout_s: float) -> None:
    provider = LoggerProvider(RESOURCE)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_queue_size=2 * _AT_ONCE))
    logger = provider.get_logger("test")
    for n in range(count):
        logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.INFO,
                body=f"user {n} put an item into cart {n % 97}",
                attributes={"log.record.uid": f"{name}/{n}", "user.id": n},
            )
        )
        if n % _AT_ONCE == _AT_ONCE - 1:
            assert provider.force_flush(int(timeout_s * 1000))
    assert provider.force_flush(int(timeout_s * 1000))
    provider.shutdown()


def _spans(exporter: OTLPSpanExporter, count: int, timeout_s: float) -> None:
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2 * _AT_ONCE))
    tracer = provider.get_tracer("test")
    for n in range(count):
        tracer.start_span(f"GET /cart/{n % 3}", attributes={"n": n}).end()
        if n % _AT_ONCE == _AT_ONCE - 1:
            assert provider.force_flush(int(timeout_s * 1000))
    assert provider.force_flush(int(timeout_s * 1000))
    provider.shutdown()


def _points(exporter: OTLPMetricExporter, count: int, timeout_s: float) -> None:
    series = min(count, SERIES)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False)
    gauge = provider.get_meter("test").create_gauge("queue.length", "1")
    for n in range(0, count, max(series, 1)):
        for k in range(series):
            gauge.set((n + 7 * k) % 50, {"queue": f"q{k}"})
        assert provider.force_flush(int(timeout_s * 1000))
    # Its last collection at shutdown would send every point once more.
    exporter.shutdown()
    provider.shutdown()
