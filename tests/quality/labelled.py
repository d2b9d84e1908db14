"""Labelled streams of events: what they hold, their file, and those made of the shipped recording."""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray

from pipeline.stack import recording
from tests.recording import labels
from tests.recording.labels import Labels

RECORDINGS = Path(__file__).parents[1] / "recording"
Event = str | dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One event: seconds since 1970, text or object, 1 for anomalous, its series, and the kind of its anomaly or nothing."""

    ts: float
    event: Event
    label: int = 0
    series: str = "all"
    kind: str = ""


@dataclass(frozen=True)
class Labelled:
    """A stream of n events in the order of time; rows of several series may lie between each other."""

    name: str
    rows: tuple[Row, ...]

    @property
    def anomalous(self) -> NDArray[np.bool_]:
        """bool[n]."""
        return np.array([row.label == 1 for row in self.rows], bool)

    @property
    def series(self) -> list[str]:
        """The series of each event."""
        return [row.series for row in self.rows]

    @property
    def kinds(self) -> dict[str, int]:
        """How many anomalous events each kind has."""
        kinds = [row.kind for row in self.rows if row.label]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def body(event: Event) -> bytes:
    """The bytes of an event, as `driftlock scan --event-field` makes them."""
    return event.encode() if isinstance(event, str) else orjson.dumps(event)


def write(stream: Labelled, folder: Path) -> Path:
    """FOLDER/NAME.jsonl.zst: {"ts", "event", "label", "series", "kind"} a line."""
    text = "".join(
        json.dumps({"ts": r.ts, "event": r.event, "label": r.label, "series": r.series, "kind": r.kind}) + "\n"
        for r in stream.rows
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stream.name}.jsonl.zst"
    path.write_bytes(zstandard.ZstdCompressor(level=10).compress(text.encode()))
    return path


def read(path: Path) -> Labelled:
    """The stream of such a file; `series` and `kind` may be missing."""
    rows = []
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
        for line in io.TextIOWrapper(plain, "utf-8"):
            value = orjson.loads(line)
            rows.append(
                Row(
                    value["ts"],
                    value["event"],
                    value["label"],
                    str(value.get("series") or "all"),
                    value.get("kind", ""),
                )
            )
    return Labelled(path.name.removesuffix(".jsonl.zst"), tuple(rows))


def write_unlabelled(rows: Iterable[Row], path: Path) -> None:
    """{"ts", "event", "series"} a line: what a scorer may see."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({"ts": row.ts, "event": row.event, "series": row.series}) + "\n")


def shipped(name: str = "demo") -> Labelled:
    """A recording of tests/recording: a line is anomalous while a fault that touches its stream lasts.

    Usual lines go on during a fault and are labelled with it, so no scorer can reach an AP of 1.
    """
    said = labels.read(RECORDINGS / name)
    rows = tuple(
        _recorded(
            line, next((f.name for f in said.faults if line.stream in f.streams and f.start <= line.at <= f.end), "")
        )
        for line in recording.read(RECORDINGS / name)
    )
    return Labelled(f"recording_{name}", rows)


def _recorded(line: recording.Line, fault: str) -> Row:
    text = line.body.decode("utf-8", "replace")
    event: Event = text
    if text.startswith("{"):
        try:
            event = orjson.loads(text)
        except orjson.JSONDecodeError:
            event = text
    return Row(line.at, event, int(bool(fault)), line.stream, fault)


def quiet_lines(stream: str, name: str = "demo") -> list[Event]:
    """The lines of one stream of a recording that are well away from every fault that touches it."""
    said = labels.read(RECORDINGS / name)
    return [
        _recorded(line, "").event
        for line in recording.read(RECORDINGS / name)
        if line.stream == stream and not _near(said, line)
    ]


def _near(said: Labels, line: recording.Line, margin: float = 30.0) -> bool:
    touching: Sequence[labels.Fault] = [f for f in said.faults if line.stream in f.streams]
    return any(f.start - 1 <= line.at <= f.end + margin for f in touching)
