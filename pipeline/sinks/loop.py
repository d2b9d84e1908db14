"""A sink's process: read a batch, write its rows and its offsets in one transaction, tell Kafka; and rebalances.

The offsets that count are in PostgreSQL (offsets.py); Kafka's are advice for whoever looks at lag there.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline import kafka, tracing
from pipeline.crash import crash_point
from pipeline.sinks import dead, metrics, offsets
from pipeline.sinks.database import Database, Stopped, require
from pipeline.sinks.sink import Connection, Fate, Outcome, Record, Sink
from schemas.errors import BrokerUnreachable, MissingTopic, OffsetLost
from schemas.settings import Settings
from schemas.topics import TRACE_HEADER

_LOG = structlog.get_logger("pipeline.sinks")
_BATCH = 2_000
_PATIENCE_S = 0.05  # a batch is handed over when it is full or this has passed
_LOOK_S = 5.0
_DAY_S = 86_400.0
_LOST = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001
_GONE = {KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART}  # noqa: SLF001
_START_S = 8.0


@dataclass
class Status:
    """What a sink says of itself while it runs."""

    partitions: int = 0
    database: Database | None = None

    def partitions_wrong(self) -> str:
        """Why it reads nothing, or nothing."""
        return "" if self.partitions else "no partition is assigned yet"

    def database_wrong(self) -> str:
        """Why it can't write, or nothing."""
        return self.database.said if self.database else "not connected yet"


def run(
    settings: Settings,
    sink: Sink,
    url: str,
    stop: threading.Event,
    status: Status,
    now: Callable[[], float] = time.time,
) -> None:
    """Write the topic to the database at `url` until `stop` is set. Raises one of our errors; nothing is half done then.

    `now` in seconds since 1970.
    """
    kafka.require_broker(settings)
    loop = _Loop(settings, sink, url, stop, status, now)
    try:
        loop.start()
        while not stop.is_set():
            loop.step()
    except Stopped:
        _LOG.info("stopped while PostgreSQL or Kafka did not answer; the batch is read again at the next start")
    finally:
        loop.close()


