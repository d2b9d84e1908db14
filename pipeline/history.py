"""What a topic holds now, read once from its beginning or from a time on, without a group's offsets and without end."""

from collections.abc import Iterable, Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline import kafka
from schemas.errors import BrokerUnreachable, MissingTopic, OffsetLost
from schemas.settings import Settings

_TIMEOUT = 20.0
_PATIENCE = 0.5
_SILENCE = 60
_BATCH = 500

Bounds = Mapping[int, tuple[int, int]]
"""Partition → its first offset, and the one behind its last."""


def bounds(settings: Settings, topic: str, *, since: int | None = None) -> Bounds:
    """Where each partition of a topic begins and ends now; with `since` (ms) begins at the first record appended from then on."""
    reader = kafka.consumer(settings, "driftlock-history")
    try:
        found = reader.list_topics(topic, timeout=_TIMEOUT).topics[topic]
        if found.error is not None:
            raise MissingTopic(f"the topic {topic} is missing: create it with `driftlock topics apply`")
        ends = {
            number: reader.get_watermark_offsets(TopicPartition(topic, number), timeout=_TIMEOUT)
            for number in sorted(found.partitions)
        }
        if since is None:
            return ends
        asked = reader.offsets_for_times([TopicPartition(topic, n, max(since, 0)) for n in ends], timeout=_TIMEOUT)
        return {p.partition: (p.offset if p.offset >= 0 else ends[p.partition][1], ends[p.partition][1]) for p in asked}
    except KafkaException as error:
        raise BrokerUnreachable(f"Kafka does not tell what {topic} holds: {error.args[0].str()}") from error
    finally:
        reader.close()


def committed(settings: Settings, group: str, topic: str, numbers: Iterable[int]) -> dict[int, int]:
    """What a group has committed of each partition: all before it is done. 0 where it has committed nothing."""
    reader = kafka.consumer(settings, group)
    try:
        asked = reader.committed([TopicPartition(topic, number) for number in numbers], timeout=_TIMEOUT)
    except KafkaException as error:
        raise BrokerUnreachable(f"Kafka does not tell what {group} has done: {error.args[0].str()}") from error
    finally:
        reader.close()
    return {p.partition: max(p.offset, 0) for p in asked}


def messages(settings: Settings, topic: str, within: Bounds) -> Iterator[Message]:
    """The records within some bounds, partition by partition, each in order; `OffsetLost` where retention removed one meanwhile."""
    reader = kafka.consumer(settings, "driftlock-history", {"fetch.message.max.bytes": 8 << 20})
    try:
        for number, (first, stop) in within.items():
            yield from _partition(reader, topic, number, first, stop)
    finally:
        reader.close()


def _partition(reader: Consumer, topic: str, number: int, first: int, stop: int) -> Iterator[Message]:
    if first >= stop:
        return
    reader.assign([TopicPartition(topic, number, first)])
    silent = 0
    while silent < _SILENCE:
        # The client waits until it has so many, or the time is over.
        batch = reader.consume(min(_BATCH, stop - first), _PATIENCE)
        silent = 0 if batch else silent + 1
        for message in batch:
            error, offset = message.error(), message.offset()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF and (offset or 0) >= stop:  # noqa: SLF001
                    return
                _refuse(error, topic, number)
                continue
            if offset is None or offset >= stop:
                return
            yield message
            first = offset + 1
            if first >= stop:
                return
    raise BrokerUnreachable(f"{topic}/{number} can't be read to its end at {stop}: Kafka gives nothing more")


def _refuse(error: KafkaError, topic: str, number: int) -> None:
    if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:  # noqa: SLF001
        raise OffsetLost(f"{topic}/{number} was shortened by retention while it was read: run the command again")
    if error.code() != KafkaError._PARTITION_EOF and not error.retriable():  # noqa: SLF001
        raise BrokerUnreachable(f"{topic}/{number} can't be read: {error.str()}")
