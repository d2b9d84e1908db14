"""OpenTelemetry's own SDK through the real collector and Kafka to the ledger: sent = scored, whoever is killed on the way.

`make test-otel` (DRIFTLOCK_OTEL=full) sends 100,000 log records, 20,000 spans and 20,000 metric points; without it some thousands.
"""

import os

import httpx
import psycopg
import pytest
from confluent_kafka import KafkaException
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from pipeline.embedded import collector
from pipeline.stack import account, processes
from schemas.settings import load
from tests.integration.otel_client import SERIES, sent_by_sdk
from tests.scenarios import fleet as fleets
from tests.scenarios import stories
from tests.scenarios.stories import Story
from tests.stack.providers import needed

FULL = os.environ.get("DRIFTLOCK_OTEL") == "full"
LOGS, SPANS, POINTS = (50_000, 10_000, 10_000) if FULL else (1_500, 300, SERIES)
"""Of each half: before Kafka is killed, and while it is away."""


def read(story: Story) -> account.Account:
    """The account; an empty one while Kafka, just back, has no leaders yet."""
    settings = load(story.parts.environ)
    try:
        with psycopg.connect(story.parts.postgres.url()) as connection:
            return account.read(settings, connection, story.organization_id)
    except KafkaException:
        return account.Account(0, 0, 0, 0, 0, 0, 0)


def posted(url: str, header: dict[str, str], size: int) -> int:
    """The answer to a log record of so many bytes."""
    batch = LogsData()
    batch.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "x" * size
    headers = header | {"Content-Type": "application/x-protobuf"}
    return httpx.post(f"{url}/v1/logs", content=batch.SerializeToString(), headers=headers, timeout=60).status_code


@pytest.mark.timeout(1_800 if FULL else 300)
def test_everything_sent_is_scored_though_kafka_and_the_collector_are_killed() -> None:
    with stories.running() as story:
        for program in (processes.PACKER, processes.WORKER, processes.SINK_ANOMALIES, processes.SINK_USAGE):
            fleets.enlist(story.fleet, program)
        environ = {"KAFKA_BROKERS": story.parts.broker.bootstrap}
        gate = needed(lambda: collector.new(story.parts.folder / "collector", ["collector.yaml"], environ))
        gate.start()
        try:
            # The header is what an authenticating hop in front of the collector sets.
            header = {"x-organization-id": str(story.organization_id)}
            half = LOGS + SPANS + POINTS
            sent_by_sdk(gate.url, header, logs=LOGS, spans=SPANS, points=POINTS, name="first")
            stories.until(story, lambda: read(story).events >= half, 900, "the first half is not scored")

            # Kafka is away: the collector takes all the same, is killed itself, and has it on disk.
            story.parts.broker.kill()
            sent_by_sdk(gate.url, header, logs=LOGS, spans=SPANS, points=POINTS, name="second")
            gate.kill()
            gate.start()
            story.parts.broker.start()
            stories.until(story, lambda: read(story).events >= 2 * half, 900, "the second half is not scored")

            # Without a header nobody owns it: dead letters, a batch each.
            sent_by_sdk(gate.url, {}, logs=10, spans=0, points=0)
            stories.until(story, lambda: read(story).dead_letters >= 1, 60, "what nobody owns is no dead letter")

            # A record that no event may be as large as comes through, to a dead letter; a request that no message may be is refused.
            assert posted(gate.url, header, 3 << 20) == 200
            assert posted(gate.url, header, 5 << 20) in {400, 413}
            stories.until(story, lambda: read(story).dead_letters >= 2, 60, "a large record is no dead letter")
            now = read(story)
        finally:
            gate.stop()
        assert (now.scored, now.duplicates, now.dead_letters) == (2 * half, 0, 2)
