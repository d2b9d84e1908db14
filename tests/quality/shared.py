"""The shared judge and its streams, where they lie beside the checkout; neither is part of this repository."""

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from tests.quality.judge import ROOT, Judged, NoAnswer, scan_command
from tests.quality.labelled import Labelled, read
from tests.quality.measures import HIGHER_IS_BETTER

SHARED = Path(os.environ.get("DRIFTLOCK_SHARED") or ROOT.parent / "shared")
JUDGE = SHARED / "bench" / "quality.py"
DATA = SHARED / "data" / "dev"


def run(names: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Run the judge with our detector, its table going to standard output; what it measured, by stream."""
    with tempfile.TemporaryDirectory(prefix="driftlock-quality-") as folder:
        result = Path(folder) / "result.json"
        command = [
            sys.executable,
            str(JUDGE),
            "--command",
            " ".join([*scan_command(), "{file}"]),
            "--json",
            str(result),
        ]
        done = subprocess.run([*command, *(["--streams", ",".join(names)] if names else [])], cwd=ROOT, check=False)
        if done.returncode or not result.is_file():
            raise NoAnswer(f"the judge at {JUDGE} ended with {done.returncode}")
        measured: dict[str, dict[str, Any]] = orjson.loads(result.read_bytes().replace(b"NaN", b"null"))
    return measured


def streams(names: Sequence[str]) -> list[Labelled]:
    """The shared streams of these names."""
    return [read(DATA / f"{name}.jsonl.zst") for name in names]


def differing(measured: Mapping[str, Mapping[str, float]], judged: Sequence[Judged]) -> list[str]:
    """A line for each measure that our own judge gives another value than the shared one: then one of them is wrong."""
    return [
        f"{one.stream.name}: {name} is {one.row.get(name)} by our judge, {value} by the shared one"
        for one in judged
        for name, value in measured[one.stream.name].items()
        if name in HIGHER_IS_BETTER
        and not math.isnan(value)
        and not math.isclose(one.row.get(name, math.nan), value, rel_tol=1e-9, abs_tol=1e-12)
    ]


def rows(measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Stream → measure → value, without what is unknown."""
    return {
        name: {column: float(value) for column, value in row.items() if isinstance(value, int | float)}
        for name, row in measured.items()
        if "AP" in row
    }
