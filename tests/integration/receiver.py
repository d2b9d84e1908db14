"""A real HTTP receiver of webhooks on loopback, which does what a test says: statuses, silence, drips, floods, redirects."""

import base64
import hmac
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from pipeline.embedded.ports import LOOPBACK


@dataclass(frozen=True)
class Request:
    """One that came in; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """What names the message."""
        return self.headers.get("webhook-id", "")

    @property
    def said(self) -> Any:
        """The body, read."""
        return orjson.loads(self.body)


Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer with a status."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def drip(handler: BaseHTTPRequestHandler) -> None:
    """An answer that never ends, a byte at a time."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b".")
        handler.wfile.flush()
        time.sleep(0.02)  # the pace of what trickles is what is tried here


def flood(handler: BaseHTTPRequestHandler) -> None:
    """An answer without end, as fast as it is taken."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65_536)


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    """No HTTP."""
    handler.wfile.write(b"hello\r\n\r\n")
    handler.close_connection = True


@dataclass
class Receiver:
    """What came in, and what is answered: the first of `answers`, else 204."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    always: Answer = field(default_factory=lambda: status(204))
    names: list[str | None] = field(default_factory=list)

    def url(self, path: str = "/hook", host: str = LOOPBACK, scheme: str = "http") -> str:
        """Its address."""
        return f"{scheme}://{host}:{self.port}{path}"


def good(request: Request, secret: str) -> bool:
    """Whether one of a request's signatures is a secret's, checked as the standard's own libraries do."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{request.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    wanted = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return any(hmac.compare_digest(one, f"v1,{wanted}") for one in request.headers["webhook-signature"].split(" "))


@contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver that listens until the end of the block."""
    made = Receiver()

    class Incoming(BaseHTTPRequestHandler):
        """One connection."""

        timeout = 20

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            made.requests.append(Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            try:
                (made.answers.pop(0) if made.answers else made.always)(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        """Says nothing of connections that end."""

        daemon_threads = True

        def handle_error(self, *_args: object) -> None:
            """Nothing: a client that leaves is what is tried."""

    server = Quiet((LOOPBACK, 0), Incoming)
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: made.names.append(name)
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made.port = int(server.server_address[1])
    thread = threading.Thread(target=lambda: server.serve_forever(0.05), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
