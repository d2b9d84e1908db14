"""The course of a stream for a plot, in bounded memory: the largest bits and surprisal of each run of events."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.detector import BIT, EpisodeUpdate
from pipeline.scan.printable import short

if TYPE_CHECKING:
    from pipeline.scan.offline import Finding, Scan

BINS = 1024
"""Most runs that are kept; where more would be needed, each becomes twice as long."""
MOST_PANELS = 24
Longs = NDArray[np.int64]


def _empty() -> Longs:
    return np.zeros(BINS, np.int64)


@dataclass
class Trace:
    """`count` events in runs of `width`: int64[BINS] each of score and surprisal (2^-16 bit, the run's largest) and its first time (ms).

    `members`: first → last event number of each internal episode, by its number.
    """

    width: int = 1
    count: int = 0
    score: Longs = field(default_factory=_empty)
    surprisal: Longs = field(default_factory=_empty)
    time: Longs = field(default_factory=_empty)
    members: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, score: Longs, surprisal: Longs, time: Longs, episode: Longs) -> None:
        """Take in the stream's next events; how they are cut into calls changes nothing."""
        n = len(score)
        while (self.count + n - 1) // self.width >= BINS:
            self._halve()
        place = self.count + np.arange(n)
        run = place // self.width
        np.maximum.at(self.score, run, score)
        np.maximum.at(self.surprisal, run, surprisal)
        first = place % self.width == 0
        self.time[run[first]] = time[first]
        inside = np.flatnonzero(episode >= 0)
        for number in np.unique(episode[inside]).tolist():
            own = place[inside[episode[inside] == number]]
            self.members[number] = (self.members.get(number, (int(own[0]), 0))[0], int(own[-1]))
        self.count += n

    def _halve(self) -> None:
        for column in (self.score, self.surprisal):
            column[: BINS // 2] = column.reshape(-1, 2).max(axis=1)
            column[BINS // 2 :] = 0
        self.time[: BINS // 2] = self.time[::2]
        self.time[BINS // 2 :] = 0
        self.width *= 2


@dataclass(frozen=True)
class Mark:
    """A reported episode on the plot: first and last event number, severity, kind, and what is told of it."""

    first: int
    last: int
    severity: str
    title: str
    sentence: str
    event: str


@dataclass(frozen=True)
class Panel:
    """One stream: event numbers at which runs begin, their times (ms), bits float64[k], -log10 p float64[k], and its marks."""

    stream: str
    events: int
    number: Longs
    time: Longs
    bits: NDArray[np.float64]
    decades: NDArray[np.float64]
    marks: tuple[Mark, ...]


class Draw(Protocol):
    """Draws panels into the bytes of a file; `timed` says whether events have times."""

    def __call__(self, panels: Sequence[Panel], *, timed: bool) -> bytes: ...


def panels(scan: "Scan", found: Sequence["Finding"]) -> list[Panel]:
    """A panel for each stream, those with most anomalies and then most events first, at most MOST_PANELS."""
    by_stream: dict[str, list[Finding]] = {}
    for finding in found:
        by_stream.setdefault(finding.stream, []).append(finding)
    names = sorted(scan.traces, key=lambda s: (-len(by_stream.get(s, ())), -scan.traces[s].count, s))
    return [_panel(name, scan.traces[name], by_stream.get(name, [])) for name in names[:MOST_PANELS]]


def _panel(stream: str, trace: Trace, found: Sequence["Finding"]) -> Panel:
    runs = -(-trace.count // trace.width)
    last = dict(trace.members.values())
    marks = tuple(_mark(f.number, last.get(f.number, f.number), f.update, f"{f.file}:{f.line}") for f in found)
    return Panel(
        stream=short(stream),
        events=trace.count,
        number=np.arange(runs) * trace.width,
        time=trace.time[:runs],
        bits=trace.score[:runs] / BIT,
        decades=trace.surprisal[:runs] / BIT * np.log10(2),
        marks=marks,
    )


def _mark(first: int, last: int, update: EpisodeUpdate, where: str) -> Mark:
    events = "1 event" if update.count == 1 else f"{update.count:,} events"
    told = f"{update.severity} {update.kind}, {events}, p = {2.0 ** (-update.surprisal / BIT):.1g}, {where}"
    sentence, event = update.explanation.sentence, update.explanation.event
    return Mark(first, last, update.severity, short(told), short(sentence, 400), short(event, 240))
