"""The packer's process: subscribe, read, flush, commit; and what happens when partitions come and go."""

import gc
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline import kafka, topics
from pipeline.crash import crash_point
from pipeline.packer import assignment, metrics
from pipeline.packer.control import Control
from pipeline.packer.deliveries import Deliveries
from pipeline.packer.fuse import Fuse, pass_through
from pipeline.packer.pending import Pending
from pipeline.packer.reading import Reader
from pipeline.packer.sources import GROUP, Source, require_same
from pipeline.packer.watch import Watch
from schemas.errors import BrokerUnreachable, DeliveryFailed, DriftlockError, OffsetLost
from schemas.settings import Settings
from schemas.topics import BLOCKS

_LOG = structlog.get_logger("pipeline.packer")
# Larger batches are slower: their records leave the processor's cache before they are read.
_BATCH = 1_000
_COMMIT_SECONDS = 1.0
_DRAIN_SECONDS = 20.0
_ASSIGN_SECONDS = 60.0
_COMMIT_TIMEOUT = 10.0

# A record that the broker stamped may still be on its way when the log's end is seen; and clocks differ a little.
_END_MARGIN_MS = 1_000
# A step takes a fraction of a second; an acknowledgement too, unless Kafka can't be reached, and then the sources can't either.
_TOUCH_SECONDS = 5.0

_UNREADABLE = {KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError.INVALID_MSG}  # noqa: SLF001
_FORBIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}


@dataclass
class Status:
    """What a packer says of itself while it runs."""

    partitions: int = 0
    said: str = field(default="no source partition is assigned yet")

    def wrong(self) -> str:
        """Why it is not ready, or nothing."""
        return "" if self.partitions else self.said


def run(
    settings: Settings,
    stop: threading.Event,
    status: Status,
    create_time: Sequence[str] = (),
    now: Callable[[], float] = time.time,
) -> None:
    """Pack until `stop` is set, then finish what was read. Raises one of our errors, and nothing behind it is committed."""
    topics.check(settings, create_time)
    packer = _Packer(settings, status, stop, now)
    # Records come and go by the thousand and hold no cycles: looking for some among them costs a tenth of the time.
    gc.freeze()
    gc.set_threshold(100_000)
    try:
        packer.subscribe()
        while not stop.is_set():
            packer.step()
        packer.finish()
    finally:
        packer.close()


