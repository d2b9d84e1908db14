"""The packer on real Kafka: whatever arrives, and every event once through kills, zombies and restarts of the broker."""

import base64
import os
import signal
import time
from collections import Counter
from pathlib import Path

import orjson
from confluent_kafka import TopicPartition
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from pipeline import kafka, topics
from pipeline.embedded import process
from pipeline.embedded.broker import Broker
from schemas import frames
from schemas.frames import Frame
from schemas.topics import BLOCKS
from tests.integration.packer_process import (
    HEADERS,
    ORGANIZATION,
    SECOND,
    Headers,
    Stage,
    ended,
    last_line,
    stage,
    stopped,
    until,
)


def logs(count: int) -> bytes:
    """An OTLP batch of the service `cart`."""
    batch = LogsData()
    group = batch.resource_logs.add()
    group.resource.attributes.add(key="service.name").value.string_value = "cart"
    records = group.scope_logs.add().log_records
    for n in range(count):
        records.add().body.string_value = f"item {n}"
    return batch.SerializeToString()


def test_whatever_arrives_becomes_events_or_dead_letters(own_broker: Broker, tmp_path: Path) -> None:
    with stage(own_broker, tmp_path) as here:
        topics.apply(here.settings, organizations=[ORGANIZATION])
        here.know(SECOND)
        codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
        for codec in codecs:
            here.send("events", [b'{"stream":"%s","n":%d}' % (codec.encode(), n) for n in range(50)], codec=codec)
        many = [{"stream": f"m{n % 3}", "n": n} for n in range(3000)]
        here.send("events", [orjson.dumps(many)], codec="zstd")
        ten_megabytes = b'{"m":"' + os.urandom(5 << 20).hex().encode() + b'"}'
        here.send("events", [b"\xff\xfe", None, b"", b"{", ten_megabytes], partition=0)
        here.send("events", [b"plain text"], headers=[*HEADERS, ("x-stream", b"text")])
        own = f"events.{ORGANIZATION}"
        here.send(own, [b'{"own":1}'], headers=[])
        here.send(own, [b'{"own":2}'], headers=[("x-organization-id", SECOND.encode())], partition=1)
        unknown = b"f" * 8 + ORGANIZATION[8:].encode()
        nobodies: list[Headers] = [[], [("x-organization-id", b"me")], [("x-organization-id", unknown)]]
        for header in nobodies:
            here.send("events", [b'{"who":1}'], headers=header, partition=1)
        here.send_bad_header(b"a bad header")
        batch = logs(7)
        here.send("otlp-logs", [batch, b"no protobuf"])
        here.send("otlp-logs", [batch], headers=[])
        here.send("otlp-traces", [logs(1)])  # a log record is no span
        here.send(own, [batch], headers=[("otelcol.signal", b"logs"), ("x-stream", b"theirs")])
        one = here.packer()
        until(lambda: len(here.dead()) == 13)
        until(lambda: len(here.taken()[0]) == 50 * len(codecs) + 3016)
        # Made a moment before its event: known all the same.
        newcomer = ORGANIZATION[:-1] + "9"
        here.know(newcomer)
        here.send("events", [b'{"new":1}'], headers=[("x-organization-id", newcomer.encode())])
        until(lambda: any(organization == newcomer for organization, _, _ in here.taken()[0]))
        assert stopped(one) == 0
        taken, expected = here.taken()
        assert all(place[1] == 0 for place in expected.values())
        streams = Counter(stream for _, stream, _ in taken)
        assert streams == {
            **dict.fromkeys(codecs, 50),
            "m0": 1000,
            "m1": 1000,
            "m2": 1000,
            "text": 1,
            "default": 2,
            "logs:cart": 7,
            "theirs": 7,
        }
        assert [orjson.loads(body)["n"] for _, stream, body in taken if stream == "m1"] == list(range(1, 3000, 3))
        dead = here.dead()
        assert len(dead) == 13
        assert sorted(topic for topic, *_ in dead if topic.startswith("otlp-")) == [
            "otlp-logs",
            "otlp-logs",
            "otlp-traces",
        ]
        bodies = [base64.b64decode(letter.body) for letter in dead.values()]
        assert ten_megabytes in bodies
        assert b"\xff\xfe" in bodies
        assert b"a bad header" in bodies


