"""A frame scored: what tenants said taken first, each event admitted once, each block given to its stream's detector, then time to the streams that are due."""

import hashlib
from dataclasses import dataclass, field, replace
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray

from detectors.detector import Controls, EpisodeUpdate, Events, Ticks, due, parted, score
from detectors.standing import Standing, moment, standing
from pipeline.places import admit
from pipeline.worker.clock import advance
from pipeline.worker.partition import Partition, ResidentStream, Stored
from pipeline.worker.reference import referred
from pipeline.worker.rules import Asked, asked_of, portions, said_in, take
from pipeline.worker.saved import stream_key
from pipeline.worker.seeds import REFUSED, newest, seeded, seeding, welcome
from schemas.controls import SettingsControl
from schemas.frames import Block, Frame
from schemas.identity import named_event_bytes, placed_event_bytes

log = structlog.get_logger(__name__)
_LONGEST_TRACE = 128
NO_EVENTS = Events(
    np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint64), lambda _: b""
)


@dataclass
class Tally:
    """What a frame held of one organization. `skipped`: events of paused streams. `seeded`: events of the past. `streams`: how those stand that have something new."""

    scored: int = 0
    duplicates: int = 0
    skipped: int = 0
    seeded: int = 0
    first_event: int = 0
    occurred_at: int = 0
    opened: dict[int, int] = field(default_factory=dict)
    streams: dict[str, Standing] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """A block that could not be scored, and why; its events are dead letters."""

    block: Block
    events: NDArray[np.int64]
    reason: str


@dataclass(frozen=True)
class _Bodies:
    """Where the bodies of a frame's n events lie in `body` (uint8): `starts`, `ends` (int64[n]); where their ids end in `ids`."""

    body: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    id_ends: NDArray[np.int64]


def _bodies(frame: Frame) -> _Bodies:
    ends = np.cumsum(frame.events.body_length, dtype=np.int64)
    body = np.frombuffer(frame.events.body, np.uint8)
    id_ends = np.cumsum(frame.events.id_length, dtype=np.int64)
    return _Bodies(body, ends - frame.events.body_length, ends, id_ends)


@dataclass(frozen=True)
class Scored:
    """What scoring a frame gave. `whole` is false where a stream was already ahead of this frame: its outputs are out.

    `overflowed`: the organizations that came over their limit of streams with it. `obeyed`: control messages that were new.
    """

    updates: list[tuple[Block, EpisodeUpdate]]
    tallies: dict[str, Tally]
    failed: list[Failed]
    whole: bool
    overflowed: set[str]
    obeyed: int


def score_frame(
    partition: Partition, number: int, frame: Frame, size: int, stored: Stored, controls: Controls, most_streams: int
) -> Scored:
    """Score frame `number` (its offset, `size` bytes of events and all); raises `GapInFrames` before anything has changed.

    `controls` hold where the organization said nothing; what the frame says holds from its first event on. Streams of an organization over `most_streams` in this partition are scored as one, `other`, in the order of the frame.
    """
    mask, expected = admit(partition.expected, frame)
    bodies = _bodies(frame)
    past = seeded(frame)
    everything = bool(mask.all())
    updates: list[tuple[Block, EpisodeUpdate]] = []
    tallies: dict[str, Tally] = {}
    failed: list[Failed] = []
    whole = True
    overflowing = set(partition.overflowing)
    obeyed, ahead = _obey(partition, number, frame, stored)
    every = np.arange(len(frame), dtype=np.int64)
    for block in frame.blocks:
        chosen = every[block.start : block.stop]
        if not everything:
            chosen = chosen[mask[block.start : block.stop]]
        if not len(chosen):
            continue
        occurred_at = newest(frame, chosen, past)
        tally = tallies.get(block.organization_id) or Tally(first_event=int(chosen[0]))
        asked = asked_of(partition.rules, block.organization_id, block.stream, controls)
        if not asked.paused:
            stream = partition.admitted(block.organization_id, block.stream, most_streams)
            if stream != block.stream:
                asked = asked_of(partition.rules, block.organization_id, stream, controls)
        if asked.paused:
            tallies[block.organization_id] = tally
            tally.occurred_at = max(tally.occurred_at, occurred_at)
            tally.skipped += len(chosen)
            continue
        key = stream_key(block.organization_id, stream)
        resident = partition.stream(key, stored)
        # Asked once a frame: `other` has several blocks in one.
        if ahead.setdefault(key, resident.position >= number):
            whole = False
            continue
        tallies[block.organization_id] = tally
        tally.occurred_at = max(tally.occurred_at, occurred_at)
        known = moment(resident.state)
        found, lost = _score_block(resident, asked, number, frame, bodies, past, block, chosen, tally)
        updates += [(replace(block, stream=stream), update) for update in found]
        failed += lost
        tally.streams |= {} if moment(resident.state) == known else {stream: standing(resident.state)}
        partition.note(key, resident.state)
        resident.position, resident.dirty = number, True
    for key, passed in ahead.items():
        if not passed:  # also those that only a control message changed
            partition.streams[key].position = number
    partition.clock = advance(partition.clock, frame.ranges)
    updates += _silences(partition, number, stored, controls)
    partition.expected, partition.position = expected, number
    partition.bytes_since_checkpoint += size
    return Scored(updates, tallies, failed, whole, partition.overflowing - overflowing, obeyed)


