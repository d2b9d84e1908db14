"""Apache Kafka with SASL_SSL and ACLs: a tenant's user writes its own topic and nothing else, and our processes run there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from pipeline import access, kafka, topics
from pipeline.embedded import collector, process
from pipeline.stack import processes
from schemas.errors import BrokerUnreachable, DriftlockError
from schemas.models import OrganizationControl, ScoredUsage, usage_from_bytes
from schemas.settings import load
from schemas.topics import CONTROL, OTLP, SEEDS, USAGE
from tests.integration import secure_kafka
from tests.integration.otel_client import sent_by_sdk
from tests.integration.packer_process import until
from tests.integration.secure_kafka import PASSWORD, Secure
from tests.stack.fixtures import scratch
from tests.stack.providers import needed

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "produce.py"
MINE, THEIRS = "00000000-0000-5000-8000-000000000001", "00000000-0000-5000-8000-000000000002"
EVENTS = b'{"n": 1}\n{"n": 2, "stream": "web"}\na line of text\n'


def refused(secure: Secure, topic: str) -> bool:
    """Whether Kafka refuses the first organization's user to write a topic."""
    said: list[KafkaError | None] = []
    settings = load(secure.environ("tenant"))
    producer = Producer({**kafka.client_config(settings), "message.timeout.ms": 20_000})
    producer.produce(topic, b"{}", on_delivery=lambda error, _message: said.append(error))
    producer.flush(30)
    (error,) = said
    return error is not None and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def produced(secure: Secure, organization_id: str, password: str = PASSWORD) -> subprocess.CompletedProcess[bytes]:
    """What the example does, as the first organization's user."""
    environ = {
        "PATH": os.environ["PATH"],
        **secure.environ("tenant"),
        "ORGANIZATION_ID": organization_id,
        "KAFKA_SASL_PASSWORD": password,
    }
    return subprocess.run(
        [sys.executable, EXAMPLE], input=EVENTS, capture_output=True, check=False, timeout=150, env=environ
    )


def scored(settings: Any) -> int:
    """Events of the first organization that were scored."""
    consumer: Consumer = kafka.consumer(settings, "test-usage")
    try:
        parts = consumer.list_topics(USAGE.name, timeout=10).topics[USAGE.name].partitions
        consumer.assign([TopicPartition(USAGE.name, part, 0) for part in parts])
        count, ended = 0, 0
        while ended < len(parts):
            for message in consumer.consume(500, 1.0):
                if message.error() is not None:
                    ended += 1
                    continue
                usage = usage_from_bytes(message.value() or b"")
                if isinstance(usage, ScoredUsage) and usage.organization_id == UUID(MINE):
                    count += usage.count
        return count
    finally:
        consumer.close()


@pytest.fixture(scope="module")
def secure() -> Iterator[Secure]:
    """A broker with a tenant's user and ours, who may do everything."""
    with scratch() as folder, secure_kafka.running(folder, ("tenant",), ("driftlock",)) as made:
        yield made


def test_a_tenants_user_writes_its_own_topic_and_no_other(secure: Secure) -> None:
    with scratch() as folder:
        environ = {**secure.environ("driftlock"), "WORKER_DATA_DIR": str(folder / "worker")}
        settings = load(environ)
        topics.apply(settings, organizations=[MINE, THEIRS])
        assert refused(secure, f"events.{MINE}")
        assert access.grant(settings, MINE, "User:tenant") == f"events.{MINE}"
        access.grant(settings, MINE, "User:tenant")  # once more changes nothing
        for topic in (
            f"events.{THEIRS}",
            "events",
            *(topic.name for topic in OTLP.values()),
            SEEDS.name,
            CONTROL.name,
            USAGE.name,
        ):
            assert refused(secure, topic), topic
        tenant = Consumer({**kafka.client_config(load(secure.environ("tenant"))), "group.id": "mine"})
        with pytest.raises(KafkaException):
            tenant.get_watermark_offsets(TopicPartition("events", 0), timeout=5)
        tenant.close()

        known = OrganizationControl(id=UUID(MINE), version=1).to_bytes()
        producer = kafka.producer(settings)
        producer.produce(CONTROL.name, known, f"organization/{MINE}")
        assert producer.flush(30) == 0
        children = [
            processes.start(program, {**os.environ, **environ, "METRICS_PORT": "0"}, folder)
            for program in (processes.PACKER, processes.WORKER)
        ]
        names = ["collector.yaml", "organization.yaml", "sasl.yaml"]
        gate = needed(
            lambda: collector.new(folder / "collector", names, {**secure.environ("tenant"), "ORGANIZATION_ID": MINE})
        )
        gate.start()
        try:
            done = produced(secure, MINE)
            assert (done.returncode, done.stdout) == (0, b"sent 3 events\n"), done.stderr
            done = produced(secure, THEIRS)
            assert (done.returncode, b"not delivered" in done.stderr) == (1, True)
            # The header is what a client of the collector made up: the topic says whose it is.
            sent_by_sdk(gate.url, {"x-organization-id": THEIRS}, logs=20, spans=5, points=2)
            until(lambda: scored(settings) == 3 + 27)
        finally:
            gate.stop()
            for child in children:
                process.kill(child)


def test_a_wrong_password_is_one_line(secure: Secure) -> None:
    settings = load(secure.environ("driftlock") | {"KAFKA_SASL_PASSWORD": "wrong"})
    with pytest.raises(BrokerUnreachable, match=r"(?i)authentication") as told:
        kafka.require_broker(settings, timeout=4)
    assert "\n" not in str(told.value)
    assert "wrong" not in str(told.value)


@pytest.mark.parametrize(
    ("organization", "principal"), [("x", "User:a"), (MINE, "a"), (MINE, "User:*"), (MINE, "User:")]
)
def test_rules_are_for_one_user_and_one_organization(organization: str, principal: str) -> None:
    with pytest.raises(DriftlockError, match="must be"):
        access.grant(load({}), organization, principal)
