"""Scores lines in large batches, stream by stream, and gives the results back in the order of the lines."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from detectors.detector import Controls, EpisodeUpdate, Events, State, new_state, score
from pipeline.scan.parse import Fields, parse
from pipeline.scan.read import Line
from pipeline.scan.trace import Trace

BATCH = 16384
"""Lines scored at a time."""
BATCH_BYTES = 32 << 20


@dataclass(frozen=True)
class Finding:
    """An episode as far as it was told: its stream, first line, first event's number in the stream, and newest revision."""

    stream: str
    file: str
    line: int
    number: int
    update: EpisodeUpdate


@dataclass
class Scan:
    """What a scan knows: the state and number of events of each stream, and all findings by (stream, number).

    With `traced` it also keeps each stream's course, for a plot.
    """

    fields: Fields
    controls: Controls
    states: dict[str, State] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    findings: dict[tuple[str, int], Finding] = field(default_factory=dict)
    traced: bool = False
    traces: dict[str, Trace] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """A batch of n lines: scores and surprisals (2^-16 bit), whether each belongs to a reported episode, and to which one."""

    score: NDArray[np.int64]
    surprisal: NDArray[np.int64]
    reported: NDArray[np.bool_]
    episode: NDArray[np.int64]
    streams: list[str]


def batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Lists of lines, bounded in number and bytes."""
    lines = iter(lines)
    while batch := list(islice(lines, 256)):
        size = sum(len(line.data) for line in batch)
        while size < BATCH_BYTES and len(batch) < BATCH and (more := list(islice(lines, 256))):
            batch += more
            size += sum(len(line.data) for line in more)
        yield batch


def score_batch(scan: Scan, batch: list[Line]) -> Scored:
    """Score and learn a batch; findings are added to the scan."""
    n = len(batch)
    bodies, streams, times = [], [], np.zeros(n, np.int64)
    for i, line in enumerate(batch):
        body, stream, times[i] = parse(line, scan.fields)
        bodies.append(body)
        streams.append(stream)
    groups: dict[str, list[int]] = {}
    for i, stream in enumerate(streams):
        groups.setdefault(stream, []).append(i)
    scored = Scored(np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, bool), np.full(n, -1, np.int64), streams)
    for stream, members in groups.items():
        _score_stream(scan, stream, members, [bodies[i] for i in members], times, batch, scored)
    return scored


def _score_stream(
    scan: Scan,
    stream: str,
    members: list[int],
    bodies: list[bytes],
    times: NDArray[np.int64],
    batch: list[Line],
    scored: Scored,
) -> None:
    index = np.array(members)
    offsets = np.zeros(len(members) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, bodies), np.int64, len(bodies)), out=offsets[1:])
    before = scan.seen.get(stream, 0)

    def place(i: int) -> bytes:
        line = batch[members[i]]
        return f"{before + i}\n{line.number}\n{line.file}".encode()

    events = Events(
        np.frombuffer(b"".join(bodies), np.uint8), offsets, times[index], np.zeros(len(members), np.uint64), place
    )
    state, results, updates = score(scan.states.get(stream) or new_state(), events, None, scan.controls)
    scan.states[stream] = state
    scan.seen[stream] = before + len(members)
    scored.score[index] = results.score
    scored.surprisal[index] = results.surprisal
    scored.reported[index] = results.reported
    scored.episode[index] = results.episode
    if scan.traced:
        scan.traces.setdefault(stream, Trace()).add(results.score, results.surprisal, times[index], results.episode)
    for update in updates:
        number, line, file = update.reference.decode("utf-8", "replace").split("\n", 2)
        scan.findings[stream, int(number)] = Finding(stream, file, int(line), int(number), update)


def findings(scan: Scan, window: int | None) -> list[Finding]:
    """All findings by file and line; with a window, those that begin in the last `window` events of their stream."""
    kept = (f for f in scan.findings.values() if window is None or f.number >= scan.seen[f.stream] - window)
    return sorted(kept, key=lambda f: (f.file, f.line, f.stream))
