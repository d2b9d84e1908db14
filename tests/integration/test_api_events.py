"""POST /v1/events against a real broker: what is taken, what is refused, what is stored once."""

import gzip
import io
import uuid
import zlib
from typing import Any

import httpx
import orjson
import pytest
import zstandard
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from billing import agreements
from billing.tenant import tenant
from pipeline import kafka
from pipeline.api import bounds
from pipeline.api.problems import Answered
from schemas import records
from schemas.identity import named_event_id, request_name
from schemas.topics import CONTROL, EVENTS
from tests.integration.api_world import World, unlimited

ANN = "events@example.org"
NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}


def read(world: World, topic: str, organization_id: object) -> list[tuple[dict[str, bytes], bytes]]:
    """Headers and value of an organization's records, in the order of their partition."""
    consumer: Consumer = kafka.consumer(world.settings, "test-reader")
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        ended: set[int] = set()
        found = []
        while len(ended) < len(partitions):
            message = consumer.poll(10)
            assert message is not None
            if message.error() is not None:
                ended.add(message.partition() or 0)
                continue
            headers = dict(kafka.headers(message))
            if str(organization_id).encode() in (headers.get("x-organization-id"), (message.key() or b"")[-36:]):
                found.append((headers, message.value() or b""))
        return found
    finally:
        consumer.close()


def post(world: World, body: bytes, headers: dict[str, str], key: dict[str, str]) -> httpx.Response:
    return world.client.post("/v1/events", content=body, headers=headers | key)


def events_of(world: World, organization_id: object) -> list[tuple[str, bytes, str]]:
    """(id, body, stream) of every event of an organization, as the packer reads them."""
    made = []
    for headers, value in read(world, EVENTS.name, organization_id):
        events, dead = records.read(value, records.describe(list(headers.items())))
        assert dead == []
        made += [
            (str(named_event_id(str(organization_id), stream, name.decode())), body, stream)
            for _, body, stream, name in events
        ]
    return made


def test_items_are_answered_and_stored_each_with_its_id(api_world: World) -> None:
    email = f"{uuid.uuid4()}@example.org"  # of its own: all that it stored is compared
    organization_id = api_world.user(email).verified.organization_id
    key = api_world.key(email)
    bodies: list[tuple[bytes, dict[str, str], list[str]]] = [
        (b'{"a": 1}', JSON, []),
        (b'[{"a": 1}, "text", 7, {"stream": ""}, {"event_id": 5}]', JSON, ["shape", "stream"]),
        (b'{"a":1}\n\n{broken\n"line"\n', NDJSON | {"X-Stream": "web"}, ["json"]),
        (b"a log line", {"Content-Type": "text/plain; charset=utf-8"}, []),
    ]
    ids: list[str] = []
    for body, headers, rejected in bodies:
        answer = post(api_world, body, headers, key)
        assert answer.status_code == 202, answer.text
        said = answer.json()
        assert [r["code"] for r in said["rejected"]] == rejected
        assert said["accepted"] == len(said["ids"])
        ids += said["ids"]
    stored = events_of(api_world, organization_id)
    assert [event[0] for event in stored] == ids  # all of an organization, in order
    assert [event[2] for event in stored[-3:]] == ["web", "web", "default"]
    assert read(api_world, CONTROL.name, organization_id) != []  # workers were told of the organization


