"""The usage sink as a real process on real Kafka and PostgreSQL: whatever is killed, each unit is counted once."""

import random
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import kafka, topics
from pipeline.embedded import process
from pipeline.embedded.broker import Broker
from schemas.topics import BLOCKS, DEAD_LETTERS, USAGE
from tests.integration.sink_process import (
    Stack,
    check_books,
    produce,
    records,
    seed,
    start_sink,
    wait,
    written,
)
from tests.stack import providers
from tests.stack.database import Database
from tests.stack.fixtures import running, scratch
from tests.stack.providers import Server

POINTS = ("assigned", "locked", "written", "dead-letters-sent", "before-commit", "after-commit", "after-kafka-commit")


@pytest.fixture(scope="module")
def module_broker() -> Iterator[Broker]:
    """A broker for this module: the names of topics are the product's own."""
    with scratch() as folder:
        yield from running(providers.needed(lambda: providers.new_broker(folder)))


@pytest.fixture
def stack(module_broker: Broker, database: Database, tmp_path: Path) -> Iterator[Stack]:
    """Fresh topics and a fresh database."""
    made = Stack(module_broker, database, tmp_path)
    topics.apply(made.settings)
    try:
        yield made
    finally:
        made.end()
        remove_topics(made)


def remove_topics(stack: Stack) -> None:
    client = kafka.admin(stack.settings)
    names = [USAGE.name, DEAD_LETTERS.name]
    for future in client.delete_topics(names, operation_timeout=10).values():
        future.result()
    wait(lambda: not set(names) & set(kafka.topics(client)), 20, "topics gone")


def blocks_id(stack: Stack) -> str:
    return kafka.topic_ids(kafka.admin(stack.settings), [BLOCKS.name])[BLOCKS.name]


def wait_for(stack: Stack, offsets: int) -> None:
    """Until so many records are written, or the last sink started has ended."""
    wait(lambda: written(stack) >= offsets or not stack.children[-1].alive(), what=f"{offsets} records")


def test_counts_once_through_a_kill_at_each_point_and_at_random(stack: Stack) -> None:
    organizations = seed(stack, 12)
    sent, truth = records(organizations, blocks_id(stack), 20_000, 1)
    assert len(sent) > 21_500
    produce(stack, USAGE.name, sent)
    for point in POINTS:
        # Without a group nobody waits for the dead member's session to end; the last point is only there with one.
        group = "true" if point == "after-kafka-commit" else "false"
        child = start_sink(stack, DRIFTLOCK_CRASH_AT=f"sink-usage:{point}:1", KAFKA_DURABLE=group)
        assert child.popen.wait(60) == -signal.SIGKILL, f"{point}: {process.tail(child.log, 5)}"
    rng = random.Random(2)
    for _ in range(2):
        child = start_sink(stack)
        wait_for(stack, min(written(stack) + rng.randrange(500, 2_500), len(sent)))
        assert process.kill(child) == -signal.SIGKILL
    child = start_sink(stack)
    wait(lambda: written(stack) == len(sent) or not child.alive())
    assert process.stop(child) == 0, process.tail(child.log, 5)
    check_books(stack, truth, len(sent))


def test_two_at_once_share_or_fence_and_never_count_twice(stack: Stack) -> None:
    organizations = seed(stack, 12)
    sent, truth = records(organizations, blocks_id(stack), 8_000, 3)
    produce(stack, USAGE.name, sent[:100])
    first, second = start_sink(stack), start_sink(stack)
    wait(lambda: stack.query("SELECT count(DISTINCT owner) FROM sink_offsets") == [(2,)], what="both at work")
    produce(stack, USAGE.name, sent[100:])
    # A zombie: stopped until its partitions are given away, then awake again, perhaps with a batch in hand.
    process.signal_group(first, signal.SIGSTOP)
    wait(lambda: written(stack) == len(sent), 120)
    process.signal_group(first, signal.SIGCONT)
    produce(stack, USAGE.name, sent[-50:])
    wait(lambda: written(stack) == len(sent) + 50)
    for child in (first, second):
        # Fenced ones end with 2; -15 is one of them that was asked to end while it ended.
        assert process.stop(child) in {0, 2, -signal.SIGTERM}, process.tail(child.log, 5)
    check_books(stack, truth, len(sent) + 50)


def test_static_assignments_fence_each_other(stack: Stack) -> None:
    organizations = seed(stack, 3)
    sent, truth = records(organizations, blocks_id(stack), 1_500, 4)
    produce(stack, USAGE.name, sent)
    first = start_sink(stack, KAFKA_DURABLE="false")
    wait(lambda: written(stack) > 0 or not first.alive())
    second = start_sink(stack, KAFKA_DURABLE="false")
    wait(lambda: stack.query("SELECT min(generation) FROM sink_offsets")[0][0] == 2 or not second.alive())
    produce(stack, USAGE.name, sent[-20:])
    wait(lambda: written(stack) == len(sent) + 20)
    produce(stack, USAGE.name, sent[-20:])
    assert first.popen.wait(30) == 2
    assert "has taken over partition" in process.tail(first.log)
    wait(lambda: written(stack) == len(sent) + 40)
    assert process.stop(second) == 0
    check_books(stack, truth, len(sent) + 40)


