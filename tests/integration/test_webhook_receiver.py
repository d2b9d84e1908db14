"""`POST /webhooks/stripe` on real PostgreSQL as the API's own role: what is taken, what is refused, and with which answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from billing import stripe_gateway as gateway
from pipeline.api import stripe_webhook
from pipeline.api.app import build
from schemas.settings import load
from tests.stack.database import Database

NOW = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)
OLD, NEW = "whsec_old_notasecret", "whsec_new_notasecret"  # pragma: allowlist secret


def event(**more: Any) -> str:
    made = {"id": "evt_1", "object": "event", "type": "invoice.paid", "livemode": False, "created": 1_795_000_000}
    return json.dumps({**made, "data": {"object": {"id": "in_1", "object": "invoice"}}, **more})


@dataclass(frozen=True)
class Client:
    """Requests to an app, without a server."""

    app: FastAPI

    def post(self, content: str | bytes | Iterator[bytes], header: str | bytes = "") -> httpx.Response:
        async def ask() -> httpx.Response:
            async def chunks() -> AsyncIterator[bytes]:
                for chunk in content:
                    assert isinstance(chunk, bytes)
                    yield chunk

            body = content if isinstance(content, str | bytes) else chunks()
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.post(
                    "/webhooks/stripe", content=body, headers={b"Stripe-Signature": _bytes(header)}
                )

        return asyncio.run(ask())


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@pytest.fixture
def client(database: Database) -> Client:
    given = {"DATABASE_URL_API": database.url("driftlock_api"), "STRIPE_WEBHOOK_SECRETS": f"{NEW}, {OLD}"}
    router = stripe_webhook.route(stripe_webhook.storing(load(given), lambda: NOW))
    return Client(build({}, "test", "test", hooks=[router]))


def post(client: Client, body: str, *, secret: str = NEW, age: int = 0, signed: str | None = None) -> int:
    header = gateway.sign_webhook(body if signed is None else signed, secret, int(NOW.timestamp()) - age)
    return client.post(body, header).status_code


def stored(database: Database) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.url()) as owner:
        return owner.execute("SELECT id, type, object_id, state, attempts FROM stripe_events ORDER BY id").fetchall()


def test_an_event_is_stored_once_and_answered_with_200(client: Client, database: Database) -> None:
    assert [post(client, event()) for _ in range(3)] == [200, 200, 200]
    assert stored(database) == [("evt_1", "invoice.paid", "in_1", "stored", 0)]


def test_every_secret_is_good_while_they_are_rotated(client: Client, database: Database) -> None:
    assert post(client, event(), secret=OLD) == 200
    assert post(client, event(id="evt_2"), secret=NEW) == 200
    assert len(stored(database)) == 2


@pytest.mark.parametrize(
    "case",
    [
        {"secret": "whsec_other_notasecret"},  # pragma: allowlist secret
        {"age": 301},
        {"age": -301},
        {"signed": event(id="evt_other")},
    ],
)
def test_a_bad_or_stale_signature_is_refused(client: Client, database: Database, case: dict[str, Any]) -> None:
    assert post(client, event(), **case) == 400
    assert stored(database) == []


@pytest.mark.parametrize(
    "header", ["", "t=,v1=x", "v1=x", "t=1,t=2,v1=x", "t=\u0661,v1=x", "t=99999999999999,v1=x", "x"]
)
def test_a_header_that_is_none_is_refused(client: Client, header: str) -> None:
    answer = client.post(event(), header)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_the_age_is_taken_up_to_300_seconds(client: Client) -> None:
    assert post(client, event(), age=300) == 200


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "no json",
        "{}",
        event(id=7),
        event(id=""),
        event(livemode="false"),
        event(created=-1),
        event(created="yesterday"),
        event(type="a\nb"),
        event(note="a\u0000b"),
    ],
)
def test_what_is_signed_and_no_event_is_refused_in_one_line(client: Client, database: Database, body: str) -> None:
    assert post(client, body) == 400
    assert stored(database) == []


def test_a_body_that_is_no_utf8_is_refused(client: Client) -> None:
    header = f"t={int(NOW.timestamp())},v1=00"
    assert client.post(b"\xff", header).status_code == 400


def test_live_never_enters_a_test_database(client: Client, database: Database) -> None:
    assert post(client, event(livemode=True)) == 400
    assert stored(database) == []


def test_a_megabyte_is_refused_before_it_is_read(client: Client, database: Database) -> None:
    assert post(client, event(note="x" * (1 << 20))) == 413
    read = 0

    def chunks() -> Iterator[bytes]:  # without a Content-Length
        nonlocal read
        for _ in range(64):
            read += 1 << 16
            yield b"x" * (1 << 16)

    assert client.post(chunks()).status_code == 413
    assert stored(database) == []


def test_unknown_types_and_thin_events_are_stored(client: Client, database: Database) -> None:
    assert post(client, event(id="evt_a", type="charge.dispute.created", data={})) == 200
    thin = {
        "id": "evt_b",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "created": "2026-11-23T14:00:00.000Z",
        "livemode": False,
        "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
    }
    assert post(client, json.dumps(thin)) == 200
    assert [row[:3] for row in stored(database)] == [
        ("evt_a", "charge.dispute.created", None),
        ("evt_b", "v1.billing.meter.error_report_triggered", "mtr_1"),
    ]


def test_no_secret_means_no_webhook(database: Database) -> None:
    given = load({"DATABASE_URL_API": database.url("driftlock_api")})
    router = stripe_webhook.route(stripe_webhook.storing(given, lambda: NOW))
    client = Client(build({}, "test", "test", hooks=[router]))
    assert post(client, event(), secret="") == 400


def test_a_database_that_is_gone_is_503_so_that_stripe_sends_it_again() -> None:
    given = load({"DATABASE_URL_API": "postgresql://driftlock_api@127.0.0.1:9/x", "STRIPE_WEBHOOK_SECRETS": NEW})
    router = stripe_webhook.route(stripe_webhook.storing(given, lambda: NOW))
    client = Client(build({}, "test", "test", hooks=[router]))
    assert post(client, event()) == 503


def test_the_api_can_put_events_in_and_nothing_else(database: Database) -> None:
    with psycopg.connect(database.url("driftlock_api"), autocommit=True) as api:
        for statement in (
            "SELECT 1 FROM stripe_events",
            "UPDATE stripe_events SET state = 'applied'",
            "INSERT INTO stripe_events (id, type, body, created_at, received_at, state) SELECT 'e', 't', '{}', now(), now(), 'dead'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                api.execute(statement)


def test_what_was_stored_says_when(client: Client, database: Database) -> None:
    post(client, event())
    with psycopg.connect(database.url()) as owner:
        row = owner.execute("SELECT created_at, received_at, source FROM stripe_events").fetchone()
    assert row == (datetime.fromtimestamp(1_795_000_000, UTC), NOW, "webhook")
    assert NOW - timedelta(days=365) < row[0]
