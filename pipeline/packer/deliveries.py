"""Flushes on their way: sent in order, acknowledged in full, and only then committed."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from pipeline.crash import crash_point
from pipeline.packer.metrics import IN_FLIGHT, PROGRESS
from pipeline.packer.sources import Source, metadata
from schemas.errors import DeliveryFailed
from schemas.topics import BLOCKS, DEAD_LETTERS

MAX_FLUSHES = 16
MAX_BYTES = 64 << 20


@dataclass(slots=True)
class _Flush:
    """One flush: what is not yet acknowledged of it, and the places it brings its sources to."""

    left: int
    size: int
    stops: list[TopicPartition]
    sent_at: float
    begun: bool = False


class Deliveries:
    """Flushes in flight, in order. `settled` is the place of each source behind which all is acknowledged."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._flights: deque[_Flush] = deque()
        self._bytes = 0
        self._failed: KafkaError | None = None
        self.settled: dict[tuple[str, int], TopicPartition] = {}

    def send(self, frames: Sequence[bytes], letters: Sequence[tuple[bytes, bytes]], sources: Sequence[Source]) -> None:
        """Send one flush: a frame to each partition of `blocks`, and its dead letters."""
        stops = [
            TopicPartition(s.topic, s.partition, s.offset, metadata=metadata(s.topic_id, s.index))
            for s in sources
            if s.start != (s.offset, s.index)
        ]
        size = sum(map(len, frames)) + sum(len(value) for _, value in letters)
        flush = _Flush(len(frames) + len(letters), size, stops, time.monotonic())
        self._flights.append(flush)
        self._bytes += size
        acknowledged = self._acknowledged(flush)
        for partition, frame in enumerate(frames):
            self._produce(BLOCKS.name, frame, None, partition, acknowledged)
        for key, value in letters:
            self._produce(DEAD_LETTERS.name, value, key, -1, acknowledged)
        IN_FLIGHT.set(len(self._flights))
        crash_point("packer:after-send")

    def _acknowledged(self, flush: _Flush) -> Callable[[KafkaError | None, object], None]:
        def delivered(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                self._failed = self._failed or error
                return
            flush.left -= 1
            if not flush.begun:
                flush.begun = True
                crash_point("packer:mid-flush")

        return delivered

    def _produce(
        self,
        topic: str,
        value: bytes,
        key: bytes | None,
        partition: int,
        acknowledged: Callable[[KafkaError | None, object], None],
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=acknowledged)
            except BufferError:  # the producer's own queue is full
                self.poll(0.1)
            except KafkaException as error:
                raise _refused(error.args[0]) from error
            else:
                return

    def poll(self, timeout: float) -> None:
        """Take acknowledgements; `DeliveryFailed` at the first that failed, and nothing behind it is ever settled."""
        self._producer.poll(timeout)
        if self._failed is not None:
            raise _refused(self._failed)
        while self._flights and not self._flights[0].left:
            flush = self._flights.popleft()
            self._bytes -= flush.size
            PROGRESS.set_to_current_time()
            for stop in flush.stops:
                self.settled[stop.topic, stop.partition] = stop
            crash_point("packer:after-ack-before-commit")
        IN_FLIGHT.set(len(self._flights))

    @property
    def full(self) -> bool:
        """Whether so much is on its way that reading must wait."""
        return len(self._flights) >= MAX_FLUSHES or self._bytes > MAX_BYTES

    @property
    def waiting(self) -> float:
        """Seconds for which the oldest flush has been waiting for its acknowledgement."""
        return time.monotonic() - self._flights[0].sent_at if self._flights else 0.0

    def __bool__(self) -> bool:
        return bool(self._flights)

    def forget(self) -> None:
        """What is on its way belongs to another packer now: it may arrive, and will not be committed by us."""
        for flush in self._flights:
            flush.stops.clear()
        self.settled.clear()


def _refused(error: KafkaError) -> DeliveryFailed:
    return DeliveryFailed(f"Kafka refused a message for good: {error.str()}; nothing behind it was committed")
