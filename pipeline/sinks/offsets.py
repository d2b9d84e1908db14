"""Where a sink is: offsets in PostgreSQL, keyed by Kafka's topic id, moved with the rows, fenced by their owner.

| failure | consequence |
|---|---|
| crash before the commit | rows and offset are both gone: the batch is read again |
| crash after it, before Kafka's commit | Kafka's offset is behind; we seek to ours |
| two processes at once | the later one's claim changes `owner`: the earlier one's next batch aborts whole |
| the topic was made again | its id is not accepted: stop, with the command that accepts it |
| the log lost what we have not read, or is shorter than what we read | stop, with the command that accepts it |
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from pipeline.sinks.sink import Connection, Fate, Record
from schemas.errors import Fenced, OffsetLost, TopicRecreated

_LOCK = 7226190274  # serializes the first acceptance of a topic's id


def accept_first(connection: Connection, topic: str, topic_id: str, now: datetime) -> None:
    """Take a topic's id as it is if it is the first of that name; `TopicRecreated` if another one was taken before."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        known = [i for (i,) in connection.execute("SELECT topic_id FROM source_topics WHERE topic = %s", (topic,))]
        if not known:
            connection.execute("INSERT INTO source_topics VALUES (%s, %s, %s)", (topic, topic_id, now))
        elif topic_id not in known:
            raise recreated(topic)


def recreated(topic: str) -> TopicRecreated:
    """The error of a topic whose id is not the accepted one."""
    return TopicRecreated(
        f"the topic {topic} was deleted and made again since its offsets were stored: if that is right, run"
        f" `driftlock sink accept {topic}`"
    )


def claim(
    connection: Connection,
    consumer: str,
    topic: str,
    topic_id: str,
    partitions: Iterable[int],
    owner: UUID,
    now: datetime,
) -> dict[int, int]:
    """Make `owner` the only one that may write from these partitions; returns the next offset of each."""
    with connection.transaction():
        rows = connection.execute(
            "INSERT INTO sink_offsets AS s (consumer, topic_id, partition, topic, next_offset, owner, updated_at)"
            " SELECT %s, %s, p, %s, 0, %s, %s FROM unnest(%s::integer[]) AS p ORDER BY p"
            " ON CONFLICT (consumer, topic_id, partition) DO UPDATE"
            " SET owner = excluded.owner, generation = s.generation + 1, updated_at = excluded.updated_at"
            " RETURNING partition, next_offset",
            (consumer, topic_id, topic, owner, now, sorted(partitions)),
        ).fetchall()
    return dict(rows)


def check(topic: str, partition: int, next_offset: int, low: int, high: int) -> None:
    """`OffsetLost` unless the log [low, high) still has the next offset, or ends there."""
    if low <= next_offset <= high:
        return
    what = "was removed before it was read" if next_offset < low else "lies beyond the log's end: the log was cut"
    raise OffsetLost(
        f"offset {next_offset} of {topic}, partition {partition}, {what} (it holds {low} to {high}): to read again what"
        f" there is, run `driftlock sink accept {topic}`"
    )


def lock(connection: Connection, consumer: str, records: Sequence[Record], owner: UUID) -> list[Record]:
    """Lock the offsets of a batch until the transaction ends; returns the records that are not written yet.

    `Fenced` where another owner has claimed one of the partitions.
    """
    if not records:
        return []
    rows = connection.execute(
        "SELECT partition, next_offset, owner FROM sink_offsets WHERE consumer = %s AND topic_id = %s"
        " AND partition = ANY(%s) ORDER BY partition FOR UPDATE",
        (consumer, records[0].topic_id, sorted({r.partition for r in records})),
    ).fetchall()
    next_offsets = {}
    for partition, next_offset, has in rows:
        if has != owner:
            raise Fenced(
                f"another {consumer} has taken over partition {partition}: this one stops, nothing of it counts"
            )
        next_offsets[partition] = next_offset
    return [r for r in records if r.offset >= next_offsets[r.partition]]


def move(
    connection: Connection, consumer: str, records: Sequence[Record], fates: Sequence[Fate], now: datetime
) -> dict[int, int]:
    """Move the locked offsets behind these records, and count their fates; returns the new offsets."""
    after: dict[int, int] = {}
    counts: Counter[tuple[int, Fate]] = Counter()
    for record, fate in zip(records, fates, strict=True):
        after[record.partition] = max(after.get(record.partition, 0), record.offset + 1)
        counts[record.partition, fate] += 1
    if after:
        kinds: tuple[Fate, ...] = ("written", "not_anomaly", "duplicate", "rejected")
        connection.execute(
            "UPDATE sink_offsets AS s SET next_offset = m.next_offset, written = s.written + m.written,"
            " not_anomaly = s.not_anomaly + m.not_anomaly, duplicates = s.duplicates + m.duplicates,"
            " dead_letters = s.dead_letters + m.dead_letters, updated_at = %s"
            " FROM unnest(%s::integer[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])"
            " AS m (partition, next_offset, written, not_anomaly, duplicates, dead_letters)"
            " WHERE s.consumer = %s AND s.topic_id = %s AND s.partition = m.partition",
            (
                now,
                list(after),
                list(after.values()),
                *([counts[partition, kind] for partition in after] for kind in kinds),
                consumer,
                records[0].topic_id,
            ),
        )
    return after


def accept(
    connection: Connection, topic: str, topic_id: str, logs: Mapping[int, tuple[int, int]], now: datetime
) -> list[str]:
    """Accept a topic made again, or offsets that its log no longer has; says what was done, a line each.

    A partition whose stored offset lies outside [low, high) is read again from `low`: what was written before is known
    by its id and counts once. Every sink of the topic must be stopped.
    """
    said = []
    with connection.transaction():
        made = connection.execute(
            "INSERT INTO source_topics VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (topic, topic_id, now)
        )
        if made.rowcount:
            said.append(f"{topic}: the id {topic_id} is accepted; the topic is read from its start")
        rows = connection.execute(
            "SELECT consumer, partition, next_offset FROM sink_offsets WHERE topic_id = %s ORDER BY 1, 2 FOR UPDATE",
            (topic_id,),
        ).fetchall()
        stored = {(consumer, partition): next_offset for consumer, partition, next_offset in rows}
        for (consumer, partition), next_offset in stored.items():
            low, high = logs.get(partition, (0, 0))
            if not low <= next_offset <= high:
                connection.execute(
                    "UPDATE sink_offsets SET next_offset = %s, owner = gen_random_uuid(), generation = generation + 1,"
                    " updated_at = %s WHERE consumer = %s AND topic_id = %s AND partition = %s",
                    (low, now, consumer, topic_id, partition),
                )
                said.append(f"{consumer}: partition {partition} goes on from {low} instead of {next_offset}")
    return said or [f"nothing to accept: the log of {topic} has every stored offset"]
