"""Recorded telemetry: lines with their times, read and published again as if they came now."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import zstandard
from confluent_kafka import Producer

from schemas.errors import DriftlockError
from schemas.topics import EVENTS, ORGANIZATION_HEADER, STREAM_HEADER

EVENTS_FILE = "events.jsonl.zst"


class NoRecording(DriftlockError):
    """The recording is not there: run this in a checkout, or give --recording."""


@dataclass(frozen=True)
class Line:
    """A recorded event: seconds since 1970, its stream, its bytes (text as it was, an object as JSON)."""

    at: float
    stream: str
    body: bytes


def read(folder: Path) -> Iterator[Line]:
    """The lines of a recording in the order of their times; `NoRecording` where there is none."""
    path = folder / EVENTS_FILE
    if not path.is_file():
        raise NoRecording(f"no recording at {path}: run this in a checkout, or give --recording")
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
        for line in io.TextIOWrapper(plain, "utf-8"):
            value: dict[str, Any] = orjson.loads(line)
            event = value["event"]
            yield Line(
                float(value["ts"]), value["stream"], event.encode() if isinstance(event, str) else orjson.dumps(event)
            )


def publish(producer: Producer, lines: list[Line], organization_id: str, now: float) -> int:
    """Publish the lines, their times shifted so that the last is `now` (seconds); returns how many Kafka acknowledged."""
    shift = now - lines[-1].at
    failed: list[str] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            failed.append(str(error))

    for line in lines:
        headers: list[tuple[str, str | bytes | None]] = [
            (ORGANIZATION_HEADER, organization_id.encode()),
            (STREAM_HEADER, line.stream.encode()),
        ]
        while True:
            try:
                producer.produce(
                    EVENTS.name,
                    line.body,
                    line.stream.encode(),
                    timestamp=int((line.at + shift) * 1000),
                    headers=headers,
                    on_delivery=delivered,
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(60)
    if failed:
        raise DriftlockError(f"Kafka refused {len(failed)} of {len(lines)} events: {failed[0]}")
    return len(lines)