def _score_block(
    resident: ResidentStream,
    asked: Asked,
    number: int,
    frame: Frame,
    bodies: _Bodies,
    past: NDArray[np.bool_],
    block: Block,
    chosen: NDArray[np.int64],
    tally: Tally,
) -> tuple[list[EpisodeUpdate], list[Failed]]:
    """Score a block's events and count them; what is told of them, and which of them could not be scored."""
    updates: list[EpisodeUpdate] = []
    failed: list[Failed] = []
    for portion, wanted, before in portions(asked, chosen, frame.events.received_at[chosen], past[chosen]):
        if before and not welcome(resident.state):
            failed.append(Failed(block, portion, REFUSED))
            continue
        if not before and seeding(resident.state):
            parted(resident.state, int(frame.events.received_at[portion[0]]))
        events = _events(frame, number, block, portion, bodies, before=before)
        try:
            resident.state, results, found = score(resident.state, events, None, wanted)
        except Exception as error:  # no exception leaves an agent: what can't be scored is kept as dead letters
            log.exception("block not scored", organization_id=block.organization_id, events=len(portion))
            failed.append(Failed(block, portion, f"could not be scored: {type(error).__name__}: {error}"))
        else:
            duplicates = int(results.duplicate.sum())
            tally.duplicates += duplicates
            if before:
                tally.seeded += len(portion) - duplicates
                continue
            tally.scored += len(portion) - duplicates
            for bits, count in results.opened.items():
                tally.opened[bits] = tally.opened.get(bits, 0) + count
            updates += found
    return updates, failed


def _obey(partition: Partition, number: int, frame: Frame, stored: Stored) -> tuple[int, dict[str, bool]]:
    """Take what the frame's control messages say: how many were new, and which streams they changed (true: it had been before)."""
    obeyed = 0
    changed: dict[str, bool] = {}
    for said in said_in(frame, partition.expected):
        partition.rules, new, change = take(partition.rules, number, said)
        if not new:
            continue
        obeyed += 1
        # A silence that waits for the organization's level is looked at again with this frame's time.
        own = None if isinstance(said, SettingsControl) else stream_key(str(said.organization_id), said.stream)
        for key in partition.untold:
            if key == own or (own is None and key.startswith(f"{said.organization_id}/")):
                partition.deadlines.set(key, 0)
        if own is None or change is None or not partition.knows(own):
            continue
        resident = partition.stream(own, stored)
        if changed.setdefault(own, resident.position >= number):
            continue
        resident.state = change(resident.state)
        resident.dirty = True
        partition.note(own, resident.state)
    return obeyed, changed


