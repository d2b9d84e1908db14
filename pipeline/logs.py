"""The logs of the topic usage in Kafka: where each partition begins and ends, and what the sink's group committed."""

from confluent_kafka import KafkaException, TopicPartition

from billing.invariants import USAGE_SINK, Log
from pipeline import kafka
from schemas.errors import BrokerUnreachable
from schemas.settings import Settings
from schemas.topics import USAGE

_SECONDS = 10


def usage_logs(settings: Settings) -> dict[int, Log]:
    """Partition → its log. `BrokerUnreachable` or `MissingTopic` in one line."""
    kafka.require_broker(settings)
    kafka.topic_ids(kafka.admin(settings), [USAGE.name])
    partitions = range(kafka.topics(kafka.admin(settings))[USAGE.name])
    consumer = kafka.consumer(settings, USAGE_SINK)  # never joins the group: it only asks what that has committed
    try:
        asked = [TopicPartition(USAGE.name, partition) for partition in partitions]
        committed = {found.partition: found.offset for found in consumer.committed(asked, timeout=_SECONDS)}
        logs = {}
        for partition in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(USAGE.name, partition), timeout=_SECONDS)
            logs[partition] = Log(low, high, committed[partition] if committed[partition] >= 0 else -1)
    except KafkaException as error:
        raise BrokerUnreachable(f"Kafka does not tell the offsets of {USAGE.name}: {error.args[0].str()}") from error
    finally:
        consumer.close()
    return logs


def usage_topic_id(settings: Settings) -> str:
    """Kafka's id of the topic usage."""
    return kafka.topic_ids(kafka.admin(settings), [USAGE.name])[USAGE.name]
