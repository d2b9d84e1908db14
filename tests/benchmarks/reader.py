"""Peer: confluent-kafka `consume(1000)` and `orjson.loads` of each record; nothing is done with what was read.

`python -m tests.benchmarks.reader BROKERS WARM TOTAL CPU` prints {"events", "cpu"} between `warm` and `total` events, or
`cpu` seconds later. A process of its own, so that all its threads count and nothing else does.
"""

import json
import sys
import time

import orjson
from confluent_kafka import Consumer, TopicPartition

from schemas.topics import EVENTS


def main(brokers: str, warm: int, total: int, cpu: float) -> None:
    """Read and print."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "bench-reader",
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 1000,
        }
    )
    partitions = consumer.list_topics(EVENTS.name, timeout=10).topics[EVENTS.name].partitions
    consumer.assign([TopicPartition(EVENTS.name, p, 0) for p in partitions])
    done = first = 0
    began = 0.0
    while done < total:
        for message in consumer.consume(1000, 1.0):
            orjson.loads(message.value() or b"")
            done += 1
        now = time.process_time()
        if not first and done >= warm:
            first, began = done, now
        elif first and now - began >= cpu:
            break
    sys.stdout.write(json.dumps({"events": done - first, "cpu": time.process_time() - began}) + "\n")
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
