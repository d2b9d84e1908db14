"""How well answers fit labels: ranking, episodes, false starts; and 95 % intervals. Pure functions of arrays.

An answer is what `driftlock scan --scores` prints of an event: a score, a p-value, whether it belongs to a reported episode,
and to which one. The definitions are those of the judge of detection.md, in code of our own.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CALM = 64
"""Events above a level before one at or below it is a start."""
FAR = 100
"""Events between a quiet event and the nearest label."""
JOIN = 20
"""Labelled events with at most so many between them are one labelled episode."""
HIGHER_IS_BETTER = {
    "AP": True,
    "ROC": True,
    "recall": True,
    "precision": True,
    "F1": True,
    "delay": False,
    "per10k": False,
    "fa.01": False,
    "fa.001": False,
}
LEAST_QUIET = 20_000
"""Quiet events from which on the rate of false starts of one stream says something."""
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What was answered for n events: score float64[n] (bits), p float64[n] in (0, 1], alarm bool[n], episode name or None."""

    score: Floats
    p: Floats
    alarm: Bools
    episode: Sequence[str | None]

    def part(self, index: NDArray[np.int64]) -> "Answers":
        """The answers of the events in `index`."""
        return Answers(self.score[index], self.p[index], self.alarm[index], [self.episode[i] for i in index.tolist()])


@dataclass(frozen=True)
class FalseStarts:
    """Starts at p <= .01 and <= .001 among quiet events, and the number of quiet events."""

    percent: int = 0
    permille: int = 0
    quiet: int = 0

    def __add__(self, other: "FalseStarts") -> "FalseStarts":
        return FalseStarts(self.percent + other.percent, self.permille + other.permille, self.quiet + other.quiet)


def average_precision(anomalous: Bools, score: Floats) -> float:
    """Mean, over anomalous events, of the precision at the threshold that just takes them; equal scores share a threshold."""
    total = int(anomalous.sum())
    if total in {0, len(anomalous)}:
        return math.nan
    levels, where = np.unique(-score, return_inverse=True)
    events = np.bincount(where, minlength=len(levels))
    hits = np.bincount(where, weights=anomalous, minlength=len(levels))
    return float(np.sum(hits * np.cumsum(hits) / np.cumsum(events)) / total)


def roc_area(anomalous: Bools, score: Floats) -> float:
    """Chance that an anomalous event outranks a quiet one, a tie counting one half (Mann and Whitney, 1947)."""
    total = int(anomalous.sum())
    if total in {0, len(anomalous)}:
        return math.nan
    _, where, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2
    won = rank[where][anomalous].sum() - total * (total + 1) / 2
    return float(won / (total * (len(score) - total)))


def spans(mask: Bools, join: int = 0) -> list[tuple[int, int]]:
    """(first, last) of each run of true values; runs with at most `join` others between them are one."""
    found: list[tuple[int, int]] = []
    for i in np.flatnonzero(mask).tolist():
        if found and i - found[-1][1] <= join + 1:
            found[-1] = (found[-1][0], i)
        else:
            found.append((i, i))
    return found


def starts(p: Floats, level: float) -> Bools:
    """bool[n]: events at or below the level with at least CALM above it just before; the first of a stream counts."""
    low = np.flatnonzero(p <= level)
    first = np.ones(len(low), bool)
    first[1:] = np.diff(low) > CALM
    mask = np.zeros(len(p), bool)
    mask[low[first]] = True
    return mask


def quiet(anomalous: Bools) -> Bools:
    """bool[n]: events at least FAR events away from any label."""
    reach = np.cumsum(np.r_[0, anomalous])
    index = np.arange(len(anomalous))
    near: Bools = reach[np.minimum(index + FAR + 1, len(anomalous))] > reach[np.maximum(index - FAR, 0)]
    return ~near