def test_packed_bodies(api_world: World) -> None:
    key = api_world.key(ANN)
    plain = b'{"packed": 1}\n' * 5_000
    several = gzip.compress(plain[: len(plain) // 2]) + gzip.compress(plain[len(plain) // 2 :])
    streamed = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(streamed, closefd=False) as writer:
        writer.write(plain)
    for body, encoding in (
        (gzip.compress(plain), "gzip"),
        (several, "gzip"),
        (zstandard.compress(plain), "zstd"),
        (streamed.getvalue(), "zstd"),
        (plain, "identity"),
    ):
        answer = post(api_world, body, NDJSON | {"Content-Encoding": encoding}, key)
        assert (answer.status_code, answer.json().get("accepted")) == (202, 5_000)


def test_the_same_key_and_body_is_stored_once_and_another_body_refused(api_world: World) -> None:
    email = f"{uuid.uuid4()}@example.org"
    organization_id = api_world.user(email).verified.organization_id
    key = api_world.key(email) | {"Idempotency-Key": "batch-1"}
    first = post(api_world, b'[{"a":1},{"a":2}]', JSON, key)
    again = post(api_world, b'[{"a":1},{"a":2}]', JSON, key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert post(api_world, b'[{"a":3}]', JSON, key).status_code == 422
    assert post(api_world, b'[{"a":1},{"a":2}]', JSON | {"X-Stream": "other"}, key).status_code == 422
    name = request_name(str(organization_id), "batch-1")
    expected = [str(named_event_id(str(organization_id), "default", f"{name}/{i}")) for i in (0, 1)]
    assert first.json()["ids"] == expected == [event[0] for event in events_of(api_world, organization_id)]


def test_limits_of_size(api_world: World) -> None:
    key = api_world.key(ANN)
    before = api_world.end_of_events()
    bomb_gzip = gzip.compress(bytes(200 << 20), 9)
    bomb_zstd = zstandard.compress(bytes(1 << 30))
    refused: list[tuple[bytes, dict[str, str], int]] = [
        (b'{"a":"' + b"x" * (64 << 10) + b'"}', JSON, 400),
        (b"x" * (64 << 10) + b"y", {"Content-Type": "text/plain"}, 400),
        (b'"x"\n' * 10_001, NDJSON, 413),
        (b"[" + b"1," * 10_001 + b"1]", JSON, 413),
        (b"x" * (5 << 20) + b"y", {"Content-Type": "text/plain"}, 413),
        (bomb_gzip, NDJSON | {"Content-Encoding": "gzip"}, 413),
        (bomb_zstd, NDJSON | {"Content-Encoding": "zstd"}, 413),
    ]
    for body, headers, status in refused:
        answer = post(api_world, body, headers, key)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert api_world.end_of_events() == before
    fits = b'{"a":"' + b"x" * ((64 << 10) - 8) + b'"}'
    assert post(api_world, fits, JSON, key).status_code == 202
    assert post(api_world, b'"x"\n' * 10_000, NDJSON, key).json()["accepted"] == 10_000


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_costs_no_more_than_the_limit(encoding: str) -> None:
    import asyncio
    import tracemalloc

    packed = zstandard.compress(bytes(1 << 28)) if encoding == "zstd" else zlib.compress(bytes(1 << 28), wbits=31)

    async def chunks() -> Any:
        yield packed

    tracemalloc.start()
    with pytest.raises(Answered):
        asyncio.run(bounds.body(chunks(), encoding))
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_a_cap_that_blocks_answers_429(api_world: World) -> None:
    email = f"{uuid.uuid4()}@example.org"
    organization_id = api_world.user(email).verified.organization_id
    key = api_world.key(email)
    with api_world.serving.tenants() as api, tenant(api, organization_id):
        agreements.set_cap(api, organization_id, "block", None, by="test", at=api_world.serving.now())
    assert post(api_world, b"{}", JSON, key).status_code == 202
    import psycopg

    with psycopg.connect(api_world.database.url()) as root:
        root.execute(
            "INSERT INTO usage_counters (organization_id, period_start, day, billable, waived)"
            " SELECT organization_id, starts_at, starts_at::date, 1000, 200 FROM billing_periods WHERE organization_id = %s",
            (organization_id,),
        )
    api_world.serving.standings.clear()
    answer = post(api_world, b"{}", JSON, key)
    assert (answer.status_code, "block" in answer.json()["detail"]) == (429, True)
    assert int(answer.headers["retry-after"]) > 0


def test_each_key_has_the_plans_rate(api_world: World) -> None:
    email = f"{uuid.uuid4()}@example.org"
    keys = [api_world.key(email), api_world.key(email)]
    import psycopg

    with psycopg.connect(api_world.database.url()) as root:
        root.execute(
            "INSERT INTO plan_overrides (organization_id, version, plan, requests_per_minute, set_at, set_by, reason)"
            " VALUES (%s, 2, 'developer', 3, now() - interval '1 minute', 'test', 'test')",
            (api_world.user(email).verified.organization_id,),
        )
    api_world.serving.standings.clear()
    for key in keys:
        said = [post(api_world, b"{}", JSON, key) for _ in range(4)]
        assert [answer.status_code for answer in said] == [202, 202, 202, 429]
        assert 1 <= int(said[-1].headers["retry-after"]) <= 21
    unlimited(api_world.database, api_world.user(email).verified.organization_id)


def test_back_pressure_is_429(api_world: World) -> None:
    key = api_world.key(ANN)
    api_world.serving.intake.waiting += 1 << 30
    try:
        answer = post(api_world, b"{}", JSON, key)
    finally:
        api_world.serving.intake.waiting -= 1 << 30
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_a_key_without_the_scope_and_one_that_was_revoked(api_world: World) -> None:
    mine = api_world.bearer(ANN)
    made = api_world.client.post("/v1/keys", json={"name": "r", "scopes": ["anomalies:read"]}, headers=mine)
    assert made.status_code == 201, made.text
    reads = {"Authorization": f"Bearer {made.json()['text']}"}
    assert post(api_world, b"{}", JSON, reads).status_code == 403
    assert api_world.client.get("/v1/anomalies", headers=reads).status_code == 200
    assert api_world.client.delete(f"/v1/keys/{made.json()['key']['id']}", headers=mine).status_code == 200
    assert api_world.client.get("/v1/anomalies", headers=reads).status_code == 401
    assert (
        orjson.dumps(api_world.client.get("/v1/keys", headers=mine).json()).find(made.json()["text"][-20:].encode()) < 0
    )
