"""The account at the end of a story: nothing lost, nothing counted twice, the same bytes as a clean scoring."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import psycopg
from confluent_kafka import TopicPartition

from billing import ledger
from detectors.detector import Controls
from pipeline import kafka
from pipeline.stack import account
from pipeline.stack.components import Components
from pipeline.worker.outputs import outputs
from pipeline.worker.partition import Partition
from pipeline.worker.scoring import score_frame
from schemas.frames import decode
from schemas.models import Anomaly, AnomalyUsage, DeadLetter, usage_from_bytes
from schemas.settings import Settings, load
from schemas.topics import ANOMALIES, BLOCKS, DEAD_LETTERS, USAGE
from tests.scenarios.traffic import Published

Revisions = dict[tuple[UUID, int], bytes]
Units = dict[UUID, AnomalyUsage]


def messages(settings: Settings, topic: str) -> Iterator[tuple[int, int, bytes]]:
    """(partition, offset, value) of all that a topic holds now, partition by partition."""
    reader = kafka.consumer(settings, "driftlock-truth")
    try:
        for partition in sorted(reader.list_topics(topic, timeout=10).topics[topic].partitions):
            low, high = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            at = low
            reader.assign([TopicPartition(topic, partition, low)])
            while at < high:
                message = reader.poll(10)
                assert message is not None, f"{topic}/{partition} does not go on after offset {at}"
                if message.error():
                    continue
                offset = message.offset()
                assert offset is not None
                at = offset + 1
                yield partition, offset, message.value() or b""
    finally:
        reader.close()


def emitted(settings: Settings) -> tuple[Revisions, Units]:
    """Anomaly revisions and units on their topics; a message that comes twice must be the same bytes."""
    revisions: Revisions = {}
    for _, _, value in messages(settings, ANOMALIES.name):
        anomaly = Anomaly.from_bytes(value)
        assert revisions.setdefault((anomaly.id, anomaly.revision), value) == value
    units: Units = {}
    for _, _, value in messages(settings, USAGE.name):
        usage = usage_from_bytes(value)
        if isinstance(usage, AnomalyUsage):
            assert units.setdefault(usage.usage_id, usage) == usage
    return revisions, units


def clean(settings: Settings, *, obeying: bool = True) -> tuple[Revisions, Units]:
    """The same, of scoring the whole `blocks` topic once, from its beginning, in this process; without `obeying` what tenants said."""
    topic_id = kafka.topic_ids(kafka.admin(settings), [BLOCKS.name])[BLOCKS.name]
    partitions: dict[int, Partition] = {}
    revisions: Revisions = {}
    units: Units = {}
    controls = Controls(sensitivity=settings.sensitivity, budget_per_day=settings.false_alarms_per_day)
    most = -(-settings.streams_per_organization // settings.topic_partitions)
    for number, offset, value in messages(settings, BLOCKS.name):
        partition = partitions.setdefault(number, Partition(number, topic_id))
        frame = decode(value)
        if not obeying:
            frame = replace(frame, controls=())
        scored = score_frame(partition, offset, frame, len(frame.events.body), lambda _key: None, controls, most)
        for output in outputs(partition, offset, frame, scored):
            if output.topic == ANOMALIES.name:
                anomaly = orjson.loads(output.value)
                revisions[UUID(anomaly["id"]), anomaly["revision"]] = output.value
            elif output.topic == USAGE.name and isinstance(usage := usage_from_bytes(output.value), AnomalyUsage):
                units[usage.usage_id] = usage
    return revisions, units


def stored(connection: psycopg.Connection[Any], organization_id: UUID) -> dict[UUID, int]:
    """Anomalies in PostgreSQL → their revision."""
    rows = connection.execute("SELECT id, revision FROM anomalies WHERE organization_id = %s", (organization_id,))
    return dict(rows.fetchall())


def complete(components: Components, organization_id: UUID, published: Published) -> bool:
    """Whether all that was published is accounted for, and the sinks hold all that the worker has said."""
    settings = load(components.environ)
    with psycopg.connect(components.postgres.url()) as connection:
        now = account.read(settings, connection, organization_id)
        # A dead letter may come twice, under one id.
        if now.seeded < published.seeded:
            return False
        if now.scored + now.duplicates + now.skipped < published.events or len(dead_letters(settings)) < published.dead:
            return False
        revisions, units = emitted(settings)
        newest: dict[UUID, int] = {}
        for identity, revision in revisions:
            newest[identity] = max(revision, newest.get(identity, 0))
        return stored(connection, organization_id) == newest and now.billable + now.warmup >= len(units)


def prove(
    components: Components, organization_id: UUID, published: Published, expected: tuple[Revisions, Units]
) -> account.Account:
    """Assert the whole account, given what `clean` says once no block is added any more; returns it."""
    settings = load(components.environ)
    revisions, units = emitted(settings)
    clean_revisions, clean_units = expected
    differing = [
        key for key in revisions.keys() | clean_revisions.keys() if revisions.get(key) != clean_revisions.get(key)
    ]
    assert not differing, [(key, revisions.get(key), clean_revisions.get(key)) for key in differing[:2]]
    assert units == clean_units
    with psycopg.connect(components.postgres.url()) as connection:
        now = account.read(settings, connection, organization_id)
        assert now.seeded == published.seeded
        if now.skipped:  # of what was skipped nobody knows whether it was repeated
            assert now.scored + now.duplicates + now.skipped == published.events
        else:
            assert now.scored == published.events - published.repeated
            assert now.duplicates == published.repeated
        assert now.billable + now.warmup == len(units)
        assert now.anomalies == len(units)
        booked = connection.execute(
            "SELECT usage_id, disposition, units FROM ledger WHERE organization_id = %s AND kind = 'usage'",
            (organization_id,),
        ).fetchall()
        assert sorted(row[0] for row in booked) == sorted(units)
        assert {row[0] for row in booked if row[1] == "billable"} == {u for u, unit in units.items() if unit.calibrated}
    with psycopg.connect(components.postgres.url()) as connection:
        assert ledger.verify(connection, organization_id) is None
    assert len(dead_letters(settings)) == published.dead
    return now


def dead_letters(settings: Settings) -> set[UUID]:
    """Ids of the dead letters."""
    return {DeadLetter.from_bytes(value).id for _, _, value in messages(settings, DEAD_LETTERS.name)}
