"""The anomalies sink: one row an anomaly, of its largest revision, whatever is repeated, reordered or killed."""

import random
import signal
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipeline import kafka, topics
from pipeline.embedded import process
from pipeline.embedded.broker import Broker
from pipeline.sinks.anomalies import write
from pipeline.sinks.sink import Record
from schemas.models import Anomaly, Explanation, Position, TokenEvidence, WindowMetrics
from schemas.topics import ANOMALIES
from tests.integration.sink_process import Stack, produce, start_sink, wait, written
from tests.stack.database import Database

MARCH = datetime(2026, 3, 2, 10, 37, tzinfo=UTC)
POINTS = ("assigned", "locked", "written", "before-commit", "after-commit")


def anomaly(o: uuid.UUID, number: int, revision: int = 1, created: datetime = MARCH, text: str = "line") -> Anomaly:
    ms = int(created.timestamp() * 1000) + number
    return Anomaly(
        id=uuid.uuid5(o, str(number)),
        revision=revision,
        organization_id=o,
        stream="app",
        event_type="log",
        kind="novelty",
        severity="high",
        created_at=ms,
        last_at=ms + revision,
        count=revision,
        open=True,
        calibrated=True,
        surprisal=900_000,
        extrapolated=False,
        reference_n=2_000,
        score_bits=1_000_000,
        channels={"novelty": 1_000_000},
        explanation=Explanation(
            sentence="A rare token.",
            tokens=(TokenEvidence(token='to"ken\\', bits=5, expected="1 in 10", seen="once"),),
            event=text,
            nearest_normal=None,
        ),
        metrics=WindowMetrics(
            baseline_bytes=1, window_bytes=1, both_bytes=1, window_raw_bytes=1, compression_ratio=1,
            delta_bits_per_byte=1, ncd=1, entropy=1, permutation_p=1, library="zstd",
        ),
        first_event_id=uuid.uuid4(),
        position=Position(topic_id="B", partition=0, frame=number, event=0),
        detector_version="1",
        trace=None,
    )  # fmt: skip


def record(value: bytes | None, offset: int = 0) -> Record:
    return Record("A", 0, offset, int(MARCH.timestamp() * 1000), b"k", value)


@pytest.fixture
def sink(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.url("driftlock_sink"), autocommit=True) as connection:
        yield connection


def rows(database: Database, columns: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.url()) as owner:
        return owner.execute(f"SELECT {columns} FROM anomalies ORDER BY created_at, id").fetchall()


def test_only_a_larger_revision_counts_in_any_order(database: Database, sink: psycopg.Connection[Any]) -> None:
    o = uuid.uuid4()
    revisions = [anomaly(o, n, revision) for n in range(5) for revision in (1, 2, 3)]
    for shuffle in range(5):
        random.Random(shuffle).shuffle(revisions)
        for batch in (revisions[:4], revisions[2:9], revisions):
            with sink.transaction():
                write(sink, [record(a.to_bytes()) for a in batch], 0)
    assert rows(database, "revision, count") == [(3, 3)] * 5
    assert write(sink, [record(anomaly(o, 0, 3).to_bytes())], 0).fates == ("duplicate",)


def test_text_that_postgresql_can_not_hold_is_shown_and_the_rest_is_exact(
    database: Database, sink: psycopg.Connection[Any]
) -> None:
    odd = 'NUL \0 quote " backslash \\u0000 {,} \N{SNOWMAN}'
    assert write(sink, [record(anomaly(uuid.uuid4(), 0, text=odd).to_bytes())], 0).fates == ("written",)
    ((explanation,),) = rows(database, "explanation")
    assert explanation["event"] == odd.replace("\0", "\N{SYMBOL FOR NULL}")
    assert explanation["tokens"][0]["token"] == 'to"ken\\'


def test_what_is_no_anomaly_is_rejected_and_the_others_stand(database: Database, sink: psycopg.Connection[Any]) -> None:
    good = anomaly(uuid.uuid4(), 0)
    late = good.model_copy(update={"created_at": 10**16, "last_at": 10**16})
    large = good.to_bytes().replace(b'"novelty":1000000', b'"novelty":%d' % (1 << 64))
    values = [good.to_bytes(), None, b"{", b'{"v":2}', late.to_bytes(), large]
    outcome = write(sink, [record(value) for value in values], 0)
    assert outcome.fates == ("written", *["rejected"] * 5)
    assert set(outcome.reasons) == {1, 2, 3, 4, 5}
    assert len(rows(database, "id")) == 1


def test_months_have_partitions_and_a_late_partition_takes_its_rows_over(
    database: Database, sink: psycopg.Connection[Any]
) -> None:
    o = uuid.uuid4()
    months = [MARCH + timedelta(days=31 * n) for n in range(3)]
    write(sink, [record(anomaly(o, n, created=month).to_bytes()) for n, month in enumerate(months)], 0)
    assert rows(database, "tableoid::regclass::text") == [("anomalies_default",)] * 3
    assert sink.execute("SELECT create_anomaly_partitions(%s, 2)", (MARCH,)).fetchone() == (2,)
    assert sink.execute("SELECT create_anomaly_partitions(%s, 2)", (MARCH,)).fetchone() == (0,)
    assert [name for (name,) in rows(database, "tableoid::regclass::text")] == [
        "anomalies_202603",
        "anomalies_202604",
        "anomalies_default",
    ]
    write(sink, [record(anomaly(o, n, 2, month).to_bytes()) for n, month in enumerate(months)], 0)
    assert rows(database, "revision") == [(2,)] * 3


def test_nothing_is_lost_or_doubled_through_kills(own_broker: Broker, database: Database, tmp_path: Path) -> None:
    stack = Stack(own_broker, database, tmp_path)
    topics.apply(stack.settings)
    organizations = [uuid.uuid4() for _ in range(5)]
    rng = random.Random(1)
    said = [anomaly(rng.choice(organizations), n % 700, 1 + n // 700) for n in range(2_100)]
    said += rng.sample(said, 200)
    messages = [(str(a.organization_id).encode(), a.to_bytes()) for a in said]
    # One that fits the model and that only PostgreSQL refuses: found, put aside, and the others go on.
    messages.insert(
        900,
        (b"x", anomaly(organizations[0], 9_999).to_bytes().replace(b'"score_bits":1', b'"score_bits":9' + b"9" * 20)),
    )
    produce(stack, ANOMALIES.name, messages)
    try:
        for point in POINTS:
            child = start_sink(
                stack, "anomalies", DRIFTLOCK_CRASH_AT=f"sink-anomalies:{point}:1", KAFKA_DURABLE="false"
            )
            assert child.popen.wait(60) == -signal.SIGKILL, f"{point}: {process.tail(child.log, 5)}"
        child = start_sink(stack, "anomalies")
        wait(lambda: written(stack, "sink-anomalies") == len(messages) or not child.alive())
        assert process.stop(child) == 0, process.tail(child.log, 5)
    finally:
        stack.end()
    newest: dict[tuple[uuid.UUID, uuid.UUID], int] = {}
    for a in said:
        newest[a.organization_id, a.id] = max(a.revision, newest.get((a.organization_id, a.id), 0))
    found = stack.query("SELECT organization_id, id, revision FROM anomalies")
    assert len(found) == len(newest)
    assert {(o, i): revision for o, i, revision in found} == newest
    assert stack.query("SELECT sum(dead_letters) FROM sink_offsets") == [(1,)]
    assert kafka.topics(kafka.admin(stack.settings))[ANOMALIES.name] == stack.settings.topic_partitions
