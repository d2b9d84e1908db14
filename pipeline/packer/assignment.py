"""Partitions that a packer got: what each is, and where it reads on."""

from collections.abc import Iterable, Sequence

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from pipeline import kafka
from pipeline.packer.control import Control, remember
from pipeline.packer.sources import Source, Stored, life, require_same, resume, stored
from pipeline.topics import ORGANIZATION_TOPIC
from schemas.errors import BrokerUnreachable, DriftlockError
from schemas.models import SourceControl
from schemas.topics import CONTROL, SOURCES

SHARED = (CONTROL.name, *(topic.name for topic in SOURCES))
SUBSCRIPTION = (*SHARED, f"^{ORGANIZATION_TOPIC.pattern}$".replace("(?:", "("))  # POSIX
"""What the group of packers reads. The control topic is one of the sources, so that one packer copies it, without a gap."""

EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
MAX_SOURCES = 1 << 16
_TIMEOUT = 10.0

Partition = tuple[str, int]


def source_partitions(client: AdminClient) -> list[Partition]:
    """Every partition of every source topic: for a packer that has no group."""
    return [
        (topic, partition)
        for topic, count in kafka.topics(client).items()
        if topic in SHARED or ORGANIZATION_TOPIC.fullmatch(topic)
        for partition in range(count)
    ]


def sources(
    partitions: Sequence[Partition],
    consumer: Consumer,
    client: AdminClient,
    producer: Producer,
    control: Control,
    *,
    ends_known: bool,
) -> list[Source]:
    """The sources of some partitions, each at its next place to read. `TopicRecreated`, `OffsetLost` as in sources.py."""
    if len(partitions) >= MAX_SOURCES:
        raise DriftlockError(
            f"{len(partitions)} source partitions for one packer, {MAX_SOURCES} at most: start more packers"
        )
    kept = committed(consumer, partitions)
    lows = offsets(client, partitions, EARLIEST)
    highs = offsets(client, partitions, LATEST) if ends_known else {}
    ids = kafka.topic_ids(client, sorted({topic for topic, _ in partitions}))
    control.catch_up()
    found = []
    for number, (topic, partition) in enumerate(partitions):
        last = kept[topic, partition]
        known = control.sources.get(topic)
        if known is None:
            if last is not None and last.topic_id is not None:
                require_same(topic, last.topic_id.partition("#")[0], ids[topic])
            known = control.sources[topic] = SourceControl(topic=topic, topic_id=ids[topic])
            remember(producer, known)
        require_same(topic, known.topic_id, ids[topic])
        topic_id = life(known.topic_id, known.epoch)
        place = resume(topic, partition, topic_id, last, lows[topic, partition], highs.get((topic, partition)))
        own = ORGANIZATION_TOPIC.fullmatch(topic)
        found.append(Source(topic, topic_id, partition, number, own[1] if own else None, place, *place))
    return found


def committed(consumer: Consumer, partitions: Iterable[Partition]) -> dict[Partition, Stored | None]:
    """What the group of packers committed of some partitions."""
    try:
        answers = consumer.committed([TopicPartition(*p) for p in partitions], timeout=_TIMEOUT)
    except KafkaException as error:
        raise BrokerUnreachable(f"Kafka does not tell the packers' offsets: {error.args[0].str()}") from error
    return {(a.topic, a.partition): stored(a.offset, a.metadata) for a in answers}


def offsets(client: AdminClient, partitions: Iterable[Partition], which: OffsetSpec) -> dict[Partition, int]:
    """The first offset or the end of some partitions."""
    asked = client.list_offsets({TopicPartition(*p): which for p in partitions}, request_timeout=_TIMEOUT)
    try:
        return {(p.topic, p.partition): future.result(timeout=_TIMEOUT + 1).offset for p, future in asked.items()}
    except TimeoutError as error:
        raise BrokerUnreachable(f"Kafka does not tell the offsets of the sources within {_TIMEOUT:.0f} s") from error
    except KafkaException as error:
        raise BrokerUnreachable(f"Kafka does not tell the offsets of the sources: {error.args[0].str()}") from error
