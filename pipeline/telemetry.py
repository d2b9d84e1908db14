"""What every process says of itself: JSON logs, and /healthz, /readyz, /metrics on a port of its own.

A log line holds names, counts, ids and a trace id, never a payload: no function here takes one.
"""

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipeline import tracing
from schemas.settings import Settings

Checks = Mapping[str, Callable[[], str]]
"""Name of a check → a function that says what is wrong, in one line, or nothing."""


def _trace_context(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", format(context.trace_id, "032x"))
    return event


class Once(logging.Filter):
    """Lets a line of librdkafka pass once in ten seconds: while a broker is down each client repeats itself many times a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, seconds: float = 10.0) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is new, numbers apart."""
        kind = re.sub(r"\d+", "", record.getMessage())[:120]
        now = self._clock()
        if now - self._last.get(kind, float("-inf")) < self._seconds:
            return False
        if len(self._last) > 1_000:
            self._last.clear()
        self._last[kind] = now
        return True


_once = Once()


def configure_logging(settings: Settings, process: str) -> None:
    """Log one JSON object a line to standard error, our own lines and those of libraries alike."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _trace_context,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=json.dumps, default=str),
        ],
    )
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [stream]
    root.setLevel(settings.log_level.upper())
    for noisy in ("aiokafka", "faust", "kafka", "asyncio", "mode", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("pipeline.kafka").addFilter(_once)
    structlog.contextvars.bind_contextvars(process=process, environment=settings.environment)


def configure(settings: Settings, process: str) -> None:
    """Logging and tracing of a process."""
    configure_logging(settings, process)
    tracing.configure(settings, process)


def serve(settings: Settings, checks: Checks, alive: Checks = MappingProxyType({})) -> int:
    """Serve /healthz, /readyz and /metrics in a daemon thread; returns the port.

    /readyz is 503, with the reasons, while one of `checks` fails; /healthz while one of `alive` does: then a restart helps.
    """

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress_instrumentation():
                if self.path == "/healthz":
                    hung = {name: said for name, check in alive.items() if (said := check())}
                    body = json.dumps({"status": "stuck", "failing": hung}).encode() if hung else b'{"status":"ok"}'
                    self._say(503 if hung else 200, "application/json", body)
                elif self.path == "/readyz":
                    wrong = {name: said for name, check in checks.items() if (said := check())}
                    body = json.dumps({"status": "not ready" if wrong else "ready", "failing": wrong}).encode()
                    self._say(503 if wrong else 200, "application/json", body)
                elif self.path == "/metrics":
                    self._say(200, CONTENT_TYPE_LATEST, generate_latest())
                else:
                    self._say(404, "application/json", b'{"title":"not found"}')

        def _say(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Scrapes are not logged."""

    server = ThreadingHTTPServer((settings.host, settings.metrics_port), Answer)
    threading.Thread(target=server.serve_forever, daemon=True, name="metrics").start()
    port = server.server_address[1]
    structlog.get_logger("pipeline.telemetry").info("serving", port=port, paths=["/healthz", "/readyz", "/metrics"])
    return int(port)