def _silences(
    partition: Partition, number: int, stored: Stored, controls: Controls
) -> list[tuple[Block, EpisodeUpdate]]:
    """What time alone has changed as of this frame: only streams whose deadline has passed are looked at.

    A saved state may be ahead of this frame: then it has a later deadline, or is passed over.
    """
    updates: list[tuple[Block, EpisodeUpdate]] = []
    ticks = Ticks(partition.clock.now)
    for key in partition.deadlines.due(ticks.through):
        resident = partition.stream(key, stored)
        organization_id, _, stream = key.partition("/")
        if resident.position < number or due(resident.state) < ticks.through:
            asked = asked_of(partition.rules, organization_id, stream, controls)
            if asked.paused or seeding(resident.state):
                continue
            try:
                resident.state, _, found = score(resident.state, NO_EVENTS, ticks, asked.at(ticks.through))
            except Exception:  # no exception leaves an agent; the stream is looked at again with its next event
                log.exception("tick not scored", organization_id=organization_id)
                continue
            updates += [(Block(organization_id, stream, 0, 0), update) for update in found]
            resident.position, resident.dirty = max(resident.position, number), True
        partition.note(key, resident.state)
    return updates


def event_id(frame: Frame, block: Block, i: int, id_ends: NDArray[np.int64]) -> UUID:
    """Id of event `i` of a frame: of the producer's own id where it gave one, else of its place."""
    return UUID(bytes=_event_bytes(frame, block, i, id_ends))


def _event_bytes(frame: Frame, block: Block, i: int, id_ends: NDArray[np.int64]) -> bytes:
    """Its bytes. Each block asks for one, that of its last event: with one or two events a block it counts."""
    events = frame.events
    if length := int(events.id_length[i]):
        end = int(id_ends[i])
        return named_event_bytes(block.organization_id, block.stream, events.ids[end - length : end].decode())
    source = frame.ranges[events.source[i]]
    return placed_event_bytes(source.topic_id, source.partition, int(events.offset[i]), int(events.index[i]))


def _events(
    frame: Frame,
    number: int,
    block: Block,
    chosen: NDArray[np.int64],
    bodies: _Bodies,
    *,
    before: bool,
) -> Events:
    body, starts, ends, id_ends = bodies.body, bodies.starts, bodies.ends, bodies.id_ends
    first, last = int(chosen[0]), int(chosen[-1])
    offsets = np.empty(len(chosen) + 1, np.int64)
    if last - first + 1 == len(chosen):
        said = body[starts[first] : ends[last]]
        offsets[:-1] = starts[first : last + 1] - starts[first]
        offsets[-1] = len(said)
    else:
        said = np.concatenate([body[starts[i] : ends[i]] for i in chosen])
        offsets[0] = 0
        np.cumsum(ends[chosen] - starts[chosen], out=offsets[1:])

    def reference(i: int) -> bytes:
        at = int(chosen[i])
        trace = frame.traces.get((int(frame.events.source[at]), int(frame.events.offset[at])))
        if trace is not None and len(trace) > _LONGEST_TRACE:
            trace = None  # no trace context: the producer's own text, which no reference has room for
        return referred(_event_bytes(frame, block, at, id_ends), number, at, trace, seeded=before)

    return Events(
        body=said,
        offsets=offsets,
        received_at=frame.events.received_at[chosen],
        id_hash=_id_hashes(frame, chosen, id_ends),
        reference=reference,
    )


def _id_hashes(frame: Frame, chosen: NDArray[np.int64], id_ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    hashes = np.zeros(len(chosen), np.uint64)
    if not frame.events.ids:
        return hashes
    lengths = frame.events.id_length[chosen]
    for k in np.nonzero(lengths)[0]:
        end = int(id_ends[chosen[k]])
        name = frame.events.ids[end - int(lengths[k]) : end]
        hashes[k] = id_hash(name)
    return hashes


def id_hash(name: bytes) -> int:
    """What the detector's ring knows of a producer's id; 0 is for none."""
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") or 1
