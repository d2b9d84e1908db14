"""What is marked secret goes through every form and page of the console, and is in no log, no metric and no trace."""

import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi.routing import APIRoute

from dashboards.console.app import build
from pipeline.embedded.ports import LOOPBACK, free_ports
from tests.integration.accounts_world import KEY, token_of
from tests.integration.api_world import World
from tests.integration.receiver import Receiver, receiver

FIELDS = (
    "billing_email", "cap_percent", "cooldown_seconds", "email", "endpoint", "etag", "event_type", "group_by", "hours",
    "kind", "kinds", "maintenance_until", "min_severity", "name", "note", "order", "organization", "password", "percent",
    "plan", "quiet_zone", "role", "routing_key", "scope", "secret", "sensitivity", "status", "stream", "stream_pattern",
    "target", "updates", "version",
)  # fmt: skip
PLACES = ("endpoint_id", "rule_id", "delivery_id", "user_id", "invitation_id", "anomaly_id")


@dataclass
class Browser:
    """Keeps cookies as on loopback a browser does, although they are for encrypted connections; each request is traced."""

    client: httpx.Client
    mark: str
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, data: Any = None, files: Any = None) -> httpx.Response:
        """One request."""
        headers = {
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            "User-Agent": self.mark,
            "traceparent": f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01",
        }
        answer = self.client.request(method, path, data=data, files=files, headers=headers)
        for said in answer.headers.get_list("set-cookie"):
            name, _, value = said.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def post(self, path: str, files: Any = None, **fields: Any) -> httpx.Response:
        """A form that one of the console's pages sent."""
        found = re.search(r'name="token" value="([0-9a-f]{64})"', self.ask("GET", "/scan").text)
        assert found is not None
        return self.ask("POST", path, {**fields, "token": found[1]}, files)


def sent(collector: Receiver) -> bytes:
    """All that a collector was told."""
    return b"".join(request.body for request in collector.requests)


@contextmanager
def started(world: World, log: Path, collector: Receiver) -> Iterator[str]:
    """`driftlock console run` on the world's broker and database, every line logged, traces followed; its address."""
    port = free_ports(1)[0]
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "NUMBA_CACHE_DIR") if name in os.environ},
        **world.database.environ(),
        "KAFKA_BROKERS": world.settings.kafka_brokers,
        "KAFKA_DURABLE": str(world.settings.kafka_durable).lower(),
        "ACCESS_TOKEN_KEY": KEY.decode(),
        "ALERTS_SECRET_KEY": "k" * 44,
        "CONSOLE_PORT": str(port),
        "OTLP_ENDPOINT": collector.url(""),
        "LOG_LEVEL": "debug",
    }
    base = f"http://{LOOPBACK}:{port}"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "console", "run"], env=environ, stdout=out, stderr=out
        )
        try:
            deadline = time.monotonic() + 240  # kernels that nobody used yet are compiled first
            while True:
                assert child.poll() is None, log.read_text("utf-8")
                assert time.monotonic() < deadline
                try:
                    httpx.get(f"{base}/healthz")
                    break
                except httpx.TransportError:
                    threading.Event().wait(0.1)
            yield base
        finally:
            child.terminate()
            assert child.wait(30) in {0, -15}


def routes(found: Any) -> Iterator[tuple[str, str]]:
    """Method and path of every route, those of routers too."""
    for one in found:
        if isinstance(one, APIRoute):
            yield from ((method, one.path) for method in sorted(one.methods or ()))
        elif hasattr(one, "original_router"):
            yield from routes(one.original_router.routes)


def test_nothing_marked_secret_is_in_a_log_a_metric_or_a_trace(api_world: World, tmp_path: Path) -> None:
    mark = f"secretmark{uuid.uuid4().hex}"
    email, password = f"{mark}@example.org", f"{mark} and a staple"
    secrets = [mark]
    with (
        receiver() as collector,
        started(api_world, tmp_path / "log", collector) as base,
        httpx.Client(base_url=base, timeout=30) as client,
    ):
        one = Browser(client, mark)
        assert one.post("/signup", email=email, name=mark, organization=mark, password=password).status_code == 200
        secrets.append(token_of(api_world.database, email))
        assert one.ask("GET", f"/verify?token={secrets[-1]}").status_code == 200
        assert one.post("/verify", secret=secrets[-1]).status_code == 303
        assert one.post("/login", email=email, password=f"{mark} wrong").status_code == 401
        assert one.post("/reset", email=email).status_code == 200
        secrets.append(token_of(api_world.database, email))
        assert one.ask("GET", f"/reset?token={secrets[-1]}").status_code == 200
        assert one.post("/reset", secret=secrets[-1], password=f"{password}!").status_code == 303
        assert one.post("/login", email=email, password=f"{password}!").status_code == 303
        made = one.post("/settings/keys", name=mark, scope="events:write")
        secrets += re.findall(r"dlk_[0-9A-Za-z]+\.[0-9A-Za-z_-]+", made.text)[:1]
        hook = {"name": mark, "kind": "webhook", "target": f"https://hooks.example.org/{mark}"}
        secrets += re.findall(r"whsec_[A-Za-z0-9+/=]{44}", one.post("/settings/alerts/endpoints", **hook).text)[:1]
        assert one.post("/settings/members", email=f"other-{email}", role="viewer").status_code == 303
        secrets.append(token_of(api_world.database, f"other-{email}"))
        assert one.ask("GET", f"/invitation?token={secrets[-1]}").status_code == 200
        assert len(secrets) == 6
        asked = sorted(set(routes(build(None).routes)), key=lambda route: (route[1] == "/logout", route))
        assert {("POST", "/login"), ("POST", "/settings/keys"), ("GET", "/settings/audit")} <= set(asked)
        secrets += [value for value in one.cookies.values() if len(value) > 20]
        for method, path in asked:
            if path in {"/anomalies/stream", "/scan/{job_id}/progress"}:
                continue
            filled = path
            for place in PLACES:
                filled = filled.replace("{" + place + "}", str(uuid.uuid4()))
            filled = re.sub(r"\{\w+\}", mark, filled)
            if method == "POST":
                files = {"file": (f"{mark}.log", f"{mark}\n".encode())} if path == "/scan" else None
                answer = one.post(f"{filled}?text={mark}", files, **dict.fromkeys(FIELDS, mark))
            else:
                answer = one.ask(method, f"{filled}?text={mark}&token={mark}&name={mark}")
            assert answer.status_code != 500, (method, path)
        # So many spans at once may be more than wait for the collector at a time: then some are let go.
        deadline = time.monotonic() + 30
        while b"GET /settings" not in sent(collector):
            assert time.monotonic() < deadline, "the collector is told of no request"
            one.ask("GET", f"/settings?token={mark}")
        metrics = client.get("/metrics").text
    logged = (tmp_path / "log").read_text("utf-8")
    traced = sent(collector)
    assert "Traceback" not in logged, logged
    for secret in secrets:
        assert secret not in logged
        assert secret not in metrics
        assert secret.encode() not in traced, secret
