"""The API as a process has it, on a real database and broker, asked without a socket; and by a socket where that matters."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import orjson
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline import kafka, topics
from pipeline.accounts.pools import open_pools
from pipeline.accounts.roles import KEY_SCOPES
from pipeline.alerts.sealed import keys_of
from pipeline.api.app import build
from pipeline.api.intake import Intake, new_producer
from pipeline.api.live import Feed
from pipeline.api.server import server
from pipeline.api.serving import Serving
from pipeline.embedded.broker import Broker
from pipeline.embedded.ports import LOOPBACK, free_ports
from pipeline.sinks import anomalies as sink
from pipeline.sinks.sink import Record
from pipeline.tenants import keys
from pipeline.tenants.endpoints import Sealing
from schemas.models import Anomaly
from schemas.settings import Settings, load
from schemas.topics import EVENTS
from tests.integration.accounts_world import KEY, User, joined
from tests.stack import providers
from tests.stack.database import Database
from tests.stack.fixtures import fresh_database, running, scratch
from tests.stack.providers import Server

SEALING_KEYS = keys_of(load({"ALERTS_SECRET_KEY": "s" * 32}))
NOW_MS = 1_772_447_820_000


@dataclass
class World:
    """A served API with a client, and what is behind it."""

    settings: Settings
    database: Database
    serving: Serving
    client: httpx.Client
    users: dict[str, User] = field(default_factory=dict)

    def user(self, email: str) -> User:
        """A user with an organization of its own, who asks as often as he likes."""
        if email not in self.users:
            user = joined(self.database, email, self.serving.now(), email)
            self.users[email] = user
            unlimited(self.database, user.verified.organization_id)
        return self.users[email]

    def bearer(self, email: str) -> dict[str, str]:
        """The header of a user."""
        return {"Authorization": f"Bearer {self.user(email).tokens.access}"}

    def key(self, email: str) -> dict[str, str]:
        """The header of a new key of the user's organization, with every scope."""
        with self.serving.tenants() as api:
            made = keys.create_key(
                api, self.user(email).verified.organization_id, "test", KEY_SCOPES, by="test", at=self.serving.now()
            )
        return {"Authorization": f"Bearer {made.text}"}

    def end_of_events(self, topic: str = EVENTS.name) -> int:
        """How many records a topic of events has ever had."""
        consumer: Consumer = kafka.consumer(self.settings, "test-end")
        try:
            parts = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            return sum(_end(consumer, topic, part) for part in parts)
        finally:
            consumer.close()


def _end(consumer: Consumer, topic: str, partition: int, tries: int = 50) -> int:
    """The end of a partition, asked again while a topic that is new has no leader yet."""
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1])
    except KafkaException:
        if not tries:
            raise
        consumer.poll(0.1)
        return _end(consumer, topic, partition, tries - 1)


def unlimited(database: Database, organization_id: Any, plan: str = "developer") -> None:
    """No rate limit for an organization."""
    with psycopg.connect(database.url()) as root:
        root.execute(
            "INSERT INTO plan_overrides (organization_id, version, plan, requests_per_minute, set_at, set_by, reason)"
            " SELECT %s, coalesce(max(version), 0) + 1, %s, 1000000, now() - interval '1 hour', 'test', 'test'"
            " FROM plan_overrides WHERE organization_id = %s",
            (organization_id, plan, organization_id),
        )


@contextmanager
def world(broker: Broker, database: Database) -> Iterator[World]:
    """The API on a port of its own, until the end of the block."""
    settings = load(
        {"KAFKA_BROKERS": broker.bootstrap, "KAFKA_DURABLE": str(broker.durable).lower(), **database.environ()}
    )
    topics.apply(settings)
    with served(settings, database) as made:
        yield made


@contextmanager
def served(settings: Settings, database: Database) -> Iterator[World]:
    """An API process's worth of an API on what is there already: a second one is a restarted one."""
    serving = Serving(
        open_pools(settings),
        KEY,
        Intake(new_producer(settings)),
        Feed(settings.database_url_api.get_secret_value()),
        10,
        answer_s=0.0,
        sealing=Sealing(SEALING_KEYS),
    )
    app = build({}, "1", "test", serving, ("https://console.test",))
    port = free_ports(1)[0]
    listening = server(app, LOOPBACK, port)
    thread = threading.Thread(target=lambda: asyncio.run(listening.serve()), daemon=True)
    thread.start()
    base = f"http://{LOOPBACK}:{port}"
    with httpx.Client(base_url=base, timeout=30) as client:
        for _ in range(200):
            try:
                client.get("/healthz")
                break
            except httpx.TransportError:
                threading.Event().wait(0.05)
        try:
            yield World(settings, database, serving, client)
        finally:
            listening.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def anomaly(organization_id: Any, number: int, **changed: Any) -> Anomaly:
    """An anomaly as a worker says it; the larger the number the later."""
    said: dict[str, Any] = {
        "id": str(UUID(int=number + 1)),
        "revision": 1,
        "organization_id": str(organization_id),
        "stream": "web",
        "event_type": "log",
        "kind": "novelty",
        "severity": "high",
        "created_at": NOW_MS + number,
        "last_at": NOW_MS + number,
        "count": 1,
        "open": True,
        "calibrated": True,
        "surprisal": 1 << 20,
        "extrapolated": False,
        "reference_n": 1_000,
        "score_bits": 1 << 20,
        "channels": {"slot": 1},
        "explanation": {"sentence": f"number {number}", "tokens": [], "event": "Disk FULL", "nearest_normal": None},
        "metrics": dict.fromkeys(
            (
                "baseline_bytes",
                "window_bytes",
                "both_bytes",
                "window_raw_bytes",
                "compression_ratio",
                "delta_bits_per_byte",
                "ncd",
                "entropy",
                "permutation_p",
            ),
            1,
        )
        | {"library": "zstd"},
        "first_event_id": str(UUID(int=number)),
        "position": {"topic_id": "t", "partition": 0, "frame": 1, "event": number},
        "detector_version": "1",
    } | changed
    return Anomaly.from_bytes(orjson.dumps(said))


def store(database: Database, *anomalies: Anomaly) -> None:
    """Write anomalies as the sink does, in one transaction."""
    with psycopg.connect(database.url("driftlock_sink")) as connection:
        records = [Record("t", 0, i, NOW_MS, None, one.to_bytes()) for i, one in enumerate(anomalies)]
        sink.write(connection, records, NOW_MS)


@pytest.fixture(scope="session")
def api_world(postgres: Server, migrated_template: str) -> Iterator[World]:
    """One API for all tests of it, with a broker and a database of its own. Use organizations of your own."""
    with scratch() as folder, fresh_database(postgres, migrated_template) as copy:
        for broker in running(providers.needed(lambda: providers.new_broker(folder))):
            with world(broker, Database(postgres, copy.name)) as made:
                yield made