def _by_episode(answers: Answers) -> list[list[int]]:
    members: dict[str, list[int]] = {}
    for i in np.flatnonzero(answers.alarm).tolist():
        members.setdefault(answers.episode[i] or f"event {i}", []).append(i)
    return list(members.values())


def false_episodes(anomalous: Bools, answers: Answers) -> tuple[int, int]:
    """(reported episodes all of whose events are quiet, quiet events)."""
    calm = quiet(anomalous)
    return sum(bool(calm[i].all()) for i in _by_episode(answers)), int(calm.sum())


def episodes(anomalous: Bools, answers: Answers) -> dict[str, float]:
    """Recall, precision and F1 over episodes, the median delay in events, and false episodes per 10,000 quiet events."""
    labelled = spans(anomalous, JOIN)
    alarms = np.flatnonzero(answers.alarm)
    delays = []
    for first, last in labelled:
        inside = alarms[(alarms >= first) & (alarms <= last)]
        if len(inside):
            delays.append(int(inside[0]) - first)
    recall = len(delays) / len(labelled) if labelled else math.nan
    touching = [bool(anomalous[i].any()) for i in _by_episode(answers)]
    precision = float(np.mean(touching)) if touching else math.nan
    both = recall + (precision if touching else 0.0)
    false, calm = false_episodes(anomalous, answers)
    return {
        "recall": recall,
        "precision": precision,
        "F1": math.nan if not labelled else 2 * recall * precision / both if touching and both > 0 else 0.0,
        "delay": float(np.median(delays)) if delays else math.nan,
        "per10k": 10_000 * false / calm if calm else math.nan,
    }


def parts(anomalous: Bools, series: Sequence[str], answers: Answers) -> Iterator[tuple[Bools, Answers]]:
    """Labels and answers of each series without its first 15 %, or of a lone one without its first 500 or tenth."""
    names = np.array(series)
    alone = len(set(series)) == 1
    for name in dict.fromkeys(series):
        members = np.flatnonzero(names == name)
        members = members[min(500, len(members) // 10) if alone else int(0.15 * len(members)) :]
        if len(members):
            yield anomalous[members], answers.part(members)


def measure(anomalous: Bools, series: Sequence[str], answers: Answers) -> tuple[dict[str, float], FalseStarts]:
    """Every measure, a mean over the series where it is known; the beginning of each is left out (`parts`)."""
    rows: list[dict[str, float]] = []
    false = FalseStarts()
    for label, said in parts(anomalous, series, answers):
        calm = quiet(label)
        percent, permille = (int((starts(said.p, level) & calm).sum()) for level in (0.01, 0.001))
        false += FalseStarts(percent, permille, int(calm.sum()))
        ranked = {"AP": average_precision(label, said.score), "ROC": roc_area(label, said.score)}
        rows.append({**ranked, **episodes(label, said)})
    row = {column: _mean([r[column] for r in rows]) for column in rows[0]}
    enough = false.quiet >= LEAST_QUIET
    row["fa.01"] = false.percent / false.quiet if enough else math.nan
    row["fa.001"] = false.permille / false.quiet if enough else math.nan
    return row, false


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return float(np.mean(known)) if known else math.nan


def share_interval(count: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927)."""
    if of == 0:
        return 0.0, 1.0
    z = 1.959964
    middle = (count + z * z / 2) / (of + z * z)
    half = z * math.sqrt(count * (of - count) / of + z * z / 4) / (of + z * z)
    return max(0.0, middle - half), min(1.0, middle + half)


def ratio_interval(count: int, of: int, other: int, of_other: int) -> tuple[float, float, float]:
    """(ratio, low, high) of two rates of rare events, log-normal, one half added to each count so that none is 0."""
    if of == 0 or of_other == 0:
        return math.nan, 0.0, math.inf
    ratio = ((count + 0.5) / of) / ((other + 0.5) / of_other)
    spread = math.exp(1.959964 * math.sqrt(1 / (count + 0.5) + 1 / (other + 0.5)))
    return ratio, ratio / spread, ratio * spread
