"""What is in a bundle, and its parts as bytes: JSON, a line each, so that a person can read them.

| part | what |
|---|---|
| anomaly | each revision that was told, the very bytes of the topic `anomalies` |
| usage | its usage record, the very bytes |
| settings | what it was scored with: versions, position of the stream in `blocks` |
| state | the stream's state before the frame in which the episode begins (the detector's own bytes; empty: a new stream) |
| events | steps from that frame on: frame, what was asked of the stream then, control messages that change its state, events, time |
| ledger | what was booked for it, with the entries before and after in the chain; empty where no database was asked |
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import zstandard

from billing.ledger import Entry, Sealed
from detectors.detector import DETECTOR_VERSION, Controls
from pipeline.evidence.course import Event, Step
from pipeline.worker.rules import Asked
from schemas.controls import KINDS

_IDS = ("organization_id", "usage_id", "corrects")


@dataclass(frozen=True)
class Source:
    """Where the stream was scored."""

    organization_id: str
    stream: str
    topic_id: str
    partition: int


@dataclass(frozen=True)
class Bundle:
    """The content of a bundle. `versions` name the detector and the libraries."""

    source: Source
    versions: Mapping[str, str]
    anomaly: tuple[bytes, ...]
    usage: bytes
    state: bytes
    steps: tuple[Step, ...]
    ledger: tuple[Sealed, ...]


def versions() -> dict[str, str]:
    """The versions that work here."""
    return {
        "detector": DETECTOR_VERSION,
        "numpy": np.__version__,
        "python-zstandard": zstandard.__version__,
        "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
    }


def to_parts(bundle: Bundle) -> dict[str, bytes]:
    """The parts of a bundle, by name."""
    source = bundle.source
    settings = {
        "organization_id": source.organization_id,
        "stream": source.stream,
        "blocks": {"topic_id": source.topic_id, "partition": source.partition},
        "versions": dict(bundle.versions),
        "seeds": "none: random draws of the detector depend on nothing but its state",
    }
    return {
        "anomaly": b"\n".join(bundle.anomaly),
        "usage": bundle.usage,
        "settings": orjson.dumps(settings, option=orjson.OPT_SORT_KEYS),
        "state": bundle.state,
        "events": b"\n".join(orjson.dumps(_step(step)) for step in bundle.steps),
        "ledger": b"\n".join(orjson.dumps(_sealed(row)) for row in bundle.ledger),
    }


def from_parts(parts: Mapping[str, bytes]) -> Bundle:
    """The bundle of its parts; ValueError, KeyError or TypeError where they are none."""
    settings = orjson.loads(parts["settings"])
    return Bundle(
        Source(
            settings["organization_id"],
            settings["stream"],
            settings["blocks"]["topic_id"],
            settings["blocks"]["partition"],
        ),
        settings["versions"],
        tuple(parts["anomaly"].split(b"\n")),
        parts["usage"],
        parts["state"],
        tuple(_to_step(orjson.loads(line)) for line in parts["events"].split(b"\n")),
        tuple(_to_sealed(orjson.loads(line)) for line in parts["ledger"].splitlines()),
    )


def _step(step: Step) -> dict[str, Any]:
    asked = step.asked
    return {
        "frame": step.frame,
        "asked": {
            # As text: the shortest that gives the same number back, in every reader.
            "sensitivity": repr(asked.controls.sensitivity),
            "budget_per_day": asked.controls.budget_per_day,
            "muted_until": asked.muted_until,
            "paused": asked.paused,
        },
        "changes": [said.model_dump(mode="json") for said in step.changes],
        "events": [_event(event) for event in step.events],
        "renewed": step.renewed,
        "through": step.through,
    }


def _event(event: Event) -> dict[str, Any]:
    said: dict[str, Any] = {"index": event.index, "id": str(event.id), "received_at": event.received_at}
    said |= _text("body", event.body)
    if event.name:
        said |= _text("event_id", event.name)
    if event.trace is not None:
        said["trace"] = event.trace
    if event.seeded:
        said["seeded"] = True
    return said


def _text(name: str, value: bytes) -> dict[str, str]:
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


def _bytes(said: Mapping[str, Any], name: str) -> bytes:
    if name in said:
        return str(said[name]).encode()
    return base64.b64decode(said.get(f"{name}_base64", ""), validate=True)


def _to_step(said: Mapping[str, Any]) -> Step:
    asked = said["asked"]
    return Step(
        int(said["frame"]),
        tuple(_to_events(said["events"])),
        int(said["through"]),
        Asked(
            Controls(float(asked["sensitivity"]), int(asked["budget_per_day"])),
            int(asked["muted_until"]),
            bool(asked["paused"]),
        ),
        tuple(KINDS[change["kind"]].model_validate(change, strict=False) for change in said["changes"]),
        bool(said["renewed"]),
    )


def _to_events(said: Iterable[Mapping[str, Any]]) -> Iterable[Event]:
    for one in said:
        yield Event(
            int(one["index"]),
            UUID(one["id"]),
            int(one["received_at"]),
            _bytes(one, "event_id"),
            _bytes(one, "body"),
            one.get("trace"),
            bool(one.get("seeded", False)),
        )


def _sealed(row: Sealed) -> dict[str, Any]:
    return {"seq": row.seq, "prev_hash": row.prev_hash.hex(), "hash": row.hash.hex(), "entry": asdict(row.entry)}


def _to_sealed(said: Mapping[str, Any]) -> Sealed:
    entry = dict(said["entry"])
    if set(entry) != {field.name for field in fields(Entry)}:
        raise ValueError("an entry of the ledger has other fields")
    for name in _IDS:
        entry[name] = None if entry[name] is None else UUID(entry[name])
    return Sealed(int(said["seq"]), bytes.fromhex(said["prev_hash"]), bytes.fromhex(said["hash"]), Entry(**entry))
