"""How streams stand, from usage records to what the tenant sees; and feedback from a status to a message."""

import time
from uuid import UUID

import orjson
import psycopg

from pipeline.sinks import usage as sink
from pipeline.sinks.sink import Record
from schemas.models import Position, ScoredUsage, StreamStanding
from tests.integration.api_world import World, anomaly, store
from tests.stack.database import Database


def now_ms() -> int:
    """Now: an organization's first period begins with the hour of its sign-up, so the hour in which tests were collected may be too early."""
    return int(time.time() * 1000)


def scored(organization_id: UUID, frame: int, *streams: StreamStanding) -> Record:
    """The usage record of a frame."""
    record = ScoredUsage(
        usage_id=UUID(int=organization_id.int ^ frame),
        organization_id=organization_id,
        is_anomaly=False,
        count=10,
        duplicates=0,
        skipped=3,
        opened={},
        occurred_at=now_ms(),
        position=Position(topic_id="blocks-1", partition=0, frame=frame, event=0),
        streams=streams,
    )
    return Record("usage-1", 0, frame, now_ms(), None, record.to_bytes())


def stands(stream: str, reference_n: int, drift: int | None = None, at: int | None = None) -> StreamStanding:
    return StreamStanding(
        stream=stream,
        events=reference_n + 5,
        reference_n=reference_n,
        per_day=86_400,
        last_at=now_ms() if at is None else at,
        anchor_n=min(reference_n, 1_000),
        drift=drift,
    )


def write(database: Database, *records: Record) -> tuple[str, ...]:
    with psycopg.connect(database.url()) as root:
        root.execute("INSERT INTO source_topics VALUES ('blocks', 'blocks-1', now()) ON CONFLICT DO NOTHING")
    with psycopg.connect(database.url("driftlock_sink")) as connection:
        return sink.write(connection, records, now_ms()).fates


def test_a_stream_without_an_anomaly_shows_its_warm_up_and_its_drift(api_world: World) -> None:
    organization_id = api_world.user("standing@example.org").verified.organization_id
    client, headers = api_world.client, api_world.bearer("standing@example.org")
    database = api_world.database
    first = scored(organization_id, 1, stands("web", 312), stands("db", 1_200, 65_536))
    assert write(database, first) == ("not_anomaly",)
    assert write(database, scored(organization_id, 2, stands("web", 340)), first) == ("not_anomaly", "duplicate")
    found = {s["name"]: s for s in client.get("/v1/streams", headers=headers).json()["items"]}
    assert list(found) == ["db", "web"]
    web = found["web"]["warm_up"]
    assert (web["text"], web["warm"], web["seconds_left"]) == ("warming 340/1,000", False, 660)
    assert found["db"]["warm_up"]["text"] == "warm"
    assert (found["db"]["events"], found["db"]["per_day"]) == (1_205, 86_400)
    anchor = client.get("/v1/streams/db/anchor", headers=headers).json()
    assert (anchor["events"], float(anchor["drift_bits"])) == (1_000, 1.0)
    assert client.get("/v1/streams/web/anchor", headers=headers).json()["drift_bits"] is None
    assert client.post("/v1/streams/db/anchor", headers=headers).status_code == 202
    assert client.get("/v1/streams/nothing/anchor", headers=headers).status_code == 404
    assert said(database, organization_id)[-1]["kind"] == "anchor"
    wrong = orjson.loads(first.value or b"")
    wrong["streams"][0]["per_day"] = 1 << 63
    wrong["position"]["frame"] = 3
    assert write(database, Record("usage-1", 0, 3, now_ms(), None, orjson.dumps(wrong))) == ("rejected",)


def test_a_deleted_stream_is_known_again_from_its_next_event_on(api_world: World) -> None:
    organization_id = api_world.user("deleted@example.org").verified.organization_id
    client, headers = api_world.client, api_world.bearer("deleted@example.org")
    assert write(api_world.database, scored(organization_id, 10, stands("gone", 500))) == ("not_anomaly",)
    assert client.delete("/v1/streams/gone", headers=headers).status_code == 204
    assert client.get("/v1/streams/gone", headers=headers).status_code == 404
    assert [m["kind"] for m in said(api_world.database, organization_id)][-2:] == ["stream", "forget"]
    later = int(api_world.serving.now().timestamp() * 1000) + 60_000
    write(api_world.database, scored(organization_id, 11, stands("gone", 2, at=later)))
    assert client.get("/v1/streams/gone", headers=headers).json()["warm_up"]["text"] == "warming 2/1,000"


def test_skipped_events_are_counted(api_world: World) -> None:
    organization_id = api_world.user("skipped@example.org").verified.organization_id
    write(api_world.database, scored(organization_id, 20), scored(organization_id, 21))
    with psycopg.connect(api_world.database.url()) as root:
        row = root.execute(
            "SELECT sum(scored_events), sum(skipped_events), sum(billable) FROM usage_counters WHERE organization_id = %s",
            (organization_id,),
        ).fetchone()
    assert row == (20, 6, 0)


def test_a_status_is_feedback_to_its_stream(api_world: World) -> None:
    organization_id = api_world.user("judging@example.org").verified.organization_id
    client, headers = api_world.client, api_world.bearer("judging@example.org")
    patterns = ["00000001deadbeef.0", "0000000512345678.196608"]
    told = anomaly(organization_id, 9_001, stream="web", patterns=patterns)
    store(api_world.database, told, anomaly(organization_id, 9_002, stream="web"))
    before = len(said(api_world.database, organization_id))
    for status in ("false_positive", "resolved", "open"):
        answer = client.put(f"/v1/anomalies/{told.id}", json={"status": status}, headers=headers)
        assert answer.status_code == 200
    messages = said(api_world.database, organization_id)[before:]
    assert [(m["verdict"], m["version"]) for m in messages] == [("normal", 1), ("confirmed", 2), ("none", 3)]
    assert all(m["patterns"] == patterns and m["stream"] == "web" for m in messages)
    # An anomaly of an earlier release names no pattern: there is nothing to learn.
    old = UUID(int=0)
    with psycopg.connect(api_world.database.url()) as root:
        row = root.execute(
            "SELECT id FROM anomalies WHERE organization_id = %s AND patterns = '[]'", (organization_id,)
        ).fetchone()
        old = row[0] if row else old
    assert client.put(f"/v1/anomalies/{old}", json={"status": "false_positive"}, headers=headers).status_code == 200
    assert len(said(api_world.database, organization_id)) == before + 3


def said(database: Database, organization_id: UUID) -> list[dict[str, object]]:
    """Control messages of an organization, in order."""
    with psycopg.connect(database.url()) as root:
        rows = root.execute(
            "SELECT message FROM control_outbox WHERE organization_id = %s ORDER BY id", (organization_id,)
        )
        return [message for (message,) in rows]
