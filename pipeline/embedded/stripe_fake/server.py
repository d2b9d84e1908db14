"""The fake as an HTTP server on loopback: reads a request, asks, answers or drops the connection."""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from pipeline.embedded.stripe_fake import control
from pipeline.embedded.stripe_fake.api import Answer, Request, answer, tick
from pipeline.embedded.stripe_fake.errors import ApiError
from pipeline.embedded.stripe_fake.sandbox import Sandbox

MOST_BODY = 1 << 20
"""Bytes of a request."""
HOST = "127.0.0.1"


class FakeServer(ThreadingHTTPServer):
    """Holds the sandbox; one lock makes each request atomic, as rows' locks do at Stripe."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, box: Sandbox, port: int) -> None:
        self.box = box
        self.lock = threading.Lock()
        box.ticks[:] = [tick]
        super().__init__((HOST, port), _Http)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one segment: two would wait 40 ms for each other
    server: FakeServer

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        asked = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if length > MOST_BODY:
            self._say(Answer(413, b'{"error":{"type":"invalid_request_error","message":"too large"}}'))
            self.close_connection = True
            return
        body = self.rfile.read(length).decode("utf-8", "replace")
        if asked.path.startswith("/_fake/"):
            self._say(self._control(asked.path, body))
            return
        form = asked.query if self.command == "GET" else body
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        request = Request(self.command, asked.path, form, key, self.headers.get("Idempotency-Key", ""))
        with self.server.lock:
            made = answer(self.server.box, request)
            jobs = [] if self.server.box.webhooks.hold else control.due(self.server.box)
        if jobs:
            threading.Thread(target=control.deliver_all, args=(jobs,), daemon=True).start()
        if made.status == 0:
            time.sleep(made.hang)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._say(made)

    def _control(self, path: str, body: str) -> Answer:
        box = self.server.box
        try:
            said = _object(body)
            if (self.command, path) == ("POST", "/_fake/webhooks/deliver"):
                with self.server.lock:
                    jobs = control.due(box, said)
                return _json(200, control.deliver_all(jobs))
            run = control.CONTROLS.get((self.command, path))
            if run is None:
                return _json(404, {"error": f"no control {self.command} {path}"})
            with self.server.lock:
                return _json(200, run(box, said))
        except (ValueError, KeyError, TypeError) as error:
            return _json(400, {"error": str(error)})
        except ApiError as error:
            return _json(error.status, error.body())

    def _say(self, made: Answer) -> None:
        self.send_response(made.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(made.body)))
        self.send_header("Request-Id", f"req_{threading.get_ident():x}"[:20])
        for name, value in made.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(made.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are kept in the sandbox's log."""


def _object(body: str) -> dict[str, Any]:
    said = json.loads(body) if body else {}
    if not isinstance(said, dict):
        raise TypeError("a JSON object is needed")
    return said


def _json(status: int, content: Any) -> Answer:
    return Answer(status, json.dumps(content).encode())


@contextmanager
def running(box: Sandbox, port: int = 0) -> Iterator[FakeServer]:
    """Serve in a thread of this process; port 0 is any free one."""
    server = FakeServer(box, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
