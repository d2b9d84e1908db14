"""What a scorer is worth on labelled streams: it is run as a command that sees no label, and its answers are measured."""

import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from schemas.errors import DriftlockError
from tests.quality.labelled import Labelled, write_unlabelled
from tests.quality.measures import (
    HIGHER_IS_BETTER,
    Answers,
    FalseStarts,
    false_episodes,
    measure,
    parts,
    share_interval,
)

ROOT = Path(__file__).parents[2]
COLUMNS = (*HIGHER_IS_BETTER, "kev/s")
Scorer = Callable[[Labelled], tuple[Answers, float]]
"""Answers to a stream, and the CPU-seconds that they took, start-up included."""


class NoAnswer(DriftlockError):
    """A scorer did not answer as it should."""


@dataclass(frozen=True)
class Judged:
    """A stream's measures by column (NaN where unknown), its false starts, and the answers."""

    stream: Labelled
    row: dict[str, float]
    false: FalseStarts
    answers: Answers


def scan_command(sensitivity: float = 0.5) -> list[str]:
    """The command line of our own detector, without the file."""
    fields = ["--event-field", "event", "--stream-field", "series", "--time-field", "ts"]
    return [sys.executable, "-m", "pipeline.cli", "scan", "--scores", "--sensitivity", str(sensitivity), *fields]


def detector(stream: Labelled, sensitivity: float = 0.5) -> tuple[Answers, float]:
    """The answers of `driftlock scan --scores`."""
    lines, cpu = run(scan_command(sensitivity), stream)
    rows = [orjson.loads(line) for line in lines]
    score, p = (np.array([r[column] for r in rows], np.float64) for column in ("score", "p_value"))
    if not (np.isfinite(score).all() and (p > 0).all() and (p <= 1).all()):
        raise NoAnswer(f"{stream.name}: a score is not finite, or a p-value lies outside (0, 1]")
    return Answers(score, p, np.array([r["anomaly"] for r in rows], bool), [r["episode"] for r in rows]), cpu


def run(command: Sequence[str], stream: Labelled) -> tuple[list[bytes], float]:
    """One line per event of a command that is given the file of events, and its CPU-seconds; `NoAnswer` where they are not as many."""
    with tempfile.TemporaryDirectory(prefix="driftlock-quality-") as folder:
        file = Path(folder) / "events.jsonl"
        write_unlabelled(stream.rows, file)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*command, str(file)], stdout=subprocess.PIPE, cwd=ROOT, env=os.environ, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in {0, 1}:
        raise NoAnswer(f"{stream.name}: {' '.join(command)} ended with {done.returncode}")
    lines = done.stdout.splitlines()
    if len(lines) != len(stream.rows):
        raise NoAnswer(f"{stream.name}: {len(stream.rows)} events went in, {len(lines)} answers came out")
    return lines, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def judge(stream: Labelled, scorer: Scorer = detector) -> Judged:
    """Run a scorer on a stream and measure its answers."""
    answers, cpu = scorer(stream)
    row, false = measure(stream.anomalous, stream.series, answers)
    return Judged(stream, {**row, "kev/s": len(stream.rows) / max(cpu, 1e-9) / 1000}, false, answers)


def false_units(judged: Sequence[Judged]) -> tuple[int, int]:
    """(reported episodes that touch nothing near a label, quiet events), over all series of all streams."""
    found = [
        false_episodes(label, said)
        for one in judged
        for label, said in parts(one.stream.anomalous, one.stream.series, one.answers)
    ]
    return sum(false for false, _ in found), sum(quiet for _, quiet in found)


def heading(last: str = "") -> str:
    """The first line of the table."""
    return f"{'stream':24}" + "".join(f"{column:>10}" for column in COLUMNS) + (f"   {last}" if last else "")


def line(name: str, row: dict[str, float], last: str = "") -> str:
    """One line of the table; unknown measures are a dash."""
    cells = "".join(f"{'-':>10}" if math.isnan(row[c]) else f"{row[c]:10.4g}" for c in COLUMNS)
    return f"{name:24}{cells}" + (f"   {last}" if last else "")


def pooled(false: Sequence[FalseStarts]) -> list[str]:
    """The rates of false starts over all streams, with 95 % intervals."""
    total = sum(false, FalseStarts())
    return [
        f"false starts with p <= {level}: {count} in {total.quiet:,} quiet events, {count / max(total.quiet, 1):.5f} "
        "(95 %: {:.5f} to {:.5f})".format(*share_interval(count, total.quiet))
        for level, count in ((0.01, total.percent), (0.001, total.permille))
    ]
