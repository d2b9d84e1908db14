"""Events by HTTP: a body becomes records of the topic `events`, and is acknowledged when Kafka has acknowledged all of it.

A record is a run of the request's accepted items, in order, named by the header x-event-ids: sent again with the same
Idempotency-Key it has the same ids, and workers drop the repeat. All of an organization go to one partition, so what a client
sends one after the other stays in order.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson
from confluent_kafka import KafkaException, Producer
from opentelemetry.trace import SpanKind

from pipeline import kafka, tracing
from pipeline.api.problems import Answered
from schemas import records
from schemas.identity import named_event_ids, request_name
from schemas.records import Described
from schemas.settings import Settings
from schemas.topics import (
    CONTENT_TYPE_HEADER,
    EVENT_IDS_HEADER,
    EVENTS,
    MAX_EVENT_BYTES,
    ORGANIZATION_HEADER,
    STREAM_HEADER,
    TRACE_HEADER,
)

MAX_ITEMS = 10_000
MAX_RECORD_BYTES = 1 << 20
MAX_WAITING_BYTES = 64 << 20
ACKNOWLEDGED_S = 15.0
TICK_S, IDLE_S = 0.001, 0.1
_NDJSON = "application/x-ndjson"
_TEXTS = [b"%d" % index for index in range(MAX_ITEMS)]


def new_producer(settings: Settings) -> Producer:
    """The producer of a process: what waits in it is bounded, and lz4 costs less than the network."""
    return kafka.producer(
        settings,
        {"queue.buffering.max.kbytes": MAX_WAITING_BYTES >> 9, "linger.ms": 2, "compression.type": "lz4"},
    )


@dataclass(frozen=True)
class Rejected:
    """An item that is no event."""

    index: int
    code: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """What a request holds: `ids` of accepted items, in order; `runs`: (index of the first, value, content type) of records.

    Without a `name` its events have no ids but their own and their places.
    """

    name: str
    stream: str
    trace: str
    ids: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    runs: tuple[tuple[int, bytes, str], ...]
    topic: str = EVENTS.name

    @property
    def size(self) -> int:
        """Bytes of its records."""
        return sum(len(value) for _, value, _ in self.runs)


def describe(headers: Sequence[tuple[str, bytes | str | None]]) -> Described:
    """What the headers of a request say; 415 or 400 where they can't be followed."""
    described = records.describe(headers)
    if described.wrong is not None:
        code, reason = described.wrong
        raise Answered(415 if code == "content-type" else 400, reason)
    if not described.known and not described.signal:
        raise Answered(415, "Content-Type must be application/json, application/x-ndjson or text/plain")
    return described


def read(value: bytes, described: Described, content_type: str, organization_id: str, key: str) -> Batch:
    """The batch of a body. 400 with the reasons where no item is an event, 413 over 10,000 items."""
    if not value.strip():
        raise Answered(400, "the body is empty")
    name = str(request_name(organization_id, key))
    pieces = _pieces(value, described)
    streams = None if pieces is None else _usual(*pieces, described.stream)
    rejected: tuple[Rejected, ...] = ()
    if streams is not None:
        indexes = list(range(len(streams)))
        ids = _ids(organization_id, streams, _TEXTS[: len(streams)], f"{name}/".encode())
    else:
        events, dead = records.read(value, described) if pieces is None else records.read_pieces(*pieces, described)
        rejected = tuple(Rejected(index, code, reason[:300]) for index, code, reason, _ in dead)
        if not events:
            said = rejected[0].reason if rejected else "the body holds no event"
            raise Answered(400, said, extra={"rejected": [r.__dict__ for r in rejected[:100]]})
        indexes = [index for index, *_ in events]
        given = [own or f"{name}/{index}".encode() for index, _, _, own in events]
        ids = _ids(organization_id, [stream for _, _, stream, _ in events], given)
    runs = ((0, value, content_type),) if pieces is None else tuple(_runs(indexes, pieces[1]))
    return Batch(name, described.stream, described.trace, tuple(ids), rejected, runs)


def _usual(parsed: list[Any], bodies: list[bytes], stream: str) -> list[str] | None:
    """The stream of each, where all are objects that have no id and nothing wrong; None: ask `records.read_pieces`, which says the same."""
    if not all(type(one) is dict and "event_id" not in one for one in parsed):
        return None
    if not parsed or max(map(len, bodies)) > MAX_EVENT_BYTES:
        return None
    said = [one.get("stream") for one in parsed]
    try:
        distinct = set(said)
    except TypeError:
        return None
    if any(one is not None and (type(one) is not str or records.wrong_stream(one)) for one in distinct):
        return None
    return [stream if one is None else one for one in said]


def _ids(organization_id: str, streams: list[str], producer_ids: list[bytes], before: bytes = b"") -> list[str]:
    """The id of each event, by its stream and its producer's id, `before` and one of `producer_ids`."""
    places: dict[str, list[int]] = {}
    for at, stream in enumerate(streams):
        places.setdefault(stream, []).append(at)
    if len(places) == 1:
        return named_event_ids(organization_id, streams[0], producer_ids, before)
    ids = [""] * len(streams)
    for stream, mine in places.items():
        made = named_event_ids(organization_id, stream, [producer_ids[at] for at in mine], before)
        for at, one in zip(mine, made, strict=True):
            ids[at] = one
    return ids


