"""Events to DriftLock by Kafka, in Python: `pip install confluent-kafka`, then `produce.py < events.jsonl`.

An object or a text a line. Settings are those of the environment:

    KAFKA_BROKERS             host:port, comma separated
    ORGANIZATION_ID           whose events these are
    STREAM                    stream of events that name none (default: default)
    KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD, KAFKA_SSL_CA    where the brokers ask for them
"""

import json
import os
import sys

from confluent_kafka import KafkaError, Message, Producer


def config() -> dict[str, str | bool | int]:
    """Idempotent, acknowledged by all replicas, and tried for two minutes."""
    made: dict[str, str | bool | int] = {
        "bootstrap.servers": os.environ["KAFKA_BROKERS"],
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "zstd",
        "linger.ms": 20,
        "message.max.bytes": 16 << 20,
        "delivery.timeout.ms": 120_000,
    }
    if user := os.environ.get("KAFKA_SASL_USERNAME"):
        made |= {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": os.environ.get("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
            "sasl.username": user,
            "sasl.password": os.environ["KAFKA_SASL_PASSWORD"],
            "ssl.ca.location": os.environ["KAFKA_SSL_CA"],
        }
    return made


def content_type(line: bytes) -> bytes:
    """What a line is, so that nobody has to guess."""
    try:
        return b"application/json" if isinstance(json.loads(line), dict) else b"text/plain"
    except ValueError:
        return b"text/plain"


def main() -> int:
    """Send standard input; 0 once Kafka has acknowledged every line."""
    organization, stream = os.environ["ORGANIZATION_ID"], os.environ.get("STREAM", "default")
    failed: list[str] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error.str())

    producer = Producer(config())
    sent = 0
    for line in sys.stdin.buffer:
        if not line.strip() or failed:
            continue
        headers = [
            ("x-organization-id", organization.encode()),
            ("x-stream", stream.encode()),
            ("content-type", content_type(line)),
        ]
        while True:
            try:
                # One key for a stream: one partition, so its events stay in order.
                producer.produce(
                    f"events.{organization}", line.strip(), key=stream, headers=headers, on_delivery=delivered
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        sent += 1
    waiting = producer.flush(130)
    if failed or waiting:
        sys.stderr.write(f"not delivered: {failed[0] if failed else f'{waiting} events in time'}\n")
        return 1
    sys.stdout.write(f"sent {sent} events\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
