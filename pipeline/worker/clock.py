"""Detector time of a partition: how far all source partitions have been read, as the frames' ranges say. It never goes back.

A packer that stands still or lags holds it up, so a silence is only ever what was read and is not there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.frames import Range

GONE_MS = 3_600_000
"""A source that no frame has named for so long is gone (its topic was removed); a group gives a dead packer's sources to another
within a minute."""
STEP_MS = 10_000
"""Longest time between two frames that counts for that: while no packer runs nothing is gone."""


@dataclass(frozen=True)
class Clock:
    """Detector time `now` in ms; what it rests on: the newest `through`, the time packers were at work, and of each source (topic,
    partition) its `through` and at which of that time it was named last."""

    now: int = 0
    newest: int = 0
    awake: int = 0
    sources: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)


def advance(clock: Clock, ranges: Iterable[Range]) -> Clock:
    """The clock after a frame with these ranges. A topic made again takes the place of the one before."""
    ranges = tuple(ranges)
    if not ranges:
        return clock
    newest = max(clock.newest, *(r.through for r in ranges))
    awake = clock.awake + (min(newest - clock.newest, STEP_MS) if clock.newest else 0)
    sources = {name: seen for name, seen in clock.sources.items() if awake - seen[1] <= GONE_MS}
    sources |= {(r.topic, r.partition): (r.through, awake) for r in ranges}
    return Clock(max(clock.now, min(through for through, _ in sources.values())), newest, awake, sources)
