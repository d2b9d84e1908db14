"""One stream's course through the frames of its partition: what each frame brings it, what was asked of it then, and the detector's answer.

Events are admitted, time goes on and control messages are taken by the rules of the workers (`places.admit`, `clock.advance`,
`rules.take`), so that what comes out is theirs byte for byte; nothing but this stream is scored.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import numpy as np

from detectors import layout
from detectors.detector import (
    Controls,
    EpisodeUpdate,
    Events,
    Results,
    State,
    Ticks,
    due,
    new_state,
    parted,
    score,
    untold,
)
from pipeline.places import Source, admit
from pipeline.replay.shadow import Numbered
from pipeline.worker.clock import Clock, advance
from pipeline.worker.reference import Reference
from pipeline.worker.rules import Asked, Rules, asked_of, change_of, portions, said_in, take
from pipeline.worker.scoring import NO_EVENTS, event_id, id_hash
from pipeline.worker.seeds import seeded, seeding, welcome
from schemas.controls import Control, SettingsControl
from schemas.frames import Block, Frame, Place

_LONGEST_TRACE = 128
_NOTHING_SAID: Rules = {}


@dataclass(frozen=True)
class Event:
    """An event as the detector gets it. `index` is its place in the frame, `name` its producer's id or b""; `seeded`: one of the past."""

    index: int
    id: UUID
    received_at: int
    name: bytes
    body: bytes
    trace: str | None
    seeded: bool = False


@dataclass(frozen=True)
class Step:
    """What frame `frame` brings a stream: control messages, its events, then time, which goes on to `through` (ms).

    `asked` is in force from its first event on, `changes` are the control messages that change the stream's state before that.
    `renewed`: a silence that waits for its level is looked at again, because something was said or a mute has ended.
    """

    frame: int
    events: tuple[Event, ...]
    through: int
    asked: Asked
    changes: tuple[Control, ...] = ()
    renewed: bool = False


@dataclass
class Played:
    """A stream as it is played. `known`: it was scored before; what is said of a stream that never was changes nothing."""

    state: State = field(default_factory=new_state)
    known: bool = False


@dataclass(frozen=True)
class Answer:
    """The detector's answer to a step: `results` of its events (None where none was scored), and what was told.

    The `index` of what was told is a row of `results`, or -1. `refused`: rows of events of the past that the stream did not take.
    """

    results: Results | None
    updates: list[EpisodeUpdate]
    refused: frozenset[int] = frozenset()


def steps(
    frames: Iterable[Numbered], organization_id: str, stream: str, controls: Controls, rules: Rules = _NOTHING_SAID
) -> Iterator[Step]:
    """What each frame of one partition brings a stream. The frames before are needed too: by them it is known what came before.

    `controls` hold where the organization said nothing; `rules` were in force before the first frame.
    """
    expected: dict[Source, Place] = {}
    clock = Clock()
    for numbered in frames:
        frame, since = numbered.frame, clock.now
        changes: list[Control] = []
        renewed = False
        for said in said_in(frame, expected):
            if not _of(said, organization_id, stream):
                continue
            rules, new, change = take(rules, numbered.offset, said)
            renewed = renewed or new
            if change is not None:
                changes.append(said)
        mask, expected = admit(expected, frame)
        clock = advance(clock, frame.ranges)
        asked = asked_of(rules, organization_id, stream, controls)
        mine = [b for b in frame.blocks if (b.organization_id, b.stream) == (organization_id, stream)]
        chosen = [(block, i) for block in mine for i in range(block.start, block.stop) if mask[i]]
        events = tuple(_events(frame, chosen)) if chosen else ()
        renewed = renewed or asked.mute_ends(since) < clock.now
        yield Step(numbered.offset, events, clock.now, asked, tuple(changes), renewed)


def _of(said: Control, organization_id: str, stream: str) -> bool:
    """Whether a message is of a stream, or of all streams of its organization."""
    return str(said.organization_id) == organization_id and (isinstance(said, SettingsControl) or said.stream == stream)


