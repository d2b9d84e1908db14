"""Every event once: what of a frame is new, by the ranges that each frame states.

A source partition is named (topic id, partition), so a topic made again under the same name is another source.
Frames of one `blocks` partition are admitted in the order of their offsets. Two packers may be at work on one source at
the same time (one was presumed dead and was not): their ranges then overlap, and what was already taken is left out.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from schemas.errors import GapInFrames
from schemas.frames import Frame, Place

Source = tuple[str, int]
"""A source partition: (topic id, partition)."""

Expected = Mapping[Source, Place]
"""The next place that was not yet taken, of each source partition seen so far."""


def admit(expected: Expected, frame: Frame) -> tuple[NDArray[np.bool_], dict[Source, Place]]:
    """Which events of a frame are new (a mask of shape (n,)), and what is expected after it.

    Below the expected place: left out. From it on: taken. A range that starts above it: `GapInFrames`, and nothing of the
    frame counts. A source not seen before is taken from where its range starts. `expected` is not changed.
    """
    after = dict(expected)
    behind: list[tuple[int, Place]] = []
    for source, r in enumerate(frame.ranges):
        key = (r.topic_id, r.partition)
        place = after.get(key)
        if place is not None:
            if r.start > place:
                raise GapInFrames(
                    f"events are missing: a frame starts at {r.start} of {r.topic}/{r.partition} (topic id {r.topic_id}), "
                    f"and {place} is the next expected place"
                )
            if r.start < place:
                behind.append((source, place))
                if r.stop <= place:
                    continue
        after[key] = r.stop
    mask = np.ones(len(frame), np.bool_)
    events = frame.events
    for source, (offset, index) in behind:
        mask &= (
            (events.source != source) | (events.offset > offset) | ((events.offset == offset) & (events.index >= index))
        )
    return mask, after
