"""What was done to the stack while it was recorded. Read by the checker alone: nothing that scores may see it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LABELS_FILE = "labels.json"


@dataclass(frozen=True)
class Fault:
    """A fault, the streams it touches, and when (seconds since 1970) it was begun and undone."""

    name: str
    streams: tuple[str, ...]
    start: float
    end: float


@dataclass(frozen=True)
class Labels:
    """Faults in the order of time, the number of recorded lines, the seed, and what ran in which version."""

    faults: tuple[Fault, ...]
    lines: int
    seed: int
    recorded_with: dict[str, str]


def write(folder: Path, labels: Labels) -> None:
    """Write labels.json."""
    (folder / LABELS_FILE).write_text(json.dumps(asdict(labels), indent=1) + "\n", "utf-8")


def read(folder: Path) -> Labels:
    """Read labels.json."""
    value: dict[str, Any] = json.loads((folder / LABELS_FILE).read_text("utf-8"))
    faults = tuple(Fault(f["name"], tuple(f["streams"]), f["start"], f["end"]) for f in value["faults"])
    return Labels(faults, value["lines"], value["seed"], value["recorded_with"])
