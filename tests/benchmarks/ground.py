"""What the pipeline stands on while it is measured: a broker of its own, topics filled with the lines, fresh for each run."""

import time
from collections.abc import Iterable
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pipeline import kafka, topics
from pipeline.packer.assignment import LATEST, offsets
from pipeline.packer.sources import GROUP
from schemas.errors import ComponentFailed
from schemas.models import OrganizationControl
from schemas.settings import Settings
from schemas.topics import (
    ANOMALIES,
    BLOCKS,
    CONTROL,
    DEAD_LETTERS,
    EVENTS,
    ORGANIZATION_HEADER,
    STATES,
    USAGE,
    WORKER_APP,
)
from tests.benchmarks.lines import lines

ORGANIZATION = UUID("00000000-0000-5000-8000-000000000001")
DOWNSTREAM = (BLOCKS.name, ANOMALIES.name, USAGE.name, DEAD_LETTERS.name, STATES.name)
_TIMEOUT_S = 60.0


def fill(settings: Settings, count: int, passes: int, streams: int) -> int:
    """Make all topics anew and publish `count` lines `passes` times, keyed by stream; returns the bytes of their bodies."""
    remove(settings, (EVENTS.name, CONTROL.name, *DOWNSTREAM))
    topics.apply(settings)
    producer = Producer(
        {"bootstrap.servers": settings.kafka_brokers, "linger.ms": 20, "queue.buffering.max.messages": 200_000}
    )
    known = OrganizationControl(id=ORGANIZATION, version=1)
    producer.produce(CONTROL.name, known.to_bytes(), f"organization/{ORGANIZATION}")
    headers: list[tuple[str, bytes | str | None]] = [(ORGANIZATION_HEADER, str(ORGANIZATION).encode())]
    size = 0
    for _ in range(passes):
        for stream, line in lines(count, streams):
            size += len(line)
            while True:
                try:
                    producer.produce(EVENTS.name, line, stream, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
    if producer.flush(_TIMEOUT_S):
        raise ComponentFailed(f"Kafka did not take all lines within {_TIMEOUT_S:.0f} s")
    return size


def clear(settings: Settings) -> None:
    """What packers and workers wrote and committed is gone; `events` and `control` stay as they are."""
    remove(settings, DOWNSTREAM)
    topics.apply(settings)


def remove(settings: Settings, names: Iterable[str]) -> None:
    """Delete topics and our groups, and wait until the broker no longer knows them."""
    client = kafka.admin(settings)
    deadline = time.monotonic() + _TIMEOUT_S
    listed = client.list_consumer_groups(request_timeout=_TIMEOUT_S).result(timeout=_TIMEOUT_S)
    for group in {found.group_id for found in listed.valid} & {GROUP, WORKER_APP}:
        # One whose members left a moment ago may still count as not empty.
        while (error := _delete_group(client, group)) is not None:
            if time.monotonic() > deadline:
                raise ComponentFailed(f"the group {group} can't be deleted: {error.str()}")
            time.sleep(0.2)
    there = [name for name in names if name in kafka.topics(client)]
    for future in (client.delete_topics(there, operation_timeout=30) if there else {}).values():
        future.result(timeout=_TIMEOUT_S)
    while set(there) & set(kafka.topics(client)):
        if time.monotonic() > deadline:
            raise ComponentFailed(f"topics are not deleted: {', '.join(there)}")
        time.sleep(0.05)


def _delete_group(client: AdminClient, group: str) -> KafkaError | None:
    try:
        client.delete_consumer_groups([group])[group].result(timeout=_TIMEOUT_S)
    except KafkaException as error:
        return error.args[0]  # type: ignore[no-any-return]
    return None


def make(settings: Settings, names: Iterable[str]) -> None:
    """Plain topics for a peer, with as many partitions as ours."""
    client = kafka.admin(settings)
    made = client.create_topics([NewTopic(n, settings.topic_partitions, 1) for n in names])
    for future in made.values():
        future.result(timeout=_TIMEOUT_S)


def messages(settings: Settings, topic: str) -> int:
    """How many messages were written to a topic."""
    client = kafka.admin(settings)
    partitions = [(topic, p) for p in range(kafka.topics(client)[topic])]
    return sum(offsets(client, partitions, LATEST).values())