def _pieces(value: bytes, described: Described) -> tuple[list[Any], list[bytes]] | None:
    """The items, parsed (or the error), and the line that each becomes; None where the body is one event, or can't be read."""
    if described.several:
        lines = [line for part in value.split(b"\n") if (line := part.strip())]
        _require_few(len(lines))
        return [_parsed(line) for line in lines], lines
    if value.lstrip()[:1] != b"[" or not described.json:
        return None
    try:
        elements = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    _require_few(len(elements))
    try:
        return elements, [orjson.dumps(element) for element in elements]
    except orjson.JSONEncodeError as error:  # what can be read may be nested deeper than what can be written
        raise Answered(400, "an element is nested too deeply") from error


def _require_few(items: int) -> None:
    if items > MAX_ITEMS:
        raise Answered(413, f"a request may have {MAX_ITEMS} items, not {items}")


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError as error:
        return error


def _runs(indexes: list[int], bodies: list[bytes]) -> list[tuple[int, bytes, str]]:
    """Runs of items that follow each other, each at most MAX_RECORD_BYTES."""
    if len(indexes) == len(bodies):
        whole = b"\n".join(bodies)
        if len(whole) <= MAX_RECORD_BYTES:
            return [(0, whole, _NDJSON)]
    runs: list[tuple[int, list[bytes]]] = []
    size = 0
    for at, index in enumerate(indexes):
        piece = bodies[index]
        if at == 0 or index != indexes[at - 1] + 1 or size + len(piece) >= MAX_RECORD_BYTES:
            runs.append((index, []))
            size = 0
        runs[-1][1].append(piece)
        size += len(piece) + 1
    return [(first, b"\n".join(run), _NDJSON) for first, run in runs]


@dataclass
class Intake:
    """The producer, whose answers the event loop takes, and the bytes that wait for them.

    No thread takes them: it would ask for the interpreter at each answer, and stand still, as the loop would, until it is given.
    """

    producer: Producer
    waiting: int = 0
    known: set[UUID] = field(default_factory=set)
    _open: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _tick: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take answers from now on, in this loop."""
        self._loop = loop
        self._poll()

    def _poll(self) -> None:
        if self._loop is not None:
            self.producer.poll(0)
            self._tick = self._loop.call_later(TICK_S if self._open else IDLE_S, self._poll)

    def _hurry(self) -> None:
        """Answers are expected: look for them soon."""
        if self._loop is not None and self._tick is not None:
            self._tick.cancel()
            self._tick = self._loop.call_later(TICK_S, self._poll)

    async def stop(self) -> None:
        """Wait for what is under way, and end."""
        self._loop = None
        if self._tick is not None:
            self._tick.cancel()
        await asyncio.to_thread(self.producer.flush, 5)

    def require_room(self) -> None:
        """429 where too much waits for Kafka."""
        if self.waiting > MAX_WAITING_BYTES:
            raise _busy()

    async def send(self, batch: Batch, organization_id: UUID, timeout_s: float = ACKNOWLEDGED_S) -> None:
        """Write the batch and wait until Kafka has all of it.

        429 where the producer's queue is full; 503 where Kafka does not acknowledge in time: it may have it all the same,
        so the request is to be sent again with the same Idempotency-Key.
        """
        loop, here = asyncio.get_running_loop(), threading.get_ident()
        done: asyncio.Future[str] = loop.create_future()
        left, said = len(batch.runs), ""

        def settle(reason: str) -> None:
            nonlocal left, said
            left -= 1
            said = said or reason
            if left == 0 and not done.done():
                done.set_result(said)

        def delivered(error: Any, _message: object) -> None:
            reason = "" if error is None else str(error.name())
            if threading.get_ident() == here:
                settle(reason)
            else:  # whoever waits for a message of his own takes ours too
                loop.call_soon_threadsafe(settle, reason)

        size = batch.size
        self.waiting += size
        self._open += 1
        try:
            with tracing.following(
                "publish", [batch.trace], SpanKind.PRODUCER, attributes={"topic": batch.topic}
            ) as spans:
                traced = replace(batch, trace=tracing.carried(spans, batch.trace) or "")
                for first, value, content_type in batch.runs:
                    self._produce(traced, organization_id, first, value, content_type, delivered)
                if self._open == 1:
                    self._hurry()
                try:
                    reason = await asyncio.wait_for(asyncio.shield(done), timeout_s)
                except TimeoutError:
                    reason = "no answer in time"
        finally:
            self._open -= 1
            self.waiting -= size
        if reason:
            how = " with the same Idempotency-Key" if batch.name else ""
            raise Answered(503, f"Kafka did not acknowledge: send it again{how}", {"Retry-After": "5"})

    def _produce(
        self, batch: Batch, organization_id: UUID, first: int, value: bytes, content_type: str, delivered: Any
    ) -> None:
        headers: list[tuple[str, str | bytes | None]] = [
            (ORGANIZATION_HEADER, str(organization_id).encode()),
            (STREAM_HEADER, batch.stream.encode()),
            (CONTENT_TYPE_HEADER, content_type.encode()),
        ]
        if batch.name:
            headers.append((EVENT_IDS_HEADER, f"{batch.name}/{first}".encode()))
        if batch.trace:
            headers.append((TRACE_HEADER, batch.trace.encode()))
        try:
            self.producer.produce(
                batch.topic, value, str(organization_id).encode(), headers=headers, on_delivery=delivered
            )
        except BufferError as error:
            raise _busy() from error
        except KafkaException as error:
            raise Answered(503, "Kafka does not take events: try again", {"Retry-After": "5"}) from error


def _busy() -> Answered:
    return Answered(429, "more events wait for Kafka than this process may hold: slow down", {"Retry-After": "1"})
