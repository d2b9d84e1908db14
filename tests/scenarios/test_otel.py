"""OpenTelemetry's SDK through the real collector and Kafka to the ledger, whoever is killed; and our own spans back out of a collector.

`make test-otel` (DRIFTLOCK_OTEL=full) sends 100,000 log records, 20,000 spans and 20,000 metric points; without it some thousands.
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest
from confluent_kafka import KafkaException
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from pipeline.embedded import collector
from pipeline.embedded.collector import Collector
from pipeline.stack import account, processes
from pipeline.tenants import keys
from schemas.settings import load
from tests.integration.otel_client import SERIES, sent_by_sdk
from tests.scenarios import fleet as fleets
from tests.scenarios import stories
from tests.scenarios.stories import Story
from tests.stack.providers import needed

FULL = os.environ.get("DRIFTLOCK_OTEL") == "full"
LOGS, SPANS, POINTS = (50_000, 10_000, 10_000) if FULL else (1_500, 300, SERIES)
"""Of each half: before Kafka is killed, and while it is away."""


STEPS = (processes.PACKER, processes.WORKER, processes.SINK_ANOMALIES, processes.SINK_USAGE)


def more(story: Story, before: account.Account) -> tuple[int, int, int]:
    """(scored, duplicates, dead letters) since then."""
    now = read(story)
    return now.scored - before.scored, now.duplicates - before.duplicates, now.dead_letters - before.dead_letters


def read(story: Story) -> account.Account:
    """The account; an empty one while Kafka, just back, has no leaders yet."""
    settings = load(story.parts.environ)
    try:
        with psycopg.connect(story.parts.postgres.url()) as connection:
            return account.read(settings, connection, story.organization_id)
    except KafkaException:
        return account.Account(0, 0, 0, 0, 0, 0, 0, 0)


def posted(url: str, header: dict[str, str], size: int) -> int:
    """The answer to a log record of so many bytes."""
    batch = LogsData()
    batch.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "x" * size
    headers = header | {"Content-Type": "application/x-protobuf"}
    return httpx.post(f"{url}/v1/logs", content=batch.SerializeToString(), headers=headers, timeout=60).status_code


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[Story, Collector]]:
    """A stack with one of each process, and the collector that gets our spans."""
    with stories.running() as story:
        folder = story.parts.folder / "spans"
        spans = needed(lambda: collector.new(folder, [Path(__file__).with_name("otel_debug.yaml")], {}))
        spans.start()
        try:
            story.parts.environ["OTLP_ENDPOINT"] = spans.url
            for program in (*STEPS, processes.API):
                fleets.enlist(story.fleet, program)
            yield story, spans
        finally:
            spans.stop()


@pytest.mark.timeout(1_800 if FULL else 300)
def test_everything_sent_is_scored_though_kafka_and_the_collector_are_killed(told: tuple[Story, Collector]) -> None:
    story, _ = told
    before = read(story)
    environ = {"KAFKA_BROKERS": story.parts.broker.bootstrap}
    gate = collector.new(story.parts.folder / "collector", ["collector.yaml"], environ)
    gate.start()
    try:
        # The header is what an authenticating hop in front of the collector sets.
        header = {"x-organization-id": str(story.organization_id)}
        half = LOGS + SPANS + POINTS
        sent_by_sdk(gate.url, header, logs=LOGS, spans=SPANS, points=POINTS, name="first")
        stories.until(story, lambda: more(story, before)[0] >= half, 900, "the first half is not scored")

        # Kafka is away: the collector takes all the same, is killed itself, and has it on disk.
        story.parts.broker.kill()
        sent_by_sdk(gate.url, header, logs=LOGS, spans=SPANS, points=POINTS, name="second")
        gate.kill()
        gate.start()
        story.parts.broker.start()
        stories.until(story, lambda: more(story, before)[0] >= 2 * half, 900, "the second half is not scored")

        # Without a header nobody owns it: dead letters, a batch each.
        sent_by_sdk(gate.url, {}, logs=10, spans=0, points=0)
        stories.until(story, lambda: more(story, before)[2] >= 1, 60, "what nobody owns is no dead letter")

        # A record that no event may be as large as comes through, to a dead letter; a request that no message may be is refused.
        assert posted(gate.url, header, 3 << 20) == 200
        assert posted(gate.url, header, 5 << 20) in {400, 413}
        stories.until(story, lambda: more(story, before)[2] >= 2, 60, "a large record is no dead letter")
        assert more(story, before) == (2 * half, 0, 2)
    finally:
        gate.stop()


def test_a_collector_without_kafka_sends_to_the_api(told: tuple[Story, Collector]) -> None:
    story, _ = told
    before = read(story)
    environ = {"DRIFTLOCK_API_URL": load(story.parts.environ).api_url, "DRIFTLOCK_API_KEY": key(story)}
    gate = collector.new(story.parts.folder / "to-api", ["api.yaml"], environ)
    gate.start()
    try:
        sent_by_sdk(gate.url, {}, logs=60, spans=20, points=10, name="by the API")
        stories.until(story, lambda: more(story, before)[0] >= 90, 120, "what went by the API is not scored")
        assert more(story, before) == (90, 0, 0)
    finally:
        gate.stop()


def test_one_trace_from_the_request_to_the_rows(told: tuple[Story, Collector]) -> None:
    story, spans = told
    before = read(story)
    settings = load(story.parts.environ)
    bearer = key(story)
    stories.until(story, lambda: answers(settings.api_url), 60, "the API does not answer")
    quiet = [f"user {n % 89} put an item into cart {n % 7}" for n in range(2_000)]
    odd = [f"PANIC: disk sda{n} failed, remounting read-only" for n in range(60)]
    trace, parent = "5c" * 16, "a7" * 8
    for lines, flags in ((quiet, "00"), (odd, "01")):
        headers = {
            "Authorization": f"Bearer {bearer}",
            "X-Stream": "traced",
            "Content-Type": "application/json",
            "traceparent": f"00-{trace}-{parent}-{flags}",
        }
        answer = httpx.post(f"{settings.api_url}/v1/events", json=lines, headers=headers, timeout=60)
        assert answer.status_code == 202, answer.text

    def kept() -> int:
        with psycopg.connect(story.parts.postgres.url()) as connection:
            query = "SELECT count(*) FROM anomalies WHERE organization_id = %s AND stream = 'traced' AND trace LIKE %s"
            row = connection.execute(query, (story.organization_id, f"00-{trace}-%-01")).fetchone()
        return row[0] if row else 0

    stories.until(story, lambda: kept() > 0, 90, "the odd lines are no anomaly")
    # Each process sends its spans when it likes: a child may be printed before its parent.
    stories.until(story, lambda: whole(printed(spans, trace), parent), 60, "the trace has a gap")
    found = printed(spans, trace)
    assert all(s["Trace ID"] == trace for s in found)
    stories.until(story, lambda: more(story, before)[0] == len(quiet) + len(odd), 60, "not all of it is counted")
    assert not any("PANIC" in value or "cart" in value for s in found for value in s.values())


def whole(found: list[dict[str, str]], sender: str) -> bool:
    """Whether the spans are all there, each below the one that it goes on from."""
    ids: dict[str, set[str]] = {}
    parents: dict[str, set[str]] = {}
    for span in found:
        name = "statement" if span in statements(found) else span["Name"]
        ids.setdefault(name, set()).add(span["ID"])
        parents.setdefault(name, set()).add(span["Parent ID"])
    if not {"publish", "pack", "score", "store anomalies", "store usage", "statement"} <= ids.keys():
        return False
    stores = ids["store anomalies"] | ids["store usage"]
    return (
        parents["publish"] == {sender}
        and parents["pack"] == parents["score"] == ids["publish"]
        and parents["store anomalies"] | parents["store usage"] <= ids["score"]
        and parents["statement"] <= stores
    )


def key(story: Story) -> str:
    """A new key that may write events."""
    url = load(story.parts.environ).database_url_api.get_secret_value()
    now = datetime.now(UTC)
    with psycopg.connect(url) as connection:
        return keys.create_key(connection, story.organization_id, "test", ["events:write"], by="test", at=now).text


def answers(url: str) -> bool:
    """Whether the API answers."""
    try:
        return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def printed(spans: Collector, trace: str) -> list[dict[str, str]]:
    """The spans of a trace that the collector's debug exporter printed, by the names that it gives their members."""
    parts = re.split(r"^Span #\d+$", spans.log.read_text("utf-8", "replace"), flags=re.MULTILINE)[1:]
    found = [dict(re.findall(r"^ +([A-Z]\w*(?: \w+)*?) +: (.*)$", part, flags=re.MULTILINE)) for part in parts]
    return [span for span in found if span.get("Trace ID") == trace]


def statements(found: list[dict[str, str]]) -> list[dict[str, str]]:
    """Those of PostgreSQL."""
    return [span for span in found if span["Name"].split(" ")[0] in {"INSERT", "UPDATE", "SELECT", "WITH"}]
