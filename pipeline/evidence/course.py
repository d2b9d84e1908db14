"""One stream's course through the frames of its partition: what each frame brings it, and the detector's answer.

Events are admitted, and time goes on, by the rules of the workers (`places.admit`, `clock.advance`), so that what comes out is
theirs byte for byte; nothing but this stream is scored.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from detectors.detector import Controls, EpisodeUpdate, Events, Results, State, Ticks, due, score
from pipeline.places import Source, admit
from pipeline.replay.shadow import Numbered
from pipeline.worker.clock import Clock, advance
from pipeline.worker.scoring import NO_EVENTS, Reference, event_id, id_hash
from schemas.frames import Block, Frame, Place

_LONGEST_TRACE = 128


@dataclass(frozen=True)
class Event:
    """An event as the detector gets it. `index` is its place in the frame, `name` its producer's id or b""."""

    index: int
    id: UUID
    received_at: int
    name: bytes
    body: bytes
    trace: str | None


@dataclass(frozen=True)
class Step:
    """What frame `frame` brings a stream: its events, then time, which goes on to `through` (ms)."""

    frame: int
    events: tuple[Event, ...]
    through: int


@dataclass(frozen=True)
class Played:
    """The detector's answer to a step: `results` of its events (None without), and what was told."""

    results: Results | None
    updates: list[EpisodeUpdate]


def steps(frames: Iterable[Numbered], organization_id: str, stream: str) -> Iterator[Step]:
    """What each frame of one partition brings a stream. The frames before are needed too: by them it is known what came before."""
    expected: dict[Source, Place] = {}
    clock = Clock()
    for numbered in frames:
        mask, expected = admit(expected, numbered.frame)
        clock = advance(clock, numbered.frame.ranges)
        mine = [b for b in numbered.frame.blocks if (b.organization_id, b.stream) == (organization_id, stream)]
        chosen = [(block, i) for block in mine for i in range(block.start, block.stop) if mask[i]]
        yield Step(numbered.offset, tuple(_events(numbered.frame, chosen)) if chosen else (), clock.now)


def _events(frame: Frame, chosen: list[tuple[Block, int]]) -> Iterator[Event]:
    columns = frame.events
    ends = np.cumsum(columns.body_length, dtype=np.int64)
    id_ends = np.cumsum(columns.id_length, dtype=np.int64)
    for block, i in chosen:
        trace = frame.traces.get((int(columns.source[i]), int(columns.offset[i])))
        yield Event(
            i,
            event_id(frame, block, i, id_ends),
            int(columns.received_at[i]),
            columns.ids[int(id_ends[i]) - int(columns.id_length[i]) : int(id_ends[i])],
            columns.body[int(ends[i]) - int(columns.body_length[i]) : int(ends[i])],
            None if trace is not None and len(trace) > _LONGEST_TRACE else trace,
        )


def matters(state: State, step: Step) -> bool:
    """Whether a step changes the stream's state."""
    return bool(step.events) or due(state) < step.through


def play(state: State, step: Step, controls: Controls) -> Played:
    """Score a step as a worker does: its events, then time where a deadline has passed. The state is updated in place."""
    results: Results | None = None
    updates: list[EpisodeUpdate] = []
    if step.events:
        _, results, updates = score(state, _columns(step), None, controls)
    if due(state) < step.through:
        _, _, found = score(state, NO_EVENTS, Ticks(step.through), controls)
        updates = updates + found
    return Played(results, updates)


def _columns(step: Step) -> Events:
    bodies = [event.body for event in step.events]
    offsets = np.zeros(len(bodies) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, bodies), np.int64, len(bodies)), out=offsets[1:])

    def reference(i: int) -> bytes:
        event = step.events[i]
        return Reference(event.id, step.frame, event.index, event.trace).to_bytes()

    return Events(
        np.frombuffer(b"".join(bodies), np.uint8),
        offsets,
        np.array([event.received_at for event in step.events], np.int64),
        np.array([id_hash(event.name) if event.name else 0 for event in step.events], np.uint64),
        reference,
    )
