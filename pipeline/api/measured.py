"""Requests counted: how many, how they were answered, how long until the answer began (RED). For the API and the console."""

import time

from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.metrics import counter, gauge, histogram

REQUESTS = counter("driftlock_http_requests_total")
SECONDS = histogram("driftlock_http_request_seconds")
IN_FLIGHT = gauge("driftlock_http_requests_in_flight")

QUIET = TelemetryConfig(metrics=False, logs=False, operation_spans=False)
"""What FastAPI says of a request by itself: its span, no more. Errors are logged by us, without what was sent."""

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Measured:
    """Counts each request by its route's template, never by its path; a stream's time ends where its answer begins."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                SECONDS.labels(_route(scope)).observe(time.monotonic() - began)
            await send(message)

        with IN_FLIGHT.track_inprogress():
            try:
                await self._app(scope, receive, sending)
            finally:
                method = scope["method"] if scope["method"] in _METHODS else "other"
                REQUESTS.labels(method, _route(scope), str(status)).inc()


def _route(scope: Scope) -> str:
    """The template of the route that was found, `/static` for what is mounted there, else none."""
    found = getattr(scope.get("route"), "path", None)
    if found is None and scope.get("root_path") == "/static":
        return "/static"
    return str(found) if found else "none"
