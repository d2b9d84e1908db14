"""The reverse proxy's configuration, run: TLS, redirects, what is hidden, what streams, and the edge that takes webhooks alone."""

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from pipeline.embedded import deployment, process
from pipeline.embedded.ports import LOOPBACK, free_ports
from tests.deploy.compose import ROOT
from tests.stack.fixtures import scratch
from tests.stack.providers import needed

FILE = ROOT / "deploy" / "caddy" / "Caddyfile"
GO_ON = threading.Event()


class Upstream(BaseHTTPRequestHandler):
    """Says what it was asked; a stream sends its second half when the test has seen the first."""

    def do_GET(self) -> None:
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"data: first\n\n")
            self.wfile.flush()
            GO_ON.wait(20)
            self.wfile.write(b"data: second\n\n")
            return
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        body = f"{self.command} {self.path} {self.headers.get('X-Organization-Id')} {length}".encode()
        self.send_response(200)
        self.send_header("Server", "upstream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 the server's own naming

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@dataclass(frozen=True)
class Proxy:
    """A running proxy: its ports, and a client that trusts it."""

    http: int
    https: int
    client: httpx.Client

    def request(self, method: str, host: str, path: str, content: bytes = b"", organization: str = "") -> httpx.Request:
        """A request to one of the names, at the proxy's own address."""
        name = f"{host}.localhost"
        return self.client.build_request(
            method,
            f"https://{LOOPBACK}:{self.https}{path}",
            content=content,
            headers={"Host": name, "X-Organization-Id": organization},
            extensions={"sni_hostname": name},
        )

    def ask(self, method: str, host: str, path: str, content: bytes = b"", organization: str = "") -> httpx.Response:
        """Its answer."""
        return self.client.send(self.request(method, host, path, content, organization))


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    program = needed(deployment.caddy) / "caddy"
    server = ThreadingHTTPServer((LOOPBACK, 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    upstream = f"{LOOPBACK}:{server.server_address[1]}"
    with scratch() as folder:
        plain, secure = free_ports(2)
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "HTTP_PORT": str(plain),
            "HTTPS_PORT": str(secure),
            "CERTIFICATES": "internal",
            "API_UPSTREAM": upstream,
            "CONSOLE_UPSTREAM": upstream,
        }
        words = ["run", "--adapter", "caddyfile", "--config", str(FILE)]
        child = process.start("caddy", [program, *words], log=folder / "caddy.log", env=environ)
        root = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        try:
            process.wait_ready(child, lambda: root.exists() and _listens(secure) and _listens(plain), timeout_s=60)
            with httpx.Client(verify=ssl.create_default_context(cafile=str(root)), timeout=20) as client:
                yield Proxy(plain, secure, client)
        finally:
            process.stop(child, grace_s=5)
            server.shutdown()
            server.server_close()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def test_plain_http_is_sent_to_tls(proxy: Proxy) -> None:
    answer = httpx.get(f"http://{LOOPBACK}:{proxy.http}/v1/version", headers={"Host": "api.localhost"}, timeout=20)
    assert answer.status_code == 308
    assert answer.headers["location"].startswith("https://api.localhost")


@pytest.mark.parametrize("host", ["api", "console"])
def test_requests_pass_with_a_certificate_of_their_name(proxy: Proxy, host: str) -> None:
    answer = proxy.ask("GET", host, "/v1/version?x=1", organization="another's")
    assert answer.status_code == 200
    assert answer.text.startswith("GET /v1/version?x=1 ")
    assert ("another's" in answer.text) is (host == "console")  # the console reads no such header
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert "server" not in answer.headers


@pytest.mark.parametrize("host", ["api", "console", "hooks"])
@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
def test_what_is_for_inside_is_not_shown(proxy: Proxy, host: str, path: str) -> None:
    assert proxy.ask("GET", host, path).status_code == 404


def test_the_edge_takes_webhooks_alone(proxy: Proxy) -> None:
    assert proxy.ask("POST", "hooks", "/webhooks/stripe", b"{}").text == "POST /webhooks/stripe  2"
    assert proxy.ask("GET", "hooks", "/webhooks/stripe").status_code == 404
    assert proxy.ask("POST", "hooks", "/v1/events", b"{}").status_code == 404


def test_a_body_that_is_too_large_never_arrives(proxy: Proxy) -> None:
    answer = proxy.ask("POST", "api", "/v1/events", b"x" * (7 << 20))
    assert answer.status_code in {413, 502}
    assert proxy.ask("POST", "api", "/v1/events", b"x" * (5 << 20)).text.endswith(str(5 << 20))


def test_a_live_stream_is_not_held_back(proxy: Proxy) -> None:
    GO_ON.clear()
    with contextlib.closing(proxy.client.send(proxy.request("GET", "api", "/stream"), stream=True)) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: first"
        GO_ON.set()
        assert "data: second" in list(lines)
