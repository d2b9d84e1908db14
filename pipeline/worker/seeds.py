"""Events of the past, from the topic `seeds`: a stream learns them before its first own event, and nobody is told.

The frame's ranges name the topic of each event, so nothing else marks one; and the reference of a stream's last event, which its
state keeps, says whether that was one. So a restart and a rescoring decide alike.
"""

import numpy as np
from numpy.typing import NDArray

from detectors.detector import Controls, State
from pipeline.worker.reference import Reference
from schemas.frames import Frame
from schemas.topics import SEEDS

REFUSED = "an event of the past, of a stream that has events of its own: delete the stream first"


def seeded(frame: Frame) -> NDArray[np.bool_]:
    """bool[n]: which of a frame's events are of the past."""
    past = np.array([r.topic == SEEDS.name for r in frame.ranges], np.bool_)
    mask: NDArray[np.bool_] = past[frame.events.source] if len(frame) else np.zeros(0, np.bool_)
    return mask


def seeding(state: State) -> bool:
    """Whether the stream's last event was one of the past: it has no present yet, and what is missing is no silence."""
    return bool(state.last_event) and Reference.from_bytes(state.last_event).seeded


def welcome(state: State) -> bool:
    """Whether a stream takes events of the past: it has none of its own."""
    return not state.last_event or seeding(state)


def untold(controls: Controls) -> Controls:
    """The controls of events of the past: a level that nothing reaches."""
    return Controls(controls.sensitivity, 0)


def newest(frame: Frame, chosen: NDArray[np.int64], past: NDArray[np.bool_]) -> int:
    """When the newest of some events came, in ms: those of the past when their record was read, not when they were."""
    times = frame.events.received_at[chosen]
    mine = past[chosen]
    if not mine.any():
        return int(times.max())
    read = np.array([r.through for r in frame.ranges], np.int64)[frame.events.source[chosen]]
    return int(np.where(mine, read, times).max())
