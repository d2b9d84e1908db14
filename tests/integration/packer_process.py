"""What tests of the packer share: a broker with topics, packers as real processes, and what the agents would take."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline import kafka, topics
from pipeline.embedded import process
from pipeline.embedded.broker import Broker
from pipeline.embedded.process import Child
from pipeline.places import admit
from schemas import frames
from schemas.frames import Place
from schemas.models import DeadLetter, OrganizationControl
from schemas.settings import Settings
from schemas.topics import BLOCKS, CONTROL, DEAD_LETTERS

ORGANIZATION = "00000000-0000-5000-8000-000000000001"
SECOND = "00000000-0000-5000-8000-000000000002"
Headers = list[tuple[str, bytes | str | None]]
HEADERS: Headers = [("x-organization-id", ORGANIZATION.encode())]

# Confluent's client refuses to send such a name; aiokafka's in plain Python encodes it by a method of its own.
_BAD_HEADER = """
import asyncio, sys
from aiokafka import AIOKafkaProducer

class Name(str):
    def encode(self, *_):
        return b"\\xff\\xfe"

async def main():
    async with AIOKafkaProducer(bootstrap_servers=sys.argv[1]) as producer:
        await producer.send_and_wait("events", sys.argv[2].encode(), partition=0, headers=[(Name("x"), b"1")])

asyncio.run(main())
"""

Taken = list[tuple[str, str, bytes]]
"""What agents take: (organization, stream, body), in the order of each partition."""


@dataclass
class Stage:
    """A broker with all topics and one known organization."""

    broker: Broker
    folder: Path
    children: list[Child] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """What the packers run with: small flushes, so that many are on their way."""
        return Settings(kafka_brokers=self.broker.bootstrap, packer_flush_bytes=8192, packer_flush_ms=50)

    def packer(self, *arguments: str, crash_at: str = "") -> Child:
        """Start `driftlock packer`."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        environ = {
            **kept,
            "KAFKA_BROKERS": self.broker.bootstrap,
            "PACKER_FLUSH_BYTES": "8192",
            "PACKER_FLUSH_MS": "50",
            "PACKER_TICK_MS": "500",
            "DRIFTLOCK_CRASH_AT": crash_at,
        }
        command = [sys.executable, "-m", "pipeline.cli", "packer", *arguments]
        log = self.folder / f"packer-{len(self.children)}.log"
        child = process.start("packer", command, log=log, env=environ)
        self.children.append(child)
        return child

    def know(self, organization_id: str, version: int = 1) -> None:
        """Make an organization known."""
        value = OrganizationControl(id=UUID(organization_id), version=version).to_bytes()
        self.send(CONTROL.name, [value], key=f"organization/{organization_id}", headers=[])

    def send(
        self,
        topic: str,
        values: list[bytes | None],
        *,
        headers: Headers = HEADERS,
        codec: str = "none",
        key: str | None = None,
        partition: int = -1,
    ) -> None:
        """Publish records and wait until the broker has them."""
        config = {"bootstrap.servers": self.broker.bootstrap, "compression.type": codec, "message.max.bytes": 16 << 20}
        producer = Producer(config)
        for value in values:
            producer.produce(topic, value, key, partition, headers=headers)
        assert producer.flush(60) == 0

    def send_bad_header(self, value: bytes) -> None:
        """Publish to partition 0 of `events` a record with the name of a header that is not UTF-8."""
        environ = {**os.environ, "AIOKAFKA_NO_EXTENSIONS": "1"}
        command = [sys.executable, "-W", "ignore", "-c", _BAD_HEADER, self.broker.bootstrap, value.decode()]
        subprocess.run(command, env=environ, check=True, timeout=60)

    def taken(self) -> tuple[Taken, dict[tuple[str, int], Place]]:
        """What agents take of `blocks` so far, and the places they expect next; all partitions expect the same."""
        out: Taken = []
        expected: dict[int, dict[tuple[str, int], Place]] = {}
        for message in self.read(BLOCKS.name):
            frame = frames.decode(message.value())
            mask, expected[message.partition()] = admit(expected.get(message.partition(), {}), frame)
            ends = frame.events.body_length.cumsum().tolist()
            starts = [0, *ends]
            for block in frame.blocks:
                out += [
                    (block.organization_id, block.stream, frame.events.body[starts[i] : ends[i]])
                    for i in range(block.start, block.stop)
                    if mask[i]
                ]
        return out, max(expected.values(), key=lambda e: sorted(e.items()), default={})

    def dead(self) -> dict[tuple[str, int, int, int], DeadLetter]:
        """Dead letters by their place."""
        found = [DeadLetter.from_bytes(message.value()) for message in self.read(DEAD_LETTERS.name)]
        return {(d.topic, d.partition, d.offset, d.index): d for d in found}

    def read(self, topic: str) -> Iterator[Any]:
        """All messages that are in a topic now."""
        config = {
            "bootstrap.servers": self.broker.bootstrap,
            "group.id": "test",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.max.bytes": 64 << 20,
            "receive.message.max.bytes": 128 << 20,
        }
        consumer = Consumer(config)
        count = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(count)])
        ended = 0
        while ended < count:
            for message in consumer.consume(1000, 1.0):
                if message.error() is None:
                    yield message
                else:
                    ended += (message.offset() or 0) >= 0  # the partition's end, said as an error at its offset
        consumer.close()


@contextmanager
def stage(broker: Broker, folder: Path) -> Iterator[Stage]:
    """Make the topics and the organization; end what a failing test left running."""
    made = Stage(broker, folder)
    topics.apply(made.settings)
    made.know(ORGANIZATION)
    try:
        yield made
    finally:
        for child in made.children:
            if child.alive():
                os.kill(child.pid, signal.SIGCONT)
            process.kill(child)


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def ended(child: Child, seconds: float = 90) -> int:
    """Wait for the end of a process; its exit code."""
    return child.popen.wait(seconds)


def stopped(child: Child) -> int:
    """End a packer in order."""
    os.kill(child.pid, signal.SIGTERM)
    return ended(child)


def last_line(child: Child) -> str:
    """The last line it wrote."""
    return child.log.read_text().splitlines()[-1]


def topic_id(stage: Stage, topic: str) -> str:
    """Kafka's id of a topic."""
    client = kafka.admin(stage.settings)
    return kafka.topic_ids(client, [topic])[topic]