class _Loop:
    def __init__(
        self,
        settings: Settings,
        sink: Sink,
        url: str,
        stop: threading.Event,
        status: Status,
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._status = status
        self._now = now
        self._owner = uuid4()
        self._client = kafka.admin(settings)
        self._database = Database(url, stop, metrics.RETRIES.labels(sink.name).inc)
        status.database = self._database
        self._producer = kafka.producer(settings)
        self._consumer: Consumer = kafka.consumer(settings, sink.name)
        self._topic_id = ""
        self._next: dict[int, int] = {}
        self._assignments = 0
        self._error: Exception | None = None
        self._looked = 0.0
        self._day = float("-inf")

    # ---- start and assignment

    def start(self) -> None:
        """Check what must be there, and ask for partitions; on a broker where joining is slow, take every one."""
        topic = self._sink.topic.name
        require(self._database, _START_S)
        ids = kafka.topic_ids(self._client, [topic, *(t.name for t in self._sink.other_topics)])
        self._topic_id = ids[topic]
        for name, topic_id in ids.items():
            self._database.run(lambda c, n=name, i=topic_id: offsets.accept_first(c, n, i, self._time()))  # type: ignore[misc]
        self._once_a_day()
        if self._settings.kafka_durable:
            self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke)
        else:
            count = kafka.topics(self._client)[topic]
            self._assign(range(count))

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._assign([p.partition for p in partitions])
        except Exception as error:  # noqa: BLE001 raised again by step(): librdkafka's thread would swallow it
            self._error = error

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignments += 1
        for partition in partitions:
            self._next.pop(partition.partition, None)
        self._status.partitions = len(self._next)

    def _assign(self, partitions: Sequence[int]) -> None:
        """Claim the partitions, and read each from where the database says."""
        self._assignments += 1
        name, topic = self._sink.name, self._sink.topic.name
        self._next = self._database.run(
            lambda c: offsets.claim(c, name, topic, self._topic_id, partitions, self._owner, self._time())
        )
        self._require_same_topic()
        for partition, next_offset in self._next.items():
            low, high = self._log(partition)
            offsets.check(topic, partition, next_offset, low, high)
        self._consumer.assign(self._places(self._next))
        self._status.partitions = len(self._next)
        crash_point(f"{name}:assigned")
        _LOG.info("assigned", sink=name, partitions=sorted(self._next))

    def _places(self, next_offsets: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._sink.topic.name, p, offset) for p, offset in next_offsets.items()]

    def _log(self, partition: int) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._sink.topic.name, partition), timeout=10
            )
        except KafkaException as error:
            raise BrokerUnreachable(f"Kafka does not tell a partition's offsets: {error.args[0].str()}") from error
        return low, high

    # ---- one round

    def step(self) -> None:
        """Read a batch and write it, or find out that there is none."""
        assignments = self._assignments
        messages = self._consumer.consume(_BATCH, _PATIENCE_S)
        if self._error is not None:
            raise self._error
        if self._assignments != assignments:
            # Records of before and after may be in one batch: all of it is read again from the places we know.
            self._consumer.assign(self._places(self._next))
            return
        records = [self._record(m) for m in messages if m.error() is None]
        if records:
            self._store(records)
        metrics.PROGRESS.labels(self._sink.name).set(self._now())
        for message in messages:
            if (failure := message.error()) is not None:
                self._failed(failure, message)
        clock = time.monotonic()
        if clock - self._looked >= _LOOK_S:
            self._looked = clock
            self._look()

    def _record(self, message: Message) -> Record:
        key: Any = message.key()  # the annotations of confluent_kafka say str where there are bytes
        value: Any = message.value()
        return Record(
            self._topic_id,
            message.partition() or 0,
            message.offset() or 0,
            message.timestamp()[1],
            key,
            value,
            tuple(kafka.headers(message)),
        )

    def _store(self, records: Sequence[Record]) -> None:
        began = time.monotonic()
        name = self._sink.name
        with tracing.following(f"store {self._sink.topic.name}", map(_trace, records), attributes={"sink": name}):
            try:
                moved, fates = self._database.run(lambda c: self._transaction(c, records, {}))
            except (psycopg.DataError, psycopg.IntegrityError):
                # Something in one of them that no check foresaw: find it, so that the others go on.
                refused = self._database.run(lambda c: self._refused(c, records))
                moved, fates = self._database.run(lambda c: self._transaction(c, records, refused))
        crash_point(f"{name}:after-commit")
        for fate in set(fates):
            metrics.RECORDS.labels(name, fate).inc(fates.count(fate))
        metrics.BATCH_SECONDS.labels(name).observe(time.monotonic() - began)
        oldest = min(record.arrived_at for record in records) / 1000
        metrics.RECORD_AGE.labels(name).observe(max(0.0, self._now() - oldest))
        self._next |= moved
        if moved and self._settings.kafka_durable:
            self._consumer.commit(offsets=self._places(moved), asynchronous=True)
            crash_point(f"{name}:after-kafka-commit")

    def _transaction(
        self, connection: Connection, records: Sequence[Record], refused: Mapping[tuple[int, int], str]
    ) -> tuple[dict[int, int], list[Fate]]:
        """Steps 1 to 4 of the sink transaction: lock the offsets, write what is new, send dead letters, move the offsets."""
        name = self._sink.name
        now = self._now()
        with connection.transaction():
            fresh = offsets.lock(connection, name, records, self._owner)
            crash_point(f"{name}:locked")
            outcome = _without(refused, fresh, lambda kept: self._sink.write(connection, kept, int(now * 1000)))
            crash_point(f"{name}:written")
            dead.send(self._producer, self._sink, fresh, outcome.reasons)
            crash_point(f"{name}:dead-letters-sent")
            moved = offsets.move(connection, name, fresh, outcome.fates, datetime.fromtimestamp(now, UTC))
            # The id at this moment is that at the assignment, and ids never come back: all that was read is of one topic.
            self._require_same_topic()
            crash_point(f"{name}:before-commit")
        for i in outcome.reasons:
            _LOG.warning("dead letter", sink=name, partition=fresh[i].partition, offset=fresh[i].offset)
        return moved, list(outcome.fates)

    def _refused(self, connection: Connection, records: Sequence[Record]) -> dict[tuple[int, int], str]:
        """The records that PostgreSQL refuses, each tried alone and undone."""
        refused = {}
        for record in records:
            try:
                with connection.transaction(force_rollback=True):
                    self._sink.write(connection, [record], int(self._now() * 1000))
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                refused[record.partition, record.offset] = (
                    f"PostgreSQL refuses it: {error.diag.message_primary or error}"
                )
        return refused

    # ---- what goes wrong, and what is looked at

    def _require_same_topic(self) -> None:
        topic = self._sink.topic.name
        if kafka.topic_ids(self._client, [topic])[topic] != self._topic_id:
            raise offsets.recreated(topic)

    def _failed(self, failure: KafkaError, message: Message) -> None:
        code = failure.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001
            return
        topic, partition = self._sink.topic.name, message.partition() or 0
        if code in _LOST:
            self._require_same_topic()
            low, high = self._log(partition)
            offsets.check(topic, partition, self._next.get(partition, -1), low, high)
            raise OffsetLost(f"Kafka refuses the offset of {topic}, partition {partition}: {failure.str()}")
        if code in _GONE:
            try:
                self._require_same_topic()
            except MissingTopic as error:
                raise MissingTopic(
                    f"the topic {topic} was deleted: create it with `driftlock topics apply`, then accept it with "
                    f"`driftlock sink accept {topic}`"
                ) from error
            return
        if failure.fatal():
            raise BrokerUnreachable(f"Kafka: {failure.str()}")
        _LOG.warning("Kafka", sink=self._sink.name, reason=failure.str())

    def _look(self) -> None:
        # A topic made again as long as the old one gives nothing to read, and so nothing else would show it.
        with suppress(BrokerUnreachable):  # an outage is waited out
            self._require_same_topic()
        for partition, next_offset in self._next.items():
            found = self._consumer.get_watermark_offsets(TopicPartition(self._sink.topic.name, partition), cached=True)
            if found[1] >= 0:
                metrics.LAG.labels(self._sink.name, partition).set(max(0, found[1] - next_offset))
        self._once_a_day()

    def _once_a_day(self) -> None:
        daily, clock = self._sink.daily, time.monotonic()
        if daily is not None and clock - self._day >= _DAY_S:
            self._day = clock
            self._database.run(lambda c: daily(c, int(self._now() * 1000)))

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)

    def close(self) -> None:
        """Leave the group and close what is open; nothing more is committed."""
        self._consumer.close()
        self._producer.flush(1)
        self._database.close()


def _trace(record: Record) -> str | None:
    """The trace context that a record carries."""
    for name, value in record.headers:
        if name == TRACE_HEADER and value:
            return value.decode("ascii", "replace")
    return None


def _without(
    refused: Mapping[tuple[int, int], str], records: Sequence[Record], write: Callable[[Sequence[Record]], Outcome]
) -> Outcome:
    """The outcome of a batch of which some records are known to be refused, and are not written."""
    if not records:
        return Outcome(())
    if not refused:
        return write(records)
    kept = [i for i, r in enumerate(records) if (r.partition, r.offset) not in refused]
    part = write([records[i] for i in kept]) if kept else Outcome(())
    fates: list[Fate] = ["rejected"] * len(records)
    for i, fate in zip(kept, part.fates, strict=True):
        fates[i] = fate
    reasons = {i: refused[r.partition, r.offset] for i, r in enumerate(records) if (r.partition, r.offset) in refused}
    reasons |= {kept[i]: said for i, said in part.reasons.items()}
    return Outcome(tuple(fates), reasons)