def test_every_event_once_whoever_dies(own_broker: Broker, tmp_path: Path) -> None:
    with stage(own_broker, tmp_path) as here:
        sent: list[bytes] = []

        def more(count: int) -> None:
            values = [
                b'{"stream":"s%d","n":%d,"pad":"%s"}' % (n % 5, n, b"x" * 90)
                for n in range(len(sent), len(sent) + count)
            ]
            for at in range(0, count, 500):  # a record of many events in each, which no flush takes whole
                here.send(
                    "events", [b"\n".join(values[at : at + 250]), *values[at + 250 : at + 500]], partition=at // 500 % 4
                )
            sent.extend(values)

        for point in (
            "packer:after-send:9",
            "packer:mid-flush:12",
            "packer:after-ack-before-commit:5",
            "packer:after-commit",
        ):
            more(4000)
            assert ended(here.packer(crash_at=point)) == -signal.SIGKILL, point
        first = here.packer()
        more(4000)
        until(lambda: len(here.taken()[0]) > 17_000)
        os.kill(first.pid, signal.SIGSTOP)  # presumed dead after its session; another takes over
        more(4000)
        second = here.packer()
        until(lambda: len(here.taken()[0]) == len(sent))
        os.kill(first.pid, signal.SIGCONT)
        more(4000)
        own_broker.kill()
        own_broker.start()
        more(2000)
        until(lambda: len(here.taken()[0]) == len(sent))
        process.kill(second)
        more(2000)
        until(lambda: len(here.taken()[0]) == len(sent))
        assert stopped(first) == 0
        taken, _ = here.taken()
        assert sorted(body for _, _, body in taken) == sorted(sent)
        assert here.dead() == {}


def test_a_packer_that_slept_does_not_say_that_nothing_was_sent(own_broker: Broker, tmp_path: Path) -> None:
    """No frame claims a source read up to a time after which an event of a later frame was received; and time goes on."""
    with stage(own_broker, tmp_path) as here:
        here.send("events", [b'{"n":0}'], partition=0)
        one = here.packer()
        until(lambda: len(here.taken()[0]) == 1)
        os.kill(one.pid, signal.SIGSTOP)
        asleep = time.monotonic()
        here.send("events", [b'{"n":%d}' % n for n in range(1, 200)], partition=0)
        until(lambda: time.monotonic() > asleep + 7)
        os.kill(one.pid, signal.SIGCONT)
        awake = time.time() * 1000
        until(lambda: len(here.taken()[0]) == 200)
        until(lambda: all(at > awake + 2_000 for at in claimed(here)[-1].values()))
        own_broker.kill()
        down = time.monotonic()
        until(lambda: time.monotonic() > down + 7)
        own_broker.start()
        here.send("events", [b'{"n":%d}' % n for n in range(200, 300)], partition=0)
        back = time.time() * 1000
        until(lambda: len(here.taken()[0]) == 300)
        until(lambda: all(at > back + 2_000 for at in claimed(here)[-1].values()))
        assert stopped(one) == 0
        before: dict[tuple[str, int], int] = {}
        for frame, now in zip(in_order(here), claimed(here), strict=True):
            for source, at in zip(frame.events.source.tolist(), frame.events.received_at.tolist(), strict=True):
                r = frame.ranges[source]
                assert at >= before.get((r.topic, r.partition), 0)
            before = now


def in_order(here: Stage) -> list[Frame]:
    """The frames of the partition of `blocks` that has the events of these tests."""
    found = [(m.partition(), frames.decode(m.value())) for m in here.read(BLOCKS.name)]
    busy = next(number for number, frame in found if len(frame))
    return [frame for number, frame in found if number == busy]


def claimed(here: Stage) -> list[dict[tuple[str, int], int]]:
    """After each of these frames: the time up to which each source is said to have been read."""
    through: dict[tuple[str, int], int] = {}
    return [through := through | {(r.topic, r.partition): r.through for r in frame.ranges} for frame in in_order(here)]


def test_a_topic_made_again_and_lost_offsets_stop_the_packer_until_accepted(own_broker: Broker, tmp_path: Path) -> None:
    with stage(own_broker, tmp_path) as here:
        here.send("events", [b'{"n":%d}' % n for n in range(100)], partition=0)
        running = here.packer()
        until(lambda: len(here.taken()[0]) == 100)
        remake(here)
        here.send("events", [b'{"again":%d}' % n for n in range(10)], partition=0)
        assert ended(running) == 2
        for child in (running, here.packer()):
            assert ended(child) == 2
            assert "--accept-new-topic events" in last_line(child)
            assert "Traceback" not in child.log.read_text()
        assert ended(here.packer("--accept-new-topic", "events")) == 0
        again = here.packer()
        until(lambda: len(here.taken()[0]) == 110)
        assert stopped(again) == 0
        # Retention takes what was not read.
        here.send("events", [b'{"late":%d}' % n for n in range(20)], partition=0)
        client = kafka.admin(here.settings)
        for future in client.delete_records([TopicPartition("events", 0, 25)]).values():
            future.result(timeout=10)
        lost = here.packer()
        assert ended(lost) == 2
        assert "stored offset is 10 and the log starts at 25" in last_line(lost)
        assert ended(here.packer("--accept-new-topic", "events")) == 0
        last = here.packer()
        until(lambda: len(here.taken()[0]) == 115)
        assert stopped(last) == 0


def remake(here: Stage) -> None:
    """Delete the topic events and make it again."""
    client = kafka.admin(here.settings)
    for future in client.delete_topics(["events"], operation_timeout=10).values():
        future.result(timeout=20)
    until(lambda: "events" not in kafka.topics(client))
    topics.apply(here.settings)
