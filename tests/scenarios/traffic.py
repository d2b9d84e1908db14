"""Seeded telemetry: quiet lines, bursts, novelties, repeated ids, broken input. The same seed, the same bytes."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from confluent_kafka import Producer

from schemas.topics import EVENTS, ORGANIZATION_HEADER, STREAM_HEADER

_QUIET = (
    "GET /api/orders/{n} 200 in {m} ms",
    "GET /api/users/{n} 200 in {m} ms",
    "POST /api/orders 201 in {m} ms",
    "cache hit for key order:{n}",
    "connection from 10.0.0.{b} accepted",
)
_BURST = "upstream timed out after 30000 ms while connecting to backend {b}"
_NOVEL = "panic: index out of range in pricing rule {n}: goroutine dump follows"


@dataclass(frozen=True)
class Record:
    """A record of the source topic and how many events, of them repeated ones, and dead letters it must become."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    key: bytes
    events: int = 1
    repeated: int = 0
    dead: int = 0


def records(
    organization_id: str, events: int, seed: int, streams: int = 8, quiet: int = 1_500, burst_rate: float = 0.0008
) -> Iterator[Record]:
    """About `events` events, one to three a record: text and JSON, a tenth with an id given twice, one in 500 broken.

    Bursts (of 60 lines) and novelties come after the first `quiet` events of a stream.
    """
    rng = random.Random(seed)
    organization = (ORGANIZATION_HEADER, organization_id.encode())
    counts = dict.fromkeys(range(streams), 0)
    burst = dict.fromkeys(range(streams), 0)
    made = 0
    while made < events:
        number = rng.randrange(streams)
        stream = f"stream-{number}"
        headers = (organization, (STREAM_HEADER, stream.encode()))
        key = stream.encode()
        counts[number] += 1
        if counts[number] > quiet and rng.random() < burst_rate:
            burst[number] = 60
        kind = rng.random()
        if burst[number]:
            burst[number] -= 1
            yield Record(_line(rng, _BURST), headers, key)
            made += 1
        elif kind < 0.002:
            yield rng.choice(
                [
                    Record(b"\xff\xfe broken", headers, key, events=0, dead=1),
                    Record(b"no organization", headers[1:], key, events=0, dead=1),
                    Record(b"unknown", ((ORGANIZATION_HEADER, b"7b1e6a3e-0000-4000-8000-000000000000"),), key, 0, 0, 1),
                ]
            )
            made += 1
        elif kind < 0.003 and counts[number] > quiet:
            yield Record(_line(rng, _NOVEL), headers, key)
            made += 1
        elif number == 0 and kind < 0.5:
            identity = f"{seed}-{made}"
            event = {
                "event_id": identity,
                "level": "info",
                "status": rng.choice([200, 200, 201]),
                "ms": rng.randrange(90),
            }
            yield Record(orjson.dumps([event, event]), headers, key, events=2, repeated=1)
            made += 2
        elif number == 1 and kind < 0.3:
            many = [{"level": "info", "path": f"/p/{rng.randrange(9)}", "ms": rng.randrange(90)} for _ in range(3)]
            yield Record(b"\n".join(map(orjson.dumps, many)), headers, key, events=3)
            made += 3
        else:
            yield Record(_line(rng, rng.choice(_QUIET)), headers, key)
            made += 1


def _line(rng: random.Random, template: str) -> bytes:
    return template.format(n=rng.randrange(100_000), m=rng.randrange(5, 200), b=rng.randrange(9)).encode()


@dataclass
class Published:
    """What Kafka acknowledged so far."""

    events: int = 0
    repeated: int = 0
    dead: int = 0
    seeded: int = 0

    @property
    def total(self) -> int:
        """Events that must be accounted for."""
        return self.events + self.dead + self.seeded


def publish(producer: Producer, batch: list[Record], published: Published) -> None:
    """Publish records and wait until Kafka has acknowledged all of them."""
    failed: list[str] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            failed.append(str(error))

    for record in batch:
        producer.produce(EVENTS.name, record.value, record.key, headers=list(record.headers), on_delivery=delivered)
        producer.poll(0)
    assert producer.flush(90) == 0
    assert not failed
    published.events += sum(r.events for r in batch)
    published.repeated += sum(r.repeated for r in batch)
    published.dead += sum(r.dead for r in batch)