class _Packer:
    def __init__(self, settings: Settings, status: Status, stop: threading.Event, now: Callable[[], float]) -> None:
        self._settings = settings
        self._status = status
        self._stop = stop
        self._now = now
        self._client = kafka.admin(settings)
        self._control = Control(settings)
        self._producer = kafka.producer(settings, {"queue.buffering.max.kbytes": 256 * 1024})
        self._consumer: Consumer = kafka.consumer(settings, GROUP, {"on_commit": self._on_commit})
        partitions = kafka.topics(self._client)[BLOCKS.name]
        self._pending = Pending(partitions)
        self._reader = Reader(self._pending, self._control, settings.packer_flush_bytes, self._flush)
        self._fuse = Fuse(settings.packer_fuse_events)
        self._deliveries = Deliveries(self._producer)
        self._sources: list[Source] = []
        self._watch = Watch(self._client, self._consumer)
        self._error: DriftlockError | None = None
        self._assignments = 0
        self._closing = False
        self._since: float | None = None
        self._flushed = self._committed = self._stepped = time.monotonic()
        self._polled = 0.0
        self._unsure = False
        self._committing: dict[tuple[str, int], TopicPartition] = {}

    def subscribe(self) -> None:
        """Join the group; on a broker where that is slow, take every partition."""
        if self._settings.kafka_durable:
            self._consumer.subscribe(
                list(assignment.SUBSCRIPTION),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        else:
            self._assign(assignment.source_partitions(self._client))

    def step(self) -> None:
        """One round: read, take acknowledgements, flush what is due, commit what is settled."""
        assignments = self._assignments
        self._polled = self._now()
        messages = self._consumer.consume(_BATCH, self._patience())
        self._keep_in_touch()
        if self._error is not None:
            raise self._error
        if self._assignments != assignments:
            # Records of before and after may be in one batch: what it holds is read again from the places we know.
            if messages:
                self._consumer.assign(_positions(self._sources))
            messages = []
        self._control.poll()
        self._reader.take(messages, self._failed)
        clock = time.monotonic()
        if self._pending and self._since is None:
            self._since = clock
        aged = self._since is not None and clock - self._since >= self._settings.packer_flush_ms / 1000
        if self._sources and (aged or clock - self._flushed >= self._settings.packer_tick_ms / 1000):
            self._flush()
        self._deliveries.poll(0)
        if clock - self._committed >= _COMMIT_SECONDS:
            self._commit()
        self._look_after(clock)

    def _keep_in_touch(self) -> None:
        """After a pause, of this process or of Kafka, the end of a log as we know it may be long past.

        Until every source was read to its end anew its `through` stands still: else time would go on in the workers, and
        streams that sent meanwhile would be called silent.
        """
        clock = time.monotonic()
        if clock - self._stepped > _TOUCH_SECONDS or self._deliveries.waiting > _TOUCH_SECONDS:
            self._unsure = True
        elif self._unsure and self._sources:
            self._unsure = False
            self._ends_unknown()
            self._consumer.assign(_positions(self._sources))  # says again where each log ends
        if self._unsure:
            self._ends_unknown()
        self._stepped = clock

    def _ends_unknown(self) -> None:
        for source in self._sources:
            source.at_end = False

    def _patience(self) -> float:
        """Seconds to wait for records: short, because a batch is handed over only when it is full or this has passed."""
        return min(0.05, self._settings.packer_flush_ms / 4000)

    def _flush(self) -> None:
        """Send what is pending to every partition of blocks, with what it covers; wait while too much is on its way."""
        end = int(self._polled * 1000) - _END_MARGIN_MS
        frames, events = self._pending.frames(tuple(source.range(end) for source in self._sources))
        pass_through(self._fuse, events, self._pending.rejected, len(self._control.organizations))
        self._deliveries.send(frames, self._pending.letters, self._sources)
        metrics.FLUSHES.inc()
        metrics.EVENTS.inc(events)
        metrics.BYTES.inc(self._pending.cost)
        metrics.FRAME_BYTES.inc(sum(map(len, frames)))
        self._pending.clear()
        for source in self._sources:
            source.start = (source.offset, source.index)
        self._since = None
        self._flushed = began = time.monotonic()
        self._deliveries.poll(0)
        while self._deliveries.full:
            if self._stop.is_set():
                self._drain()
            self._deliveries.poll(0.05)
            metrics.BLOCKED.inc(-began + (began := time.monotonic()))

    def _commit(self, *, wait: bool = False) -> None:
        """Commit what is acknowledged in full. A commit that fails repeats work, and loses nothing."""
        self._committed = time.monotonic()
        settled = self._deliveries.settled
        if not settled or (self._committing and not wait):
            return
        self._committing = dict(settled)
        settled.clear()
        places = list(self._committing.values())
        if wait:
            self._commit_now(places)
            return
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            self._uncommitted(error.args[0])

    def _commit_now(self, places: list[TopicPartition]) -> None:
        """Commit and wait, but not for ever: a broker that went away must not hold up what else has to end."""
        failed: list[KafkaError] = []

        def commit() -> None:
            try:
                self._consumer.commit(offsets=places, asynchronous=False)
            except KafkaException as error:
                failed.append(error.args[0])

        waiting = threading.Thread(target=commit, daemon=True)
        waiting.start()
        waiting.join(_COMMIT_TIMEOUT)
        if waiting.is_alive():
            metrics.COMMIT_FAILURES.inc()
            _LOG.warning("a commit was not answered", seconds=_COMMIT_TIMEOUT)
        elif failed:
            self._uncommitted(failed[0])
        else:
            self._committing = {}
            crash_point("packer:after-commit")

    def _on_commit(self, error: KafkaError | None, _partitions: list[TopicPartition]) -> None:
        if error is not None:
            self._uncommitted(error)
            return
        self._committing = {}
        crash_point("packer:after-commit")

    def _uncommitted(self, error: KafkaError) -> None:
        metrics.COMMIT_FAILURES.inc()
        _LOG.warning("a commit failed and will be repeated", error=error.str())
        self._deliveries.settled = {**self._committing, **self._deliveries.settled}
        self._committing = {}

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignments += 1
        try:
            self._assign([(p.topic, p.partition) for p in partitions])
        except DriftlockError as error:  # the client's callbacks can't raise what we mean
            self._error = error

    def _assign(self, partitions: Sequence[assignment.Partition]) -> None:
        self._sources = self._found(partitions) if partitions else []
        self._reader.sources = {(s.topic, s.partition): s for s in self._sources}
        self._consumer.assign(_positions(self._sources))
        self._status.partitions = len(partitions)
        self._status.said = "this packer has no partition: there are more packers than source partitions"
        self._flushed = time.monotonic()
        _LOG.info("assigned", partitions=len(partitions), topics=sorted({s.topic for s in self._sources}))

    def _found(self, partitions: Sequence[assignment.Partition]) -> list[Source]:
        """Where to read on; asked again while the broker comes back, which is when partitions are given anew."""
        durable = self._settings.kafka_durable
        deadline = time.monotonic() + _ASSIGN_SECONDS
        while True:
            try:
                return assignment.sources(
                    partitions, self._consumer, self._client, self._producer, self._control, ends_known=durable
                )
            except BrokerUnreachable as error:
                if time.monotonic() > deadline or self._stop.wait(0.5):
                    raise
                _LOG.warning("asking again where to read on", error=str(error))
                kafka.topics(self._client)  # its knowledge of leaders is stale

    def _on_revoke(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._assignments += 1
        try:
            if not self._closing:
                self.finish()
        except DriftlockError as error:
            self._error = error
        self._leave()

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignments += 1
        _LOG.warning("partitions were lost to another packer", partitions=len(partitions))
        self._leave()

    def _leave(self) -> None:
        self._pending.clear()
        self._deliveries.forget()
        self._committing = {}
        self._sources = []
        self._reader.sources = {}
        self._since = None
        self._status.partitions = 0

    def finish(self) -> None:
        """Send what was read, wait until all is acknowledged, commit."""
        if self._pending and self._sources:
            self._flush()
        self._drain()
        # What an unanswered commit held is older than what is settled now.
        self._deliveries.settled = {**self._committing, **self._deliveries.settled}
        self._commit(wait=True)

    def _drain(self) -> None:
        """Wait until all that was sent is acknowledged."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._deliveries:
            self._deliveries.poll(0.05)
            if time.monotonic() > deadline:
                raise DeliveryFailed(f"Kafka did not acknowledge within {_DRAIN_SECONDS:.0f} s; it will be sent again")

    def _failed(self, message: Message, source: Source | None) -> None:
        """What the client says instead of a record."""
        error = message.error()
        code = error.code() if error is not None else 0
        offset = message.offset()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001
            if source is not None:
                source.at_end = True
        elif code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            name = message.topic() or ""
            if source is not None:
                require_same(name, source.topic_id.partition("#")[0], kafka.topic_ids(self._client, [name])[name])
            raise OffsetLost(
                f"{name}/{message.partition()}: the log does not have offset {offset}, which is next; to go on without what "
                f"was removed stop every packer and run `driftlock packer --accept-new-topic {name}`"
            )
        elif code in _FORBIDDEN:
            raise DriftlockError(f"Kafka does not let the packer read {message.topic()}: {error}; check its ACLs")
        elif code in _UNREADABLE and source is not None and offset is not None and offset >= source.offset:
            self._reader.bury(source, offset, 0, "unreadable", f"Kafka's client can't read the record: {error}", b"")
            source.offset, source.index = offset + 1, 0
        elif not (message.topic() or "").startswith("^"):  # no organization has a topic of its own: nothing is wrong
            _LOG.warning("Kafka's client says", error=str(error), topic=message.topic())

    def _look_after(self, clock: float) -> None:
        """Every few seconds: are the topics still the same, are there new ones, how far behind are we."""
        if not self._watch.due(clock):
            return
        self._watch.look(clock, self._sources)
        if not self._settings.kafka_durable:
            known = set(self._reader.sources)
            there = assignment.source_partitions(self._client)
            if set(there) - known:
                self.finish()
                self._assign(there)

    def close(self) -> None:
        """Leave the broker. Nothing is flushed here: what was not acknowledged is read again."""
        self._closing = True
        self._leave()
        self._consumer.close()
        self._control.close()
        self._producer.purge()


def _positions(sources: Sequence[Source]) -> list[TopicPartition]:
    return [TopicPartition(s.topic, s.partition, s.offset) for s in sources]
