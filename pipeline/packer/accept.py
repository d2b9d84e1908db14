"""What a person accepts as lost: a source topic made again, or offsets that its log no longer has."""

from confluent_kafka import KafkaException, TopicPartition

from pipeline import kafka
from pipeline.packer.assignment import EARLIEST, LATEST, committed, offsets
from pipeline.packer.control import Control, remember
from pipeline.packer.sources import GROUP, life, metadata
from schemas.errors import DriftlockError, MissingTopic
from schemas.models import SourceControl
from schemas.settings import Settings


def accept(settings: Settings, topic: str) -> str:
    """Begin a new life of a source topic; returns what was done, in one line.

    Made again: it is read from its start. Offsets lost: each partition goes on from its stored place where the log has
    it, else from the nearest end of the log. Either way agents see a source not seen before, so no place is taken for
    one that was read. Every packer must be stopped.
    """
    kafka.require_broker(settings)
    client = kafka.admin(settings)
    count = kafka.topics(client).get(topic)
    if count is None:
        raise MissingTopic(f"the topic {topic} is missing: create it with `driftlock topics apply`")
    found = kafka.topic_ids(client, [topic])[topic]
    control = Control(settings)
    known = control.sources.get(topic)
    control.close()
    producer = kafka.producer(settings)
    if known is None or known.topic_id != found:
        remember(producer, SourceControl(topic=topic, topic_id=found))
        return f"the topic {topic} (id {found}) will be read from its start"
    new = SourceControl(topic=topic, topic_id=found, epoch=known.epoch + 1)
    partitions = [(topic, partition) for partition in range(count)]
    lows, highs = offsets(client, partitions, EARLIEST), offsets(client, partitions, LATEST)
    consumer = kafka.consumer(settings, GROUP)
    try:
        places, said = [], []
        for partition, last in committed(consumer, partitions).items():
            low, high = lows[partition], highs[partition]
            if last is None:
                continue
            offset = min(max(last.offset, low), high)
            index = last.index if offset == last.offset else 0
            places.append(TopicPartition(*partition, offset, metadata=metadata(life(found, new.epoch), index)))
            if offset != last.offset:
                said.append(f"partition {partition[1]} goes on from {offset} instead of {last.offset}")
        if not said:
            return f"nothing to accept: the log of {topic} has every stored offset"
        # The places first: a packer that starts between the two still finds its offset lost, and stops again.
        consumer.commit(offsets=places, asynchronous=False)
    except KafkaException as error:
        raise DriftlockError(
            f"the packers' offsets can't be set ({error.args[0].str()}): stop every packer first"
        ) from error
    finally:
        consumer.close()
    remember(producer, new)
    return f"the topic {topic}: {'; '.join(said)}"
