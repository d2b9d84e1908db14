"""Events per CPU-second of the packer, and of plain consume + orjson over the same records in the same run.

`python -m tests.benchmarks.packer --brokers 127.0.0.1:9092 --fill 1000000` fills `events` (topics must be there) and prints
one JSON object a line. Each figure is taken in a process of its own, so all its threads count and nothing else does.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from uuid import UUID

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline import kafka
from pipeline.packer import loop, metrics
from pipeline.packer.sources import GROUP
from schemas.models import OrganizationControl
from schemas.settings import Settings
from schemas.topics import CONTROL, EVENTS, ORGANIZATION_HEADER

ORGANIZATION = UUID("00000000-0000-5000-8000-000000000001")


def fill(brokers: str, events: int, streams: int = 100) -> None:
    """Publish `events` JSON lines of about 200 bytes, one a record, over all partitions of `events`."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20, "queue.buffering.max.messages": 500_000})
    known = OrganizationControl(id=ORGANIZATION, version=1)
    producer.produce(CONTROL.name, known.to_bytes(), f"organization/{ORGANIZATION}")
    headers: list[tuple[str, bytes | str | None]] = [(ORGANIZATION_HEADER, str(ORGANIZATION).encode())]
    partitions = len(producer.list_topics(EVENTS.name, timeout=10).topics[EVENTS.name].partitions)
    for i in range(events):
        value = orjson.dumps(
            {
                "stream": f"web-{i % streams}",
                "level": "info",
                "host": f"host-{i % 7}",
                "status": 200 + i % 5,
                "path": f"/api/v1/items/{i * 7919 % 10_007}",
                "message": f"request {i} of user {i % 997} took {i * 31 % 1009} ms and was answered from the cache",
            }
        )
        while True:
            try:
                producer.produce(EVENTS.name, value, partition=i // 1000 % partitions, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
        if not i % 1000:
            producer.poll(0)
    producer.flush()


def peer(brokers: str, events: int) -> float:
    """Events per CPU-second of confluent-kafka `consume(1000)` and `orjson.loads`."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "bench-peer", "auto.offset.reset": "earliest"})
    partitions = consumer.list_topics(EVENTS.name, timeout=10).topics[EVENTS.name].partitions
    consumer.assign([TopicPartition(EVENTS.name, p, 0) for p in partitions])
    done, began = 0, time.process_time()
    while done < events:
        for message in consumer.consume(1000, 1.0):
            orjson.loads(message.value() or b"")
            done += 1
    spent = time.process_time() - began
    consumer.close()
    return done / spent


def packer(brokers: str, events: int) -> float:
    """Events per CPU-second of the whole packer: read, pack, send, acknowledged, commit each second."""
    settings = Settings(kafka_brokers=brokers, topic_partitions=_partitions(brokers))
    client = kafka.admin(settings)
    for future in client.delete_consumer_groups([GROUP]).values():
        try:
            future.result(timeout=10)
        except Exception as error:  # noqa: BLE001 - there is none before the first run
            sys.stderr.write(f"{error}\n")
    stop = threading.Event()

    def watch() -> None:
        while metrics.EVENTS._value.get() < events:
            time.sleep(0.02)
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    began = time.process_time()
    loop.run(settings, stop, loop.Status())
    return events / (time.process_time() - began)


def _partitions(brokers: str) -> int:
    return kafka.topics(kafka.admin(Settings(kafka_brokers=brokers)))[EVENTS.name]


WAYS: dict[str, Callable[[str, int], float]] = {"packer": packer, "consume + orjson": peer}


def measure(brokers: str, events: int, way: str) -> float:
    """One figure, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.packer", "--brokers", brokers, "--events", str(events)]
    done = subprocess.run([*command, "--way", way], check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--fill", type=int, default=0)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    if given.way:
        sys.stdout.write(f"{WAYS[given.way](given.brokers, given.events)}\n")
        return
    if given.fill:
        fill(given.brokers, given.fill)
    rates = {way: [measure(given.brokers, given.events, way) for _ in range(given.runs)] for way in WAYS}
    ours, theirs = (statistics.median(rates[way]) for way in WAYS)
    line = {
        "name": "packer",
        "value": round(ours),
        "unit": "events/CPU-s",
        "peer": "consume + orjson",
        "peer_value": round(theirs),
        "ratio": round(ours / theirs, 3),
        "mark": 0.333,
    }
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
