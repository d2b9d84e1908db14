"""`python -m tests.recording.check DIR`: which faults of a recording are found, and how many episodes are false.

An episode is judged by when it begins: within a fault of its stream (a second before its start, because times are those
of a follower, to MARGIN_S after its end) it finds that fault; elsewhere it is false. One that began earlier and is
still open tells nobody of a fault, so it does not count.
"""

import argparse
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from detectors.detector import BIT, Controls, EpisodeUpdate, Events, new_state, score
from pipeline.stack import recording
from pipeline.stack.recording import Line
from schemas.errors import DriftlockError
from tests.recording import labels
from tests.recording.labels import Fault, Labels

BEFORE_S = 1.0
MARGIN_S = 15.0
MISSED_AT_MOST = 1
FALSE_PER_10_000 = 2.0


@dataclass(frozen=True)
class Found:
    """An episode: its stream, seconds since 1970 of its first and last event, and what to print of it."""

    stream: str
    start: float
    end: float
    what: str = ""


@dataclass(frozen=True)
class Verdict:
    """For each fault the episodes that find it, the false episodes, and the lines of streams that no fault touched."""

    by_fault: tuple[tuple[Fault, tuple[Found, ...]], ...]
    false: tuple[Found, ...]
    quiet_lines: int

    @property
    def missed(self) -> tuple[str, ...]:
        """Names of the faults that nothing finds."""
        return tuple(fault.name for fault, episodes in self.by_fault if not episodes)

    @property
    def false_rate(self) -> float:
        """False episodes per 10,000 quiet lines."""
        return 10_000 * len(self.false) / max(1, self.quiet_lines)

    @property
    def passed(self) -> bool:
        """All faults but one are found, with at most two false episodes per 10,000 quiet lines."""
        return len(self.missed) <= MISSED_AT_MOST and self.false_rate <= FALSE_PER_10_000


def judge(said: Labels, lines: Iterable[Line], found: Sequence[Found]) -> Verdict:
    """Compare episodes with what was done. Times of `found` are the recording's (see `shifted`)."""
    by_stream: dict[str, list[float]] = {}
    for line in lines:
        by_stream.setdefault(line.stream, []).append(line.at)
    quiet = 0
    for stream, times in by_stream.items():
        busy = sum(
            bisect_right(times, fault.end + MARGIN_S) - bisect_left(times, fault.start)
            for fault in said.faults
            if stream in fault.streams
        )
        quiet += len(times) - busy
    by_fault = tuple((fault, tuple(e for e in found if _finds(e, fault))) for fault in said.faults)
    false = tuple(e for e in found if not any(_finds(e, fault) for fault in said.faults))
    return Verdict(by_fault, false, quiet)


def _finds(episode: Found, fault: Fault) -> bool:
    return episode.stream in fault.streams and fault.start - BEFORE_S <= episode.start <= fault.end + MARGIN_S


def shifted(found: Iterable[Found], seconds: float) -> list[Found]:
    """Episodes of a recording that was published again `seconds` later than it was recorded, in the recording's time."""
    return [Found(e.stream, e.start - seconds, e.end - seconds, e.what) for e in found]


def offline(lines: Iterable[Line], controls: Controls | None = None) -> list[Found]:
    """The episodes that the detector reports, each stream in its order, in the order of their starts."""
    by_stream: dict[str, list[Line]] = {}
    for line in lines:
        by_stream.setdefault(line.stream, []).append(line)
    found = [
        episode
        for stream, members in by_stream.items()
        for episode in _episodes(stream, members, controls or Controls())
    ]
    return sorted(found, key=lambda e: e.start)


def _episodes(stream: str, lines: Sequence[Line], controls: Controls) -> Iterable[Found]:
    n = len(lines)
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum([len(line.body) for line in lines], out=offsets[1:])
    events = Events(
        np.frombuffer(b"".join(line.body for line in lines), np.uint8),
        offsets,
        np.array([int(line.at * 1000) for line in lines], np.int64),
        np.zeros(n, np.uint64),
        lambda i: str(i).encode(),
    )
    newest: dict[bytes, EpisodeUpdate] = {}
    for update in score(new_state(), events, None, controls)[2]:
        newest[update.reference] = update
    return [Found(stream, u.started_at / 1000, u.last_at / 1000, _told(u)) for u in newest.values()]


def _told(update: EpisodeUpdate) -> str:
    calibrated = "" if update.calibrated else ", not calibrated"
    return (
        f"{update.kind}, {update.severity}, {update.count} events, p {2.0 ** (-update.surprisal / BIT):.2g}, "
        f"{update.score_bits / BIT:.1f} bits{calibrated}: {update.explanation.event[:110]!r}"
    )


def table(said: Labels, verdict: Verdict) -> str:
    """What was found, as lines to read."""
    start = min((fault.start for fault in said.faults), default=0.0)
    rows = [f"{'fault':18} {'after':>6} {'lasted':>6}  found by"]
    for fault, episodes in verdict.by_fault:
        first = (
            f"{episodes[0].stream} +{episodes[0].start - fault.start:.1f} s, {episodes[0].what}" if episodes else "-"
        )
        more = f" (and {len(episodes) - 1} more)" if len(episodes) > 1 else ""
        rows.append(f"{fault.name:18} {fault.start - start:5.0f}s {fault.end - fault.start:5.0f}s  {first}{more}")
    rows += [
        f"{'FALSE':18} {e.start - start:5.0f}s {e.end - e.start:5.0f}s  {e.stream}, {e.what}" for e in verdict.false
    ]
    found, all_of = len(said.faults) - len(verdict.missed), len(said.faults)
    rows.append(
        f"{found} of {all_of} faults found (mark: {all_of - MISSED_AT_MOST}); {len(verdict.false)} false episodes in "
        f"{verdict.quiet_lines:,} quiet lines, {verdict.false_rate:.2f} per 10,000 (mark: {FALSE_PER_10_000:g}): "
        + ("passed" if verdict.passed else "FAILED")
    )
    return "\n".join(rows)


def _read_found(path: Path) -> list[Found]:
    """JSON lines with stream, created_at and last_at (seconds since 1970), as the demo's anomalies."""
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    return [Found(r["stream"], r["created_at"], r["last_at"], str(r.get("what", ""))) for r in rows]


def main() -> int:
    """Print the table; 0 where the mark is met, 1 below it, 2 where there is no recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--found", type=Path, help="JSON lines of anomalies; without it the detector runs here")
    parser.add_argument("--verdict", action="store_true", help="print the verdict alone: for the recording held out")
    parser.add_argument("--shift", type=float, default=0.0, help="seconds by which --found is later than the recording")
    given = parser.parse_args()
    try:
        lines = list(recording.read(given.folder))
    except DriftlockError as error:
        sys.stderr.write(f"check: {error}\n")
        return error.exit_code
    found = shifted(_read_found(given.found), given.shift) if given.found else offline(lines)
    said = labels.read(given.folder)
    verdict = judge(said, lines, found)
    rows = table(said, verdict).splitlines()
    sys.stdout.write("\n".join(rows[-1:] if given.verdict else rows) + "\n")
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    sys.exit(main())
