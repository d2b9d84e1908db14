"""`make calibration`: are p-values as rare as they say, early and late, and what would be billed of streams without anomalies?

On the five processes of `stationary.py`: starts of episodes at each level beside the nominal rate, those of the last eighth of a
stream beside its first, and units per million events at each sensitivity. Exit 1 where a band of detection.md is left.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from detectors.detector import BIT, Controls, Events, State, new_state, score
from tests.quality import stationary
from tests.quality.measures import CALM, ratio_interval, share_interval

LEVELS = (1e-2, 1e-3, 1e-4, 1e-5)
BOUND = (1e-4, 1e-5)
"""Levels whose rate must lie within MOST times nominal."""
MOST = 2.0
EIGHTHS = 8
SENSITIVITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
NO_BUDGET = 1_000_000_000
"""Episodes a day: so many that the daily budget holds nothing back, and the sensitivity alone is seen."""
SEED = 5_003
_LEAST = [int(np.ceil(-np.log2(level) * BIT)) for level in LEVELS]


def nominal(level: float) -> float:
    """Starts an event of a detector that is exactly right on independent events: one at the level after CALM above it."""
    return float(level * (1 - level) ** CALM)


@dataclass
class Counted:
    """What was seen of one stream so far: events, starts by (level, eighth), units by setting, and where each level was last met."""

    planned: int
    events: int = 0
    starts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(LEVELS), EIGHTHS), np.int64))
    per_eighth: NDArray[np.int64] = field(default_factory=lambda: np.zeros(EIGHTHS, np.int64))
    units: dict[str, int] = field(default_factory=dict)
    last: list[int] = field(default_factory=lambda: [-CALM - 1] * len(LEVELS))

    def add(self, surprisal: NDArray[np.int64]) -> None:
        """Count the starts of the next block: events at or below a level after CALM events above it."""
        place = self.events + np.arange(len(surprisal))
        eighth = place * EIGHTHS // self.planned
        self.per_eighth += np.bincount(eighth, minlength=EIGHTHS)
        for k, least in enumerate(_LEAST):
            low = place[surprisal >= least]
            if len(low):
                begun = low[np.diff(low, prepend=self.last[k]) > CALM]
                self.starts[k] += np.bincount(begun * EIGHTHS // self.planned, minlength=EIGHTHS)
                self.last[k] = int(low[-1])
        self.events += len(surprisal)


def settings() -> dict[str, Controls]:
    """Each sensitivity without a daily budget, and what a new organization has."""
    return {f"{s:g}": Controls(s, NO_BUDGET) for s in SENSITIVITIES} | {"default": Controls()}


def count(process: str, n: int, seed: int, controls: dict[str, Controls]) -> Counted:
    """Score the first n events of a process once for each setting; settings change no score, so the first gives the p-values."""
    counted = Counted(n, units=dict.fromkeys(controls, 0))
    states = {name: new_state() for name in controls}
    for events in stationary.blocks(process, n, seed):
        for number, (name, control) in enumerate(controls.items()):
            states[name], surprisal, units = _scored(states[name], events, control)
            counted.units[name] += units
            if number == 0:
                counted.add(surprisal)
    return counted


def _scored(state: State, events: Events, controls: Controls) -> tuple[State, NDArray[np.int64], int]:
    state, results, updates = score(state, events, None, controls)
    return state, results.surprisal, sum(u.revision == 1 for u in updates)


def pooled(parts: Sequence[Counted]) -> Counted:
    """All streams as one."""
    total = Counted(sum(c.planned for c in parts), units=dict.fromkeys(parts[0].units, 0))
    for part in parts:
        total.events += part.events
        total.starts += part.starts
        total.per_eighth += part.per_eighth
        for name, units in part.units.items():
            total.units[name] += units
    return total


def outside(name: str, counted: Counted) -> list[str]:
    """A line for each band that is left.

    The rate at 1e-4 and 1e-5: the 95 % interval must reach down to MOST times nominal. The last eighth: the 95 % interval of its
    ratio to the first must meet .5 to 2.
    """
    said = []
    for k, level in enumerate(LEVELS):
        starts = counted.starts[k]
        low, _ = share_interval(int(starts.sum()), counted.events)
        if level in BOUND and low > MOST * nominal(level):
            said.append(f"{name}: at p <= {level:g} {starts.sum() / counted.events / nominal(level):.2f} times nominal")
        ratio, low, high = _late(counted, k)
        if low > MOST or high < 1 / MOST:
            said.append(
                f"{name}: at p <= {level:g} the last eighth has {ratio:.2f} times the rate of the first ({low:.2f} to {high:.2f})"
            )
    return said


def _late(counted: Counted, k: int) -> tuple[float, float, float]:
    starts, events = counted.starts[k], counted.per_eighth
    return ratio_interval(int(starts[-1]), int(events[-1]), int(starts[0]), int(events[0]))


def table(name: str, counted: Counted) -> str:
    """What was counted, as lines to read."""
    rows = [f"{name}, {counted.events:,} events"]
    rows.append(f"  {'level':>8} {'starts':>9} {'x nominal':>10} {'95 %':>16} {'last eighth / first':>20} {'95 %':>16}")
    for k, level in enumerate(LEVELS):
        starts = int(counted.starts[k].sum())
        low, high = share_interval(starts, counted.events)
        ratio, early, late = _late(counted, k)
        usual = nominal(level)
        rows.append(
            f"  {level:>8g} {starts:>9,} {starts / counted.events / usual:>10.3f} {low / usual:>7.2f} to {high / usual:>5.2f}"
            f" {ratio:>20.2f} {early:>7.2f} to {late:>5.2f}"
        )
    per_million = {s: 1e6 * units / counted.events for s, units in counted.units.items()}
    rows.append(
        "  units per million events at sensitivity " + ", ".join(f"{s}: {u:.3g}" for s, u in per_million.items())
    )
    return "\n".join(rows)


def as_json(name: str, counted: Counted) -> str:
    """One JSON object, for plots and records."""
    row = {
        "process": name,
        "events": counted.events,
        "starts": {f"{level:g}": counted.starts[k].tolist() for k, level in enumerate(LEVELS)},
        "per_eighth": counted.per_eighth.tolist(),
        "units": counted.units,
    }
    return orjson.dumps(row).decode()


def main() -> int:
    """0 within the bands, 1 outside one."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality.calibration", description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="of each process")
    parser.add_argument("--processes", default=",".join(stationary.PROCESSES))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--out", type=Path, help="a folder: calibration.jsonl, and calibration.png where matplotlib is there"
    )
    given = parser.parse_args()
    if given.out:  # before minutes of work: a run must not fail for want of a library or a folder at its end
        from tests.quality import curves

        given.out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Counted] = {}
    for process in given.processes.split(","):
        if process not in stationary.PROCESSES:
            sys.stderr.write(f"calibration: no process {process!r}; there are {', '.join(stationary.PROCESSES)}\n")
            return 2
        counts[process] = count(process, given.events, given.seed, settings())
        sys.stdout.write(table(process, counts[process]) + "\n")
        sys.stdout.flush()
    together = pooled(list(counts.values()))
    sys.stdout.write(table("all", together) + "\n")
    left = [line for name, counted in counts.items() for line in outside(name, counted)] + outside("all", together)
    for line in left:
        sys.stderr.write(f"outside its band: {line}\n")
    if given.out:
        rows = {**counts, "all": together}
        (given.out / "calibration.jsonl").write_text("".join(as_json(n, c) + "\n" for n, c in rows.items()), "utf-8")
        curves.calibration(rows, given.out / "calibration.png")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
