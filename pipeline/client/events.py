"""Events sent in batches. Each batch has a key of its own, the same in all its tries, so none is stored twice."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import orjson
import zstandard

from pipeline.client.connection import Connection, Refused, request

Event = Mapping[str, Any] | str
"""A JSON object, or a line of text."""

MAX_ITEMS, MAX_BYTES = 10_000, 4 << 20
_PACKED_FROM = 1 << 10


@dataclass(frozen=True)
class Rejected:
    """An event that the API did not take: its index among those that were given, and why."""

    index: int
    code: str
    reason: str


@dataclass(frozen=True)
class Sent:
    """What became of the events: `ids` of the accepted ones, in order, as anomalies name them."""

    ids: tuple[UUID, ...]
    rejected: tuple[Rejected, ...]

    @property
    def accepted(self) -> int:
        """How many were accepted."""
        return len(self.ids)


def send(at: Connection, events: Iterable[Event], *, stream: str = "", key: str | None = None) -> Sent:
    """Send events; returns once Kafka has all that were accepted.

    `stream`: of events that name none themselves. `key`: given again with the same events, nothing is stored twice; at most
    100 printable ASCII characters. `Refused`, `Unreachable`: batches before were sent, so give a `key` to send all again.
    """
    name = key or str(uuid4())
    ids: list[UUID] = []
    rejected: list[Rejected] = []
    for number, (indexes, body) in enumerate(_batches(events, rejected)):
        said = _send(at, body, stream, f"{name}/{number}")
        ids += [UUID(one) for one in said.get("ids", ())]
        rejected += [Rejected(indexes[one["index"]], one["code"], one["reason"]) for one in said["rejected"]]
    return Sent(tuple(ids), tuple(sorted(rejected, key=lambda one: one.index)))


def _send(at: Connection, body: bytes, stream: str, key: str) -> Mapping[str, Any]:
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key}
    if stream:
        headers["X-Stream"] = stream
    if len(body) >= _PACKED_FROM:
        headers["Content-Encoding"] = "zstd"
        body = zstandard.ZstdCompressor(level=3).compress(body)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        answer: Mapping[str, Any] = request(at, "POST", "/v1/events", content=body, headers=raw).json()
    except Refused as error:
        if "rejected" in error.problem:  # none of the batch is an event
            return error.problem
        raise
    return answer


def _batches(events: Iterable[Event], rejected: list[Rejected]) -> Iterator[tuple[list[int], bytes]]:
    """(index of each line among the events, lines); what is no line of a request is put into `rejected`."""
    indexes: list[int] = []
    lines: list[bytes] = []
    size = 0
    for index, event in enumerate(events):
        try:
            line = orjson.dumps(event)
        except orjson.JSONEncodeError as error:
            rejected.append(Rejected(index, "json", f"it is no JSON: {error}"))
            continue
        if len(line) > MAX_BYTES:
            rejected.append(Rejected(index, "too-large", f"{len(line)} bytes are more than a request may have"))
            continue
        if lines and (len(lines) == MAX_ITEMS or size + len(line) >= MAX_BYTES):
            yield indexes, b"\n".join(lines)
            indexes, lines, size = [], [], 0
        indexes.append(index)
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield indexes, b"\n".join(lines)
