"""Curves of quality and calibration as PNG files, by matplotlib (the extra `plots`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tests.quality.calibration import EIGHTHS, LEVELS, Counted, nominal
from tests.quality.judge import Judged
from tests.quality.measures import parts, quiet, share_interval, starts

_MARKERS = "osD^vP*X"
LEAST = 1000
"""Quiet events from which on a stream's false starts are drawn."""


def calibration(counts: Mapping[str, Counted], file: Path) -> None:
    """Rates beside nominal with 95 % intervals, rates over the eighths of a stream, and units at each sensitivity."""
    figure = Figure(figsize=(13, 4), dpi=90, layout="constrained")
    rates, late, units = figure.subplots(1, 3)
    for number, (name, counted) in enumerate(counts.items()):
        marker = _MARKERS[number % len(_MARKERS)]
        total = counted.starts.sum(axis=1)
        usual = np.array([nominal(level) for level in LEVELS])
        bounds = np.array([share_interval(int(k), counted.events) for k in total]) / usual[:, None]
        rate = total / counted.events / usual
        at = np.array(LEVELS) * 1.06**number
        spread = np.abs(np.stack([rate - bounds[:, 0], bounds[:, 1] - rate]))
        rates.errorbar(at, rate, yerr=spread, marker=marker, markersize=4, linewidth=0.8, capsize=2, label=name)
        late.plot(
            np.arange(1, EIGHTHS + 1),
            counted.starts[0] / np.maximum(1, counted.per_eighth) / usual[0],
            marker=marker,
            markersize=4,
            linewidth=0.8,
        )
        settings = [s for s in counted.units if s != "default"]
        units.plot(
            [float(s) for s in settings],
            [1e6 * counted.units[s] / counted.events for s in settings],
            marker=marker,
            markersize=4,
            linewidth=0.8,
        )
    rates.set(xscale="log", xlabel="level", title="starts, times nominal")
    rates.axhspan(0, 2, color="#2da44e", alpha=0.08)
    rates.set_yscale("symlog", linthresh=0.1)
    rates.legend(fontsize=7)
    late.set(xlabel="eighth of the stream", title=f"starts at p ≤ {LEVELS[0]:g}, times nominal", ylim=(0, None))
    units.set(xlabel="sensitivity", title="units per million events", yscale="symlog")
    figure.savefig(file, metadata={"Software": "driftlock"})


def quality(judged: Sequence[Judged], file: Path) -> None:
    """Precision over recall of each stream's events, and how often quiet events start at or below a p-value."""
    figure = Figure(figsize=(9, 4.8), dpi=90, layout="constrained")
    ranking, calm = figure.subplots(1, 2)
    levels = np.logspace(-4, -1.7, 12)
    for number, one in enumerate(judged):
        label, score = one.stream.anomalous, one.answers.score
        order = np.argsort(-score, kind="stable")
        hits = np.cumsum(label[order])
        kept = np.unique(np.linspace(0, len(hits) - 1, 600).astype(int))
        name, colour = f"{one.stream.name} (AP {one.row['AP']:.2f})", f"C{number % 10}"
        ranking.plot(hits[kept] / max(1, hits[-1]), hits[kept] / (kept + 1), linewidth=1, color=colour, label=name)
        rates, quiet_events = quiet_starts(one, levels)
        if quiet_events >= LEAST:
            calm.plot(levels, rates, marker=_MARKERS[number % len(_MARKERS)], markersize=3, linewidth=0.8, color=colour)
    calm.plot(levels, [nominal(level) for level in levels], color="#888888", linestyle="--", label="nominal")
    ranking.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    calm.set(xscale="log", xlabel="p-value", ylabel="starts per quiet event")
    calm.set_yscale("symlog", linthresh=1e-5)
    calm.set_ylim(0, None)
    figure.legend(loc="outside lower center", ncols=4, fontsize=6.5)
    figure.savefig(file, metadata={"Software": "driftlock"})


def quiet_starts(one: Judged, levels: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """(float64[k]: starts per quiet event at each level, quiet events), each series by itself."""
    counts, events = np.zeros(len(levels)), 0
    for label, said in parts(one.stream.anomalous, one.stream.series, one.answers):
        within = quiet(label)
        counts += [int((starts(said.p, level) & within).sum()) for level in levels]
        events += int(within.sum())
    return counts / max(1, events), events
