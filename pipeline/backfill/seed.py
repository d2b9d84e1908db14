"""A file as events of the past: to the topic `seeds`, from which workers learn it and tell nobody."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.database import Connection
from pipeline.scan.parse import Fields, parse
from pipeline.scan.read import Line
from schemas import records
from schemas.errors import DeliveryFailed, DriftlockError
from schemas.topics import CONTENT_TYPE_HEADER, ORGANIZATION_HEADER, SEEDS, STREAM_HEADER, TIME_HEADER

_TIMEOUT = 60.0
_SHOWN = 3

Headers = list[tuple[str, bytes]]


class BadSeed(DriftlockError):
    """What is to be learned does not fit."""


@dataclass(frozen=True)
class Seed:
    """An event of the past: its stream, when it was in ms, and the record's headers and value."""

    stream: str
    time: int
    headers: Headers
    body: bytes


def seeds(lines: Iterable[Line], fields: Fields, organization: UUID, stream: str, now: int) -> Iterator[Seed]:
    """The events of a file, each as the packer will read it. `stream` is that of lines which name none.

    `BadSeed` says which line is no event, was before the one before it in its stream, or is not past at `now` (ms).
    """
    last: dict[str, int] = {}
    for line in lines:
        body, own, time = parse(line, fields)
        name = own if fields.stream is not None and own else stream
        where = f"{line.file}, line {line.number}"
        headers: Headers = [
            (ORGANIZATION_HEADER, str(organization).encode()),
            (STREAM_HEADER, name.encode()),
            (CONTENT_TYPE_HEADER, b"application/json" if _is_object(body) else b"text/plain"),
            (TIME_HEADER, str(time).encode()),
        ]
        events, dead = records.read(body, records.describe(headers))
        if dead or records.time_of(headers) is None:
            reason = dead[0][2] if dead else f"its time is {time}, in ms since 1970"
            raise BadSeed(f"{where} is no event: {reason}")
        goes_to = events[0][2]
        if time >= now:
            raise BadSeed(f"{where} is not of the past")
        if time < last.get(goes_to, 0):
            raise BadSeed(f"{where} was before the line before it in the stream {goes_to}: sort the file by time")
        last[goes_to] = time
        yield Seed(goes_to, time, headers, body)


def _is_object(body: bytes) -> bool:
    try:
        return body[:1] == b"{" and isinstance(orjson.loads(body), dict)
    except ValueError:
        return False


def refuse_known(connection: Connection, organization: UUID, streams: Iterable[str]) -> None:
    """`BadSeed` where the organization is not known, or one of the streams has events already (since it was deleted, if it was)."""
    row = connection.execute("SELECT 1 FROM organizations WHERE id = %s", (organization,)).fetchone()
    if row is None:
        raise BadSeed(f"the organization {organization} is not known")
    rows = connection.execute(
        "SELECT s.stream FROM stream_standing AS s LEFT JOIN stream_settings AS t USING (organization_id, stream)"
        " WHERE s.organization_id = %s AND s.stream = ANY(%s) AND s.events > 0"
        " AND (t.deleted_at IS NULL OR s.last_at > t.deleted_at) ORDER BY s.stream",
        (organization, sorted(streams)),
    ).fetchall()
    if rows:
        names = [str(name) for (name,) in rows]
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise BadSeed(
            f"the stream {shown} has events already: only a stream without any can be seeded; delete it first"
        )


def publish(producer: Producer, found: Iterable[Seed]) -> int:
    """Write events of the past in order, and wait until Kafka has all of them; how many. `DeliveryFailed`: some may be there."""
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            failed.append(error)

    sent = 0
    try:
        for one in found:
            key = f"{one.headers[0][1].decode()}/{one.stream}"
            while True:
                try:
                    producer.produce(SEEDS.name, one.body, key, headers=list(one.headers), on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
            sent += 1
            producer.poll(0)
            if failed:
                break
        left = producer.flush(_TIMEOUT)
    except KafkaException as error:
        raise DeliveryFailed(f"the topic {SEEDS.name} can't be written: {error}") from error
    if failed or left:
        raise DeliveryFailed(
            f"the topic {SEEDS.name} can't be written: {failed[0].str() if failed else 'time-out'};"
            " what was sent is learned: delete the streams before it is sent again"
        )
    return sent
