"""The committed figures: what was measured, and by how much a new measurement may be worse.

`figures.json` has four parts: `own` and `shared` (stream → measure → value and tolerance), `peers` (stream → peer → average
precision), `adversarial` (case → what is seen). `make quality-accept` writes what was measured; a tolerance that stands there stays.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from tests.quality.measures import HIGHER_IS_BETTER

FILE = Path(__file__).with_name("figures.json")
README = Path(__file__).with_name("README.md")
TOLERANCE = {
    "AP": 0.02,
    "ROC": 0.02,
    "recall": 0.05,
    "precision": 0.1,
    "F1": 0.05,
    "delay": 5.0,
    "per10k": 0.3,
    "fa.01": 0.001,
    "fa.001": 0.0003,
    "NAB": 2.0,
}
"""What a new figure gets. The detector is deterministic, so this is no noise: it is how much a change may cost one stream."""
Figures = dict[str, Any]
Measured = Mapping[str, Mapping[str, float]]


def read() -> Figures:
    """All committed figures; empty parts where nothing was accepted yet."""
    parts: Figures = {"own": {}, "shared": {}, "peers": {}, "adversarial": {}}
    return parts | (orjson.loads(FILE.read_bytes()) if FILE.is_file() else {})


def write(figures: Figures) -> None:
    """Replace the committed figures."""
    FILE.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    )


def worse(part: Mapping[str, Mapping[str, Mapping[str, float]]], measured: Measured) -> list[str]:
    """A line for each committed figure that the measurement misses by more than its tolerance; streams not measured are left out."""
    said = []
    for stream, row in measured.items():
        for name, figure in part.get(stream, {}).items():
            now, value, tolerance = row.get(name, math.nan), figure["value"], figure["tolerance"]
            lost = (value - now) if HIGHER_IS_BETTER.get(name, True) else (now - value)
            if math.isnan(now) or lost > tolerance:
                said.append(f"{stream}: {name} is {now:.4g}, committed {value:.4g}, tolerance {tolerance:g}")
    return said


def accepted(part: Mapping[str, Mapping[str, Mapping[str, float]]], measured: Measured) -> dict[str, Any]:
    """The part with what was measured in place of what was committed."""
    new: dict[str, Any] = {stream: dict(row) for stream, row in part.items()}
    for stream, row in measured.items():
        old = part.get(stream, {})
        new[stream] = {
            name: {"value": round(value, 5), "tolerance": old.get(name, {}).get("tolerance", TOLERANCE[name])}
            for name, value in row.items()
            if name in TOLERANCE and not math.isnan(value)
        }
    return new


def average_precisions(figures: Figures) -> str:
    """Our average precision on each stream beside the peers', as a table of Markdown; the best of a line in bold."""
    peers = sorted({name for row in figures["peers"].values() for name in row})
    rows = [f"| stream | driftlock | {' | '.join(peers)} |", f"| --- |{' ---: |' * (len(peers) + 1)}"]
    for stream, row in {**figures["own"], **figures["shared"]}.items():
        values = [row["AP"]["value"], *(figures["peers"].get(stream, {}).get(peer, math.nan) for peer in peers)]
        best = max(v for v in values if not math.isnan(v))
        cells = ["-" if math.isnan(v) else f"**{v:.3f}**" if v == best else f"{v:.3f}" for v in values]
        rows.append(f"| {stream} | {' | '.join(cells)} |")
    return "\n".join(rows)


def put(what: str, made: str) -> None:
    """Put what was made into README.md, between the marks of that name."""
    README.write_text(put_into(README.read_text("utf-8"), what, made), "utf-8")


def put_into(text: str, what: str, made: str) -> str:
    """The text with another content between the marks of that name; ValueError where there are none."""
    begins, ends = (f"<!-- {word} {what} -->" for word in ("begin", "end"))
    head, rest = text.split(begins)
    _, tail = rest.split(ends)
    return f"{head}{begins}\n{made}\n{ends}{tail}"


def best_peer(figures: Figures, stream: str) -> str:
    """The best peer's committed average precision, to print beside ours."""
    known: dict[str, float] = figures["peers"].get(stream, {})
    if not known:
        return "-"
    name = max(known, key=lambda peer: known[peer])
    return f"{known[name]:.3f} {name}"