def _events(frame: Frame, chosen: list[tuple[Block, int]]) -> Iterator[Event]:
    columns = frame.events
    ends = np.cumsum(columns.body_length, dtype=np.int64)
    id_ends = np.cumsum(columns.id_length, dtype=np.int64)
    past = seeded(frame)
    for block, i in chosen:
        trace = frame.traces.get((int(columns.source[i]), int(columns.offset[i])))
        yield Event(
            i,
            event_id(frame, block, i, id_ends),
            int(columns.received_at[i]),
            columns.ids[int(id_ends[i]) - int(columns.id_length[i]) : int(id_ends[i])],
            columns.body[int(ends[i]) - int(columns.body_length[i]) : int(ends[i])],
            None if trace is not None and len(trace) > _LONGEST_TRACE else trace,
            bool(past[i]),
        )


def matters(stream: Played, step: Step) -> bool:
    """Whether a step changes the stream's state."""
    return (stream.known and bool(step.changes)) or _scored(step) or _ticked(stream, step, touched=False)


def play(stream: Played, step: Step) -> Answer:
    """Do with a step as a worker does: what was said, its events, then time where a deadline has passed. `stream` goes on."""
    touched = stream.known and bool(step.changes)
    if touched:
        for said in step.changes:
            change = change_of(said, None)
            stream.state = stream.state if change is None else change(stream.state)
    scored: list[Results] = []
    updates: list[EpisodeUpdate] = []
    refused: set[int] = set()
    if _scored(step):
        stream.known = touched = True
        times = np.array([event.received_at for event in step.events], np.int64)
        past = np.array([event.seeded for event in step.events], np.bool_)
        for portion, wanted, before in portions(step.asked, np.arange(len(times)), times, past):
            if before and not welcome(stream.state):
                scored.append(_no_results(len(portion)))
                refused.update(portion.tolist())
                continue
            if not before and seeding(stream.state):
                parted(stream.state, int(times[portion[0]]))
            events = _columns(step.frame, [step.events[i] for i in portion])
            stream.state, results, found = score(stream.state, events, None, wanted)
            scored.append(results)
            first = int(portion[0])
            updates += [u if u.index < 0 else replace(u, index=first + u.index) for u in found]
    if _ticked(stream, step, touched=touched):
        stream.state, _, found = score(stream.state, NO_EVENTS, Ticks(step.through), step.asked.at(step.through))
        updates += found
    return Answer(_joined(scored), updates, frozenset(refused))


def _scored(step: Step) -> bool:
    return bool(step.events) and not step.asked.paused


def _ticked(stream: Played, step: Step, *, touched: bool) -> bool:
    """Whether time is told to the detector: a deadline has passed, or a silence waits in a frame that has brought nothing else."""
    if step.asked.paused or seeding(stream.state):
        return False
    return due(stream.state) < step.through or (step.renewed and not touched and untold(stream.state))


def _no_results(n: int) -> Results:
    """Rows of events that were not scored."""
    rows = np.zeros((n, layout.COLUMNS), np.int64)
    rows[:, [layout.R_EPISODE, layout.R_OPENED, layout.R_SILENCE]] = -1
    return Results(rows, {})


def _joined(scored: list[Results]) -> Results | None:
    if len(scored) <= 1:
        return scored[0] if scored else None
    opened: Counter[int] = Counter()
    for results in scored:
        opened.update(results.opened)
    return Results(np.concatenate([results.rows for results in scored]), dict(opened))


def _columns(frame: int, events: Sequence[Event]) -> Events:
    bodies = [event.body for event in events]
    offsets = np.zeros(len(bodies) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, bodies), np.int64, len(bodies)), out=offsets[1:])

    def reference(i: int) -> bytes:
        event = events[i]
        return Reference(event.id, frame, event.index, event.trace, event.seeded).to_bytes()

    return Events(
        np.frombuffer(b"".join(bodies), np.uint8),
        offsets,
        np.array([event.received_at for event in events], np.int64),
        np.array([id_hash(event.name) if event.name else 0 for event in events], np.uint64),
        reference,
    )
