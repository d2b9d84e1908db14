"""Records into the pending flush: the loop that every event goes through once."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from typing import Any

from confluent_kafka import Message

from pipeline import tracing
from pipeline.kafka import headers_of
from pipeline.packer import control as controls
from pipeline.packer.control import Control
from pipeline.packer.dead import Origin, dead_letter
from pipeline.packer.metrics import DEAD_LETTERS
from pipeline.packer.pending import EVENT_COST, TRACE_COST, Pending, Streams
from pipeline.packer.sources import Source
from schemas import records
from schemas.models import SourceControl
from schemas.records import Described
from schemas.topics import CONTROL, ORGANIZATION_HEADER, SEEDS, SIGNALS, TIME_HEADER

_REMEMBERED = 4_096

Wrong = tuple[str, str]
"""Why a whole record is a dead letter: (class, reason)."""

Route = tuple[Described, str, Streams | None, Wrong | None]
"""What the headers of a record mean at its source: what they say, the organization, its streams, or what is wrong."""


class Reader:
    """Takes records in the order of each source partition. `flush` is called whenever `limit` bytes are pending."""

    def __init__(self, pending: Pending, control: Control, limit: int, flush: Callable[[], None]) -> None:
        self.pending = pending
        self.sources: dict[tuple[str, int], Source] = {}
        self._control = control
        self._limit = limit
        self._flush = flush
        self._routes: dict[Any, Route] = {}
        self._version = -1
        self._asked = False

    def take(self, messages: list[Message], failed: Callable[[Message, Source | None], None]) -> None:  # noqa: C901 one loop
        """Take records; a message that is an error of the client goes to `failed`.

        Records of partitions that are not ours any more, and those before the next place to read, are left out.
        """
        simple, pending, limit = records.simple, self.pending, self._limit
        self._asked = False
        topic: str | None = ""
        partition: int | None = -1
        headers: Any = None
        source: Source | None = None
        streams: Streams | None = None
        for message in messages:
            if message.error() is not None:
                failed(message, self.sources.get((message.topic() or "", message.partition() or 0)))
                continue
            if message.partition() != partition or message.topic() != topic:
                topic, partition = message.topic(), message.partition()
                source = self.sources.get((topic, partition))  # type: ignore[arg-type]
                streams = None
            offset = message.offset()
            if source is None or offset < source.offset:  # type: ignore[operator]
                continue
            try:
                now = headers_of(message)
            except SystemError:
                message.set_headers([])
                self._unreadable(source, message)
                streams = None
                continue
            if streams is None or now != headers:
                headers = now
                route = self._route(source, headers)
                described, organization, streams, _ = route
                stream, number = described.stream, source.number
                usual = streams is not None and described.usual
            if not usual or source.index:
                self._record(source, message, route)
                continue
            value = message.value()
            said = simple(value, stream, streams)  # type: ignore[arg-type]
            if said is None:
                self._record(source, message, route)
                continue
            received = message.timestamp()[1]
            flat = streams.get(said[0])  # type: ignore[union-attr]
            if flat is None:
                flat = pending.open(organization, said[0])
            flat += (number, 0, offset, received, said[1], value)  # type: ignore[operator]
            pending.cost = cost = pending.cost + len(value) + EVENT_COST  # type: ignore[arg-type]
            source.offset = offset + 1  # type: ignore[operator]
            source.read_to = received
            source.at_end = False
            if cost >= limit:
                self._flush()

    def _route(self, source: Source, headers: Any) -> Route:
        if self._version != self._control.version or len(self._routes) >= _REMEMBERED:
            self._routes.clear()
            self._version = self._control.version
        key = (source.organization_id, SIGNALS.get(source.topic), tuple(headers) if headers else ())
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = self._judge(source, headers)
        if route[3] is not None and route[3][0] == "unknown organization" and not self._asked:
            # It may have been made a moment ago: every record at hand is older than this question.
            self._asked = True
            self._control.catch_up()
            if self._control.version != self._version:
                return self._route(source, headers)
        return route

    def _judge(self, source: Source, headers: Any) -> Route:
        described = records.describe(headers, SIGNALS.get(source.topic, ""))
        if source.topic == SEEDS.name and described.wrong is None:
            time = records.time_of(headers)
            wrong_time = ("time", f"no header {TIME_HEADER} with the time of the event in ms") if time is None else None
            described = replace(described, time=time, wrong=wrong_time)
        given, own = described.organization_id, source.organization_id
        organization = own or given or ""
        wrong: Wrong | None = described.wrong
        if wrong is None and own and given not in {None, own}:
            wrong = ("organization", f"the header {ORGANIZATION_HEADER} differs from the organization of the topic")
        if wrong is None and not organization:
            wrong = ("organization", f"no header {ORGANIZATION_HEADER}")
        if wrong is None and organization not in self._control.organizations:
            wrong = ("unknown organization", f"the organization {organization} is not known")
        return described, organization, None if wrong else self.pending.streams(organization), wrong

    def _record(self, source: Source, message: Message, route: Route) -> None:
        """A record that is not one small object, or not all of it, or not at all: every event and dead letter by its index."""
        described, organization, _, wrong = route
        offset, received, value = message.offset() or 0, message.timestamp()[1], message.value()
        first = source.index if offset == source.offset else 0
        source.offset, source.index = offset, first
        source.read_to, source.at_end = received, False
        if source.topic == CONTROL.name:
            self._copy(source, message)
            return
        # Nothing was before it was: an operator's clock may be ahead.
        at = received if described.time is None else min(described.time, received)
        events: list[records.Event] = []
        if wrong is not None:
            dead: list[records.Dead] = [(0, *wrong, value or b"")]
        else:
            events, dead = records.read(value, described)
        failed = {index for index, *_ in dead}
        for item in sorted(chain(events, dead), key=itemgetter(0)) if dead else events:
            index = item[0]
            if index < first:
                continue
            if index in failed:
                self._bury(source, message, item)  # type: ignore[arg-type]
            else:
                _, body, stream, event_id = item
                flat = self.pending.streams(organization).get(stream)
                if flat is None:
                    flat = self.pending.open(organization, stream)
                flat += (source.number, index, offset, at, event_id, body)
                self.pending.cost += len(body) + len(event_id) + EVENT_COST
                if described.trace and (source.number, offset) not in self.pending.traces:
                    self.pending.traces[source.number, offset] = described.trace
                    self.pending.cost += TRACE_COST
            if self.pending.cost >= self._limit and index + 1 < len(events) + len(dead):
                source.index = index + 1
                self._flush()
        source.offset, source.index = offset + 1, 0
        _follow(source, offset, received, described.trace)
        if self.pending.cost >= self._limit:
            self._flush()

    def _copy(self, source: Source, message: Message) -> None:
        """A control message goes into every partition of blocks; packers keep to themselves what is only for them."""
        parsed = controls.parse(message.value())
        if isinstance(parsed, str):
            self._bury(source, message, (0, "control", parsed, message.value() or b""))
        elif parsed is not None and not isinstance(parsed, SourceControl):
            # Its place, so that workers take each once, as events.
            self.pending.controls.append({**parsed.model_dump(mode="json"), "offset": source.offset})
            self.pending.cost += EVENT_COST + len(message.value() or b"")
        source.offset, source.index = source.offset + 1, 0
        if self.pending.cost >= self._limit:
            self._flush()

    def _unreadable(self, source: Source, message: Message) -> None:
        """A record with the name of a header that is not UTF-8, which Kafka allows and its client can't tell."""
        source.offset, source.index = message.offset() or 0, 0
        source.read_to, source.at_end = message.timestamp()[1], False
        self._bury(source, message, (0, "headers", "the name of a header is not UTF-8", message.value() or b""))
        source.offset += 1
        if self.pending.cost >= self._limit:
            self._flush()

    def _bury(self, source: Source, message: Message, dead: records.Dead) -> None:
        index, kind, reason, body = dead
        self.bury(source, source.offset, index, kind, reason, body, message)

    def bury(
        self,
        source: Source,
        offset: int,
        index: int,
        kind: str,
        reason: str,
        body: bytes,
        message: Message | None = None,
    ) -> None:
        """Make a dead letter of what is at a place; without a message its headers and key can't be told."""
        headers: Any = message.headers() if message is not None else None
        origin = Origin(
            source.topic,
            source.topic_id,
            source.partition,
            offset,
            message.timestamp()[1] if message is not None else source.read_to,
            source.organization_id or records.describe(headers).organization_id,
            headers or (),
            message.key() if message is not None else None,
        )
        letter = dead_letter(origin, index, reason, body)
        self.pending.letters.append(letter)
        known = origin.organization_id or ""
        self.pending.rejected[known if known in self._control.organizations else ""] += 1
        self.pending.cost += sum(map(len, letter))
        DEAD_LETTERS.labels(kind).inc()


def _follow(source: Source, offset: int, received: int, trace: str) -> None:
    """A span from the broker's append of a record to its packing, where its sender follows it."""
    where: dict[str, str | int] = {"topic": source.topic, "partition": source.partition, "offset": offset}
    with tracing.following("pack", [trace], since_ms=received, attributes=where):
        pass
