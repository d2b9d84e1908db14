"""A partition brought to where it must be: saved states loaded, `blocks` read again, nothing sent."""

import time
from collections.abc import Callable, Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from detectors.detector import Controls
from pipeline.worker.deadlines import Deadlines
from pipeline.worker.partition import Partition, Stored
from pipeline.worker.rules import Rule, as_of
from pipeline.worker.saved import decode_partition, decode_stream, partition_key
from pipeline.worker.scoring import score_frame
from schemas.errors import BrokerUnreachable, OffsetLost, TopicRecreated
from schemas.frames import decode
from schemas.topics import BLOCKS

ReadFrames = Callable[[int, int, int], Iterator[tuple[int, bytes]]]
"""(partition, first, last) → (offset, bytes) of each frame from first to last, both included."""

FirstFrame = Callable[[int], int]
"""partition → offset of the first frame that its log still has."""

CUT_AFTER_S = 30.0
"""A log that ends before a frame that is needed, for so long, was cut; shorter, a broker may just be starting."""

_RESET = "`driftlock worker --accept-new-topic blocks` goes on with the saved states from the log's beginning"


def restore(number: int, topic_id: str, stored: Stored, *, accept_new_topic: bool = False) -> Partition:
    """The partition as its saved record says: to be caught up from `position` + 1.

    Raises `TopicRecreated` where the record is of another topic, `OffsetLost` where a stale state needs frames older than
    any listed checkpoint; neither where that is accepted.
    """
    value = stored(partition_key(number))
    if value is None:
        return Partition(number, topic_id)
    saved = decode_partition(value)
    if saved.topic_id != topic_id:
        if not accept_new_topic:
            raise TopicRecreated(
                f"the topic {BLOCKS.name} was made again since the states of partition {number} were saved "
                f"(id {saved.topic_id}, now {topic_id}): {_RESET}"
            )
        latest = {key: (Rule(-1, versions[-1].said),) for key, versions in saved.rules.items()}
        return Partition(number, topic_id, lost=0, rules=latest)
    start = saved.checkpoint
    stale = set()
    for key, position in saved.positions.items():
        state = stored(key.encode())
        behind = -1 if state is None else decode_stream(state).position
        if behind < position:
            stale.add(key)
            earlier = saved.start_for(min(behind + 1, start.low_water))
            if earlier is None and accept_new_topic:
                earlier = saved.oldest
            if earlier is None:
                raise OffsetLost(
                    f"the saved state of a stream in partition {number} is older than any checkpoint: {_RESET}"
                )
            start = earlier
    partition = Partition(
        number,
        topic_id,
        dict(start.expected),
        start.low_water - 1,
        saved.acked,
        positions=dict(saved.positions),
        clock=start.clock,
        deadlines=Deadlines(saved.deadlines),
        lost=saved.lost,
        rules=as_of(saved.rules, start.low_water),
        untold={*saved.untold, *stale},
    )
    partition.checkpoints = (*saved.earlier, saved.checkpoint)
    return partition


def accept_lost(partition: Partition, first: int) -> int:
    """Go on from frame `first`, where the log begins, if what comes next was removed; returns how many frames are lost."""
    lost = first - partition.position - 1
    if lost <= 0:
        return 0
    partition.position, partition.expected = first - 1, {}
    # A stream may have sent in what is lost: it is not called silent until it has sent again.
    partition.lost, partition.deadlines = first, Deadlines()
    return lost


def catch_up(partition: Partition, read: ReadFrames, stored: Stored, controls: Controls, most_streams: int) -> int:
    """Score the frames after `position` whose outputs are out, without sending anything; returns how many there were."""
    frames = 0
    if partition.acked > partition.position:
        for number, data in read(partition.number, partition.position + 1, partition.acked):
            frame = decode(data)
            score_frame(partition, number, frame, len(frame.events.body), stored, controls, most_streams)
            frames += 1
    return frames


def frame_reader(config: dict[str, str | int | float | bool | None]) -> ReadFrames:
    """Reads frames with a consumer of its own, made of `config` (brokers and security); raises `OffsetLost` where they are gone."""

    def read(partition: int, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        consumer = Consumer(
            {
                **config,
                "group.id": "driftlock-worker-recovery",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.message.max.bytes": BLOCKS.max_message_bytes,
                "fetch.max.bytes": 64 << 20,
                "queued.max.messages.kbytes": 65536,
            }
        )
        try:
            consumer.assign([TopicPartition(BLOCKS.name, partition, first)])
            ended = float("inf")
            while True:
                message = consumer.poll(1.0)
                if time.monotonic() - ended > CUT_AFTER_S:
                    raise OffsetLost(f"{BLOCKS.name}/{partition} ends before frame {last}, which was handled: {_RESET}")
                if message is None:
                    continue
                if error := message.error():
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                        ended = min(ended, time.monotonic())
                    else:
                        _refuse(error, partition, first)
                    continue
                ended = float("inf")
                offset, value = message.offset(), message.value()
                if offset is None or offset > last:
                    return
                yield offset, value or b""
                if offset == last:
                    return
        finally:
            consumer.close()

    return read


def first_frame(config: dict[str, str | int | float | bool | None]) -> FirstFrame:
    """Asks for the log's beginning with a consumer of its own, made of `config`; raises `BrokerUnreachable`."""

    def first(partition: int) -> int:
        consumer = Consumer({**config, "group.id": "driftlock-worker-recovery"})
        try:
            low, _ = consumer.get_watermark_offsets(TopicPartition(BLOCKS.name, partition), timeout=10)
        except KafkaException as error:
            raise BrokerUnreachable(f"Kafka does not tell where {BLOCKS.name} begins: {error.args[0].str()}") from error
        finally:
            consumer.close()
        return low

    return first


def _refuse(error: KafkaError, partition: int, first: int) -> None:
    if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:  # noqa: SLF001
        raise OffsetLost(
            f"frame {first} of {BLOCKS.name}/{partition} is needed to restore states and is gone: {_RESET}"
        )
    if error.fatal() or not error.retriable():
        raise KafkaException(error)
