"""Dead letters of a sink: records that can't become rows, acknowledged by Kafka before their offset moves."""

from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.packer.dead import Origin, dead_letter
from pipeline.sinks.sink import Record, Sink
from schemas.errors import DeliveryFailed
from schemas.topics import DEAD_LETTERS, ORGANIZATION_HEADER

TIMEOUT_S = 60.0


def send(producer: Producer, sink: Sink, records: Sequence[Record], reasons: Mapping[int, str]) -> None:
    """Send the rejected records and wait for every acknowledgement; `DeliveryFailed` if one does not come.

    A batch that is tried again sends them again, with the same ids.
    """
    failed: list[str] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error.str())

    for i, reason in reasons.items():
        record = records[i]
        headers = dict(record.headers)
        organization_id = headers.get(ORGANIZATION_HEADER) or record.key
        origin = Origin(
            sink.topic.name,
            record.topic_id,
            record.partition,
            record.offset,
            record.arrived_at,
            organization_id.decode("utf-8", "backslashreplace")[:64] if organization_id else None,
            record.headers,
            record.key,
        )
        key, value = dead_letter(origin, 0, reason, record.value or b"", stage=sink.name)
        try:
            producer.produce(DEAD_LETTERS.name, value, key, on_delivery=delivered)
        except (BufferError, KafkaException):
            producer.flush(TIMEOUT_S)
            producer.produce(DEAD_LETTERS.name, value, key, on_delivery=delivered)
    left = producer.flush(TIMEOUT_S) if reasons else 0
    if failed or left:
        raise DeliveryFailed(
            f"dead letters of {sink.name} were not acknowledged: {failed[0] if failed else f'{left} after {TIMEOUT_S:.0f} s'}"
        )
