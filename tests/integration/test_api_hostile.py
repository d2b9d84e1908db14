"""Hostile requests: each gets a clear 4xx, and nothing is stored. And what is marked secret is in no log and no metric."""

import base64
import gzip
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import orjson
import psycopg
import zstandard
from psycopg import sql

from pipeline.embedded.ports import LOOPBACK, free_ports
from tests.integration.accounts_world import KEY, PASSWORD
from tests.integration.api_world import World, anomaly, store

EVE, VICTIM = "hostile@example.org", "victim@example.org"
JSON, NDJSON = {"Content-Type": "application/json"}, {"Content-Type": "application/x-ndjson"}
DEEP = b"[" * 50_000 + b"]" * 50_000
SQL_TEXTS = ("'; DROP TABLE users; --", '" OR 1=1 --', "%27%3B", "\\'); SELECT pg_sleep(10); --")
NUL = "a\0b"

Request = tuple[str, str, dict[str, str], bytes, tuple[int, ...]]
"""(method, path, headers, body, statuses that are right)."""


def token(claims: dict[str, Any], key: bytes | str = KEY, algorithm: str = "HS256") -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm)}"}


def hostile(world: World) -> list[Request]:
    """The list. Those without an Authorization of their own are sent as Eve, owner of her own organization."""
    victim = world.user(VICTIM)
    theirs = str(uuid.UUID(int=99_000))
    good = jwt.decode(world.user(EVE).tokens.access, options={"verify_signature": False})
    access = world.user(EVE).tokens.access
    head, body, signature = access.split(".")
    admin = (
        base64.urlsafe_b64encode(orjson.dumps(good | {"org": str(victim.verified.organization_id)}))
        .rstrip(b"=")
        .decode()
    )

    def bearer(text: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {text}"}

    def post(path: str, value: Any, *right: int, method: str = "POST") -> Request:
        return (method, path, JSON, value if isinstance(value, bytes) else orjson.dumps(value), right or (422,))

    def event(value: bytes, headers: dict[str, str], *right: int) -> Request:
        return ("POST", "/v1/events", headers, value, right or (400,))

    me = {"email": "new@example.org", "password": PASSWORD, "name": "n", "organization": "o"}
    return [
        # bodies
        event(b"", JSON),
        event(b"   ", JSON),
        event(b"{", JSON),
        event(b"\xff\xfe{}", JSON),
        event(b'{"a":"\xff"}', JSON),
        event(b"\xff\xfe", {"Content-Type": "text/plain"}),
        event(DEEP, JSON),
        event(DEEP, NDJSON),
        event(b'{"a":' * 30_000 + b"1" + b"}" * 30_000, JSON),
        event(b"[]", JSON),
        event(b"[1,2,3]", JSON),
        event(b"null", JSON),
        event(b"NaN", JSON),
        event(b"1" * 10_000, JSON),
        event(b'{"stream":"a\\u0000b"}', JSON),
        event(b'{"stream":"' + b"x" * 129 + b'"}', JSON),
        event(b'{"event_id":{}}', JSON),
        event(b'{"event_id":"' + b"x" * 129 + b'"}', JSON),
        event(b'{"a":"' + b"x" * 70_000 + b'"}', JSON),
        event(b'"x"\n' * 10_001, NDJSON, 413),
        event(b"x" * (6 << 20), {"Content-Type": "text/plain"}, 413),
        event(gzip.compress(bytes(64 << 20)), NDJSON | {"Content-Encoding": "gzip"}, 413),
        event(zstandard.compress(bytes(256 << 20)), NDJSON | {"Content-Encoding": "zstd"}, 413),
        event(b"not gzip", JSON | {"Content-Encoding": "gzip"}),
        event(b"not zstd", JSON | {"Content-Encoding": "zstd"}),
        event(gzip.compress(b"{}")[:-4], JSON | {"Content-Encoding": "gzip"}),
        event(zstandard.compress(b"{}" * 1_000)[:-2], JSON | {"Content-Encoding": "zstd"}),
        event(gzip.compress(gzip.compress(b"{}")), JSON | {"Content-Encoding": "gzip, gzip"}, 415),
        event(b"{}", JSON | {"Content-Encoding": "br"}, 415),
        event(b"{}", {"Content-Type": "application/xml"}, 415),
        event(b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415),
        event(b"{}", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        event(b"{}", {}, 415),
        event(b"{}", JSON | {"X-Stream": "x" * 129}),
        event(b"{}", JSON | {"X-Stream": "a\tb"}),
        event(b"{}", JSON | {"Idempotency-Key": "x" * 129}, 422),
        event(b"{}", JSON | {"Idempotency-Key": "a\tb"}, 422),
        # tokens
        ("GET", "/v1/anomalies", bearer(f"{head}.{admin}.{signature}"), b"", (401,)),
        ("GET", "/v1/anomalies", bearer(f"{head}.{body}."), b"", (401,)),
        ("GET", "/v1/anomalies", token(good, "", "none"), b"", (401,)),
        ("GET", "/v1/anomalies", token(good, b"x" * 32), b"", (401,)),
        ("GET", "/v1/anomalies", token(good, KEY * 2, "HS512"), b"", (401,)),
        ("GET", "/v1/anomalies", token(good | {"exp": 1}), b"", (401,)),
        ("GET", "/v1/anomalies", token(good | {"org": str(victim.verified.organization_id)}), b"", (401,)),
        ("GET", "/v1/anomalies", token(good | {"sub": str(victim.verified.user_id)}), b"", (401,)),
        ("GET", "/v1/anomalies", token(good | {"sid": "' OR 1=1 --"}), b"", (401,)),
        ("GET", "/v1/anomalies", bearer("dlk_aaaaaaaaaaaaaaaa." + "A" * 43), b"", (401,)),
        ("GET", "/v1/anomalies", bearer("dlk_' OR '1'='1." + "A" * 43), b"", (401,)),
        ("GET", "/v1/anomalies", bearer("x" * 20_000), b"", (401, 431)),
        ("GET", "/v1/anomalies", {"Authorization": "Basic YTpi"}, b"", (401,)),
        # another's
        ("GET", f"/v1/anomalies/{theirs}", {}, b"", (404,)),
        post(f"/v1/anomalies/{theirs}", {"status": "resolved"}, 404, method="PUT"),
        post(f"/v1/members/{victim.verified.user_id}", {"role": "viewer"}, 404, method="PUT"),
        ("DELETE", f"/v1/members/{victim.verified.user_id}", {}, b"", (404,)),
        post("/v1/sessions/switch", {"organization_id": str(victim.verified.organization_id)}, 404),
        # paths and queries
        ("GET", "/v1/anomalies/..%2f..%2fetc%2fpasswd", {}, b"", (404, 422)),
        ("GET", "/v1/streams/%2e%2e", {}, b"", (404,)),
        ("GET", "/v1/streams/a%00b", {}, b"", (422,)),
        ("GET", "/v1/streams/%ff%fe", {}, b"", (404, 422)),
        ("GET", "/v1/streams/" + "x" * 200, {}, b"", (422,)),
        ("GET", "/v1/anomalies?cursor=1.x", {}, b"", (422,)),
        ("GET", "/v1/anomalies?cursor=999999999999999999.00000000-0000-0000-0000-000000000000", {}, b"", (422,)),
        ("GET", "/v1/anomalies?limit=0", {}, b"", (422,)),
        ("GET", "/v1/anomalies?limit=99999999999999999999", {}, b"", (422,)),
        ("GET", "/v1/anomalies?since=yesterday", {}, b"", (422,)),
        ("GET", "/v1/anomalies?since=0001-01-01T00:00:00%2B14:00", {}, b"", (422,)),
        ("GET", "/v1/anomalies?text=a%00b", {}, b"", (422,)),
        ("GET", "/v1/anomalies?severity=high'--", {}, b"", (422,)),
        ("GET", "/v1/anomalies?stream=" + "&stream=".join(["x"] * 60), {}, b"", (422,)),
        ("GET", "/v1/audit?before=0", {}, b"", (422,)),
        ("GET", "/v1/anomalies/stream", {"Last-Event-ID": "1.1'"}, b"", (422,)),
        ("GET", "/v1/anomalies/stream", {"Last-Event-ID": f"9{'0' * 17}.{uuid.UUID(int=0)}"}, b"", (422,)),
        ("TRACE", "/v1/anomalies", {}, b"", (405,)),
        ("PUT", "/v1/events", JSON, b"{}", (405,)),
        # what people type
        *(
            post("/v1/accounts/sign-up", me | {"email": text})
            for text in (*SQL_TEXTS, "<script>@x", "a@b\r\nBcc:c@d", NUL)
        ),
        *(post("/v1/accounts/sign-up", me | {field: NUL}) for field in ("name", "organization")),
        post("/v1/accounts/sign-up", me | {"name": "a\r\nX-Injected: 1"}),
        post("/v1/accounts/sign-up", me | {"role": "admin"}),
        post("/v1/accounts/sign-up", me | {"password": "short"}),  # pragma: allowlist secret
        post(
            "/v1/accounts/sign-up",
            b'{"email":"\\ud800@x.org","password":"xxxxxxxxxxxx","name":"n","organization":"o"}',  # pragma: allowlist secret
        ),
        post("/v1/accounts/sign-up", DEEP[:40_000], 400, 422),
        post("/v1/accounts/sign-up", b"{" + b" " * (70 << 10) + b"}", 413),
        post("/v1/accounts/sign-up", [me]),
        post("/v1/accounts/verify", {"token": "' OR 1=1 --"}, 401),
        post("/v1/accounts/verify", {"token": NUL}, 401),
        post("/v1/accounts/verify", {"token": {"$ne": ""}}),
        post("/v1/sessions", {"email": "' OR 1=1 --", "password": "x"}, 401),
        post("/v1/sessions", {"email": VICTIM, "password": "\0" * 100}, 401),
        post("/v1/sessions/refresh", {"token": world.user(EVE).tokens.refresh[:-1]}, 401),
        post("/v1/keys", {"name": "x", "scopes": ["members:write"]}),
        post("/v1/keys", {"name": NUL, "scopes": ["events:write"]}),
        post("/v1/keys", {"name": "x", "scopes": ["events:write"] * 30}),
        post("/v1/keys/%27%20OR%201=1/rotate", {}, 404),
        post("/v1/invitations", {"email": "a@b.org>\r\nRCPT TO:<c@d.org", "role": "viewer"}),
        post("/v1/invitations", {"email": "a@b.org", "role": "root"}),
        post("/v1/organization", {"sensitivity": 2}, method="PATCH"),
        post("/v1/organization", {"sensitivity": "NaN"}, method="PATCH"),
        post("/v1/organization", {"name": "x", "id": theirs}, method="PATCH"),
        post("/v1/organization", {"name": "x\0"}, method="PATCH"),
        post("/v1/streams/nothing", {"paused": True}, 404, method="PATCH"),
        post("/v1/streams/web", {"entity_field": NUL}, method="PATCH"),
        post("/v1/streams/web", {"maintenance_until": "9999-12-31T23:59:59Z"}, method="PATCH"),
        post("/v1/billing/cap", {"mode": "block", "cap_percent": 1}, method="PUT"),
        post("/v1/billing/cap", {"mode": "block", "cap_percent": 2**60}, method="PUT"),
        post("/v1/billing/email", {"email": "x"}, method="PUT"),
    ]


def everything(world: World) -> dict[str, str]:
    """A digest of every table but the counters of attempts, and how many records the topic of events has."""
    with psycopg.connect(world.database.url()) as root:
        tables = root.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            " AND relname <> 'login_failures'"
        ).fetchall()
        found = {"events": str(world.end_of_events())}
        for (table,) in tables:
            query = sql.SQL("SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {} t")
            row = root.execute(query.format(sql.Identifier(table))).fetchone()
            found[table] = row[0] if row else ""
    return found


def test_each_hostile_request_is_a_clear_4xx_and_nothing_is_stored(api_world: World) -> None:
    mine = api_world.user(EVE).verified.organization_id
    store(api_world.database, anomaly(mine, 98_000, id=str(uuid.UUID(int=98_000))))
    store(
        api_world.database,
        anomaly(api_world.user(VICTIM).verified.organization_id, 99_000, id=str(uuid.UUID(int=99_000))),
    )
    requests = hostile(api_world)
    assert len(requests) >= 60
    before = everything(api_world)
    wrong = []
    for number, (method, path, headers, body, right) in enumerate(requests):
        sent = headers if "Authorization" in headers else api_world.bearer(EVE) | headers
        answer = api_world.client.request(method, path, headers=sent, content=body)
        said = answer.headers.get("content-type")
        if answer.status_code not in right or (said != "application/problem+json" and answer.status_code != 431):
            wrong.append((number, method, path[:80], body[:60], answer.status_code, right, answer.text[:200]))
            continue
        assert "\n" not in answer.json()["detail"]
        assert "Traceback" not in answer.text
    assert wrong == []
    assert everything(api_world) == before


def test_a_request_that_is_no_http_is_refused(api_world: World) -> None:
    import socket

    for raw in (
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x00",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (64 << 10) + b"\r\n\r\n",
    ):
        with socket.create_connection((LOOPBACK, api_world.client.base_url.port or 0), timeout=10) as connection:
            connection.sendall(raw + b"\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            said = connection.recv(1 << 16)
        assert said.startswith(b"HTTP/1.1 4"), (raw[:60], said[:80])


def test_no_origin_but_those_of_the_list(api_world: World) -> None:
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "Authorization"}
    good = api_world.client.options("/v1/anomalies", headers=asked | {"Origin": "https://console.test"})
    assert good.headers["access-control-allow-origin"] == "https://console.test"
    for origin in ("https://evil.test", "null", "https://console.test.evil.test", "http://console.test"):
        answer = api_world.client.options("/v1/anomalies", headers=asked | {"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers
        answer = api_world.client.get("/v1/anomalies", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


def started(world: World, log: Any) -> tuple[subprocess.Popen[bytes], str]:
    """`driftlock api run` on the world's broker and database."""
    port = free_ports(1)[0]
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        **world.database.environ(),
        "KAFKA_BROKERS": world.settings.kafka_brokers,
        "ACCESS_TOKEN_KEY": KEY.decode(),
        "PORT": str(port),
        "LOG_LEVEL": "debug",
    }
    child = subprocess.Popen([sys.executable, "-m", "pipeline.cli", "api", "run"], env=environ, stdout=log, stderr=log)
    base = f"http://{LOOPBACK}:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        try:
            httpx.get(f"{base}/healthz")
        except httpx.TransportError:
            threading.Event().wait(0.1)
        else:
            return child, base
    raise AssertionError("the API did not start")


def test_nothing_marked_secret_is_in_a_log_or_a_metric(api_world: World, tmp_path: Any) -> None:
    from tests.integration.test_api_isolation import BODIES

    mark = f"secretmark{uuid.uuid4().hex}"
    email = f"{mark}@example.org"
    with (tmp_path / "log").open("wb") as log:
        child, base = started(api_world, log)
        try:
            with httpx.Client(base_url=base, timeout=30) as client:
                bearer, key = api_world.bearer(EVE), api_world.key(EVE)
                secrets = [mark, bearer["Authorization"][-40:], key["Authorization"][-40:]]
                replaced: Callable[[Any], Any] = lambda v: (  # noqa: E731
                    {k: replaced(x) for k, x in v.items()}
                    if isinstance(v, dict)
                    else mark
                    if v in ("x", "x" * 12)
                    else v
                )
                for path, methods in client.get("/openapi.json").json()["paths"].items():
                    for method in methods:
                        if (path.startswith("/v1/sessions") and method == "delete") or path == "/v1/anomalies/stream":
                            continue
                        filled = path.replace("{anomaly_id}", str(uuid.uuid4())).replace("{user_id}", str(uuid.uuid4()))
                        filled = (
                            filled.replace("{invitation_id}", str(uuid.uuid4()))
                            .replace("{key_id}", mark)
                            .replace("{stream}", mark)
                        )
                        body = replaced(BODIES.get((method, path)) or {"x": "x"})
                        if isinstance(body, dict) and "email" in body:
                            body["email"] = email
                        sent = (key if path == "/v1/events" else bearer) | {"User-Agent": mark, "X-Stream": mark}
                        answer = client.request(method, f"{filled}?text={mark}", json=body, headers=sent)
                        assert answer.status_code < 500, (method, path)
                assert client.post("/v1/events", content=f'{{"a": "{mark}"}}', headers=key | JSON).status_code == 202
                client.post("/v1/events", content=f"{mark} {{", headers=key | JSON)
                metrics = client.get("/metrics").text
        finally:
            child.terminate()
            assert child.wait(20) in {0, -15}
    logged = (tmp_path / "log").read_text("utf-8")
    assert "Traceback" not in logged, logged
    for secret in secrets:
        assert secret not in logged
        assert secret not in metrics
