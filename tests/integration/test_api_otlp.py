"""POST /v1/logs, /v1/metrics, /v1/traces against a real broker: by OpenTelemetry's own exporters, and by hand what is odd."""

import gzip
import uuid
from typing import Any

import orjson
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from schemas import otlp, records
from schemas.topics import MAX_EVENT_BYTES, OTLP, SIGNALS
from tests.integration.api_world import World
from tests.integration.otel_client import sent_by_sdk
from tests.integration.test_api_events import read

ANN = "otlp@example.org"
PROTOBUF, JSON = {"Content-Type": "application/x-protobuf"}, {"Content-Type": "application/json"}


def logs(*bodies: str, uid: str = "") -> bytes:
    batch = LogsData()
    group = batch.resource_logs.add()
    group.resource.attributes.add(key="service.name").value.string_value = "cart"
    for body in bodies:
        record = group.scope_logs.add().log_records.add(time_unix_nano=1)
        record.body.string_value = body
        if uid:
            record.attributes.add(key="log.record.uid").value.string_value = uid
    return batch.SerializeToString()


def stored(world: World, topic: str, organization_id: object) -> list[tuple[dict[str, Any], str]]:
    """(event, stream) of an organization in a topic, as the packer reads them."""
    made = []
    for headers, value in read(world, topic, organization_id):
        events, dead = records.read(value, records.describe(list(headers.items()), SIGNALS[topic]))
        assert dead == []
        made += [(orjson.loads(body), stream) for _, body, stream, _ in events]
    return made


def test_what_the_sdk_sends_is_stored(api_world: World) -> None:
    email = f"{uuid.uuid4()}@example.org"
    organization_id = api_world.user(email).verified.organization_id
    sent_by_sdk(str(api_world.client.base_url), api_world.key(email), logs=600, spans=50, points=40)
    found = {signal: stored(api_world, topic.name, organization_id) for signal, topic in OTLP.items()}
    assert {signal: len(several) for signal, several in found.items()} == {"logs": 600, "traces": 50, "metrics": 40}
    assert {stream for _, stream in found["logs"]} == {"logs:sdk"}
    assert {stream for _, stream in found["metrics"]} == {"metrics:sdk:queue.length"}
    assert sorted(event["attributes"]["n"] for event, _ in found["traces"]) == list(range(50))
    assert found["logs"][0][0]["resource"]["service.name"] == "sdk"


def test_some_records_are_rejected_and_the_others_stored(api_world: World) -> None:
    email = f"{uuid.uuid4()}@example.org"
    organization_id = api_world.user(email).verified.organization_id
    key = api_world.key(email)
    body = logs("one", "x" * MAX_EVENT_BYTES, "three")
    answer = api_world.client.post(
        "/v1/logs", content=gzip.compress(body), headers=PROTOBUF | key | {"Content-Encoding": "gzip"}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    said = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (said.rejected_log_records, "limit" in said.error_message) == (1, True)
    assert [event["body"] for event, _ in stored(api_world, "otlp-logs", organization_id)] == ["one", "three"]
    text = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "four"}}]}]}]}
    answer = api_world.client.post("/v1/logs", json=text, headers=key | {"X-Stream": "web"})
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, "application/json", {})
    assert stored(api_world, "otlp-logs", organization_id)[-1] == ({"body": "four"}, "web")


def test_an_empty_batch_is_right_and_nothing_is_stored(api_world: World) -> None:
    before = api_world.end_of_events("otlp-metrics")
    answer = api_world.client.post("/v1/metrics", content=b"", headers=PROTOBUF | api_world.key(ANN))
    assert (answer.status_code, answer.content) == (200, b"")
    assert api_world.end_of_events("otlp-metrics") == before


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/logs", b"\xff", PROTOBUF, 400),
        ("/v1/logs", b"{", JSON, 400),
        ("/v1/logs", b"{}", {"Content-Type": "text/plain"}, 415),
        ("/v1/logs", b"{}", {}, 415),
        ("/v1/logs", logs("x" * MAX_EVENT_BYTES), PROTOBUF, 400),
        ("/v1/logs", logs(*["x"] * 10_001), PROTOBUF, 413),
        ("/v1/logs", logs("x", uid="u" * 200), PROTOBUF, 400),
        ("/v1/traces", logs("a log record is no span"), PROTOBUF, 400),
        ("/v1/metrics", b"\x0a\x00" * (otlp.MAX_GROUPS + 1), PROTOBUF, 400),
        ("/v1/logs", b"x" * (5 << 20) + b"y", PROTOBUF, 413),
        ("/v1/logs", gzip.compress(bytes(50 << 20)), PROTOBUF | {"Content-Encoding": "gzip"}, 413),
        ("/v1/logs", logs("x"), PROTOBUF | {"X-Stream": "s" * 129}, 400),
    ],
)
def test_what_is_refused(api_world: World, path: str, body: bytes, headers: dict[str, str], status: int) -> None:
    before = [api_world.end_of_events(topic.name) for topic in OTLP.values()]
    answer = api_world.client.post(path, content=body, headers=headers | api_world.key(ANN))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert [api_world.end_of_events(topic.name) for topic in OTLP.values()] == before


def test_who_may_write(api_world: World) -> None:
    mine = api_world.bearer(ANN)
    made = api_world.client.post("/v1/keys", json={"name": "r", "scopes": ["anomalies:read"]}, headers=mine)
    reads = {"Authorization": f"Bearer {made.json()['text']}"}
    theirs = {"x-organization-id": str(uuid.uuid4())}
    for path in ("/v1/logs", "/v1/metrics", "/v1/traces"):
        assert api_world.client.post(path, content=b"", headers=PROTOBUF).status_code == 401
        assert api_world.client.post(path, content=b"", headers=PROTOBUF | reads).status_code == 403
    key = api_world.key(ANN)
    before = len(stored(api_world, "otlp-logs", api_world.user(ANN).verified.organization_id))
    assert api_world.client.post("/v1/logs", content=logs("mine"), headers=PROTOBUF | key | theirs).status_code == 200
    assert len(stored(api_world, "otlp-logs", api_world.user(ANN).verified.organization_id)) == before + 1
    api_world.serving.intake.waiting += 1 << 30
    try:
        answer = api_world.client.post("/v1/logs", content=logs("x"), headers=PROTOBUF | key)
    finally:
        api_world.serving.intake.waiting -= 1 << 30
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