def test_a_topic_made_again_stops_the_sink_until_it_is_accepted(stack: Stack) -> None:
    organizations = seed(stack, 3)
    sent, truth = records(organizations, blocks_id(stack), 600, 5)
    produce(stack, USAGE.name, sent)
    child = start_sink(stack)
    wait(lambda: written(stack) == len(sent) or not child.alive())
    remove_topics(stack)
    topics.apply(stack.settings)
    produce(stack, USAGE.name, sent)
    assert child.popen.wait(60) == 2, process.tail(child.log, 3)
    again = start_sink(stack)
    assert again.popen.wait(30) == 2
    assert "driftlock sink accept usage" in process.tail(again.log)
    said = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "sink", "accept", "usage"],
        env=stack.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "is accepted" in said.stdout
    child = start_sink(stack)
    wait(lambda: written(stack) == 2 * len(sent) or not child.alive())
    assert process.stop(child) == 0
    check_books(stack, truth, 2 * len(sent))


def test_bad_records_become_dead_letters_before_their_offset_moves(stack: Stack) -> None:
    (organization,) = seed(stack, 1)
    good, truth = records([organization], blocks_id(stack), 50, 6)
    key = str(organization).encode()
    line = good[0][1]
    bad = [
        b"not json",
        b"[]",
        b"{}",
        line.replace(b'"is_anomaly":true', b'"is_anomaly":"yes"').replace(b'"is_anomaly":false', b'"is_anomaly":1'),
        line.replace(b'"count":', b'"count":-'),
        line.replace(b'"count":', b'"count":0.'),
        re.sub(rb'"is_anomaly":\w+,', b"", line),
        re.sub(rb'"count":\d+,', b"", line),
        re.sub(rb'"count":\d+', b'"count":"1"', line),
        re.sub(rb'"count":\d+', b'"count":null', line),
        re.sub(rb'"count":\d+', b'"count":true', line),
        re.sub(rb'"count":\d+', b'"count":99999999999999999999', line),
        line.replace(str(organization).encode(), str(uuid.uuid4()).encode()),
        line.replace(b'"occurred_at":', b'"occurred_at":9'),
        line.replace(b'"topic_id":"', b'"topic_id":"\\u0000'),
    ]
    messages = [*good[:25], *((key, value) for value in bad), *good[25:]]
    produce(stack, USAGE.name, messages)
    child = start_sink(stack)
    wait(lambda: written(stack) == len(messages) or not child.alive())
    assert process.stop(child) == 0, process.tail(child.log, 3)
    check_books(stack, truth, len(messages))
    assert stack.query("SELECT sum(dead_letters) FROM sink_offsets") == [(len(bad),)]
    assert dead_letters(stack) == len(bad)


def dead_letters(stack: Stack) -> int:
    from confluent_kafka import TopicPartition

    consumer = kafka.consumer(stack.settings, "test-dead-letters")
    count = kafka.topics(kafka.admin(stack.settings))[DEAD_LETTERS.name]
    ends = [consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS.name, p), timeout=10) for p in range(count)]
    consumer.close()
    return sum(high - low for low, high in ends)


def test_waits_for_postgresql_and_loses_nothing(module_broker: Broker, own_postgres: Server, tmp_path: Path) -> None:
    from tests.stack.database import migrate

    stack = Stack(module_broker, migrate(own_postgres, "postgres"), tmp_path)
    topics.apply(stack.settings)
    organizations = seed(stack, 4)
    sent, truth = records(organizations, blocks_id(stack), 6_000, 7)
    produce(stack, USAGE.name, sent[:3_000])
    child = start_sink(stack)
    wait(lambda: written(stack) >= 1_000 or not child.alive())
    own_postgres.kill()
    produce(stack, USAGE.name, sent[3_000:])
    wait(lambda: "is tried again" in child.log.read_text(), 30)
    own_postgres.start()
    wait(lambda: written(stack) == len(sent) or not child.alive())
    own_postgres.restart()
    produce(stack, USAGE.name, sent[-10:])
    wait(lambda: written(stack) == len(sent) + 10 or not child.alive())
    assert process.stop(child) == 0, process.tail(child.log, 3)
    check_books(stack, truth, len(sent) + 10)
    remove_topics(stack)


def test_a_broker_killed_and_restarted_loses_nothing(own_broker: Broker, database: Database, tmp_path: Path) -> None:
    stack = Stack(own_broker, database, tmp_path)
    topics.apply(stack.settings)
    organizations = seed(stack, 4)
    sent, truth = records(organizations, blocks_id(stack), 6_000, 8)
    produce(stack, USAGE.name, sent[:3_000])
    child = start_sink(stack)
    try:
        wait_for(stack, 1_000)
        own_broker.kill()
        own_broker.start()
        produce(stack, USAGE.name, sent[3_000:])
        # It may wait, or end with one line for its supervisor to start it again; either way nothing is lost.
        wait_for(stack, len(sent))
        if not child.alive():
            assert child.popen.wait() == 2, process.tail(child.log, 3)
            child = start_sink(stack)
            wait_for(stack, len(sent))
        assert process.stop(child) == 0, process.tail(child.log, 3)
    finally:
        stack.end()
    check_books(stack, truth, len(sent))
