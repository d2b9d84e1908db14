"""What a worker holds in memory of one partition of `blocks`."""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from detectors.detector import Controls, State, due, dump, load, missed, new_state, untold
from detectors.state import VERSION
from pipeline.places import Source
from pipeline.worker.clock import Clock
from pipeline.worker.deadlines import NEVER, Deadlines
from pipeline.worker.rules import Rules, asked_of, pruned
from pipeline.worker.saved import (
    Checkpoint,
    SavedPartition,
    SavedStream,
    decode_stream,
    encode_partition,
    encode_stream,
    partition_key,
    stream_key,
    version_of,
)
from pipeline.worker.seeds import seeding
from schemas.frames import Place

IDLE = 10
"""How many times longer a partition may go without a saving that has no events, or too few to be worth one."""

WORTH = 4
"""Events are worth a saving when they are this many times the bytes of the last one: under a third of the input is written."""

OTHER_STREAM = "other"
"""The stream that takes the events of an organization's streams over its limit."""

_LOG = structlog.get_logger(__name__)

Stored = Callable[[bytes], bytes | None]
"""Value of a key of the table, or nothing."""


@dataclass
class ResidentStream:
    """A stream's state as of the end of frame `position`; changed since its last saving where `dirty`."""

    state: State
    position: int = -1
    dirty: bool = False


@dataclass
class Partition:
    """Streams and progress of one partition: `position` is the last frame scored, `acked` the last one whose outputs are out.

    `clock` and `rules` are as of that frame, and `deadlines` of every stream, in memory or not. Frames before `lost` were lost and
    accepted as that: what a stream did not send up to there is no silence. `untold`: streams whose silence has begun and is not
    told; only theirs are told at another time when the rules change.
    """

    number: int
    topic_id: str
    expected: dict[Source, Place] = field(default_factory=dict)
    position: int = -1
    acked: int = -1
    streams: dict[str, ResidentStream] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    checkpoints: tuple[Checkpoint, ...] = ()
    bytes_since_checkpoint: int = 0
    bytes_of_last_saving: int = 0
    checkpoint_at: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    overflowing: set[str] = field(default_factory=set)
    clock: Clock = field(default_factory=Clock)
    deadlines: Deadlines = field(default_factory=Deadlines)
    lost: int = -1
    rules: Rules = field(default_factory=dict)
    untold: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for key in self.positions:
            self._count(key)

    def admitted(self, organization_id: str, stream: str, most: int) -> str:
        """The stream as it is scored: itself, or `other` where it is new and the organization has `most` here already.

        A stream that was admitted once stays so: what is known of it is saved with the partition, so scoring the same
        frames again after a crash decides alike.
        """
        key = stream_key(organization_id, stream)
        if self.knows(key) or self.counts.get(organization_id, 0) < most:
            return stream
        self.overflowing.add(organization_id)
        return OTHER_STREAM

    def _count(self, key: str) -> None:
        organization_id = key.partition("/")[0]
        self.counts[organization_id] = self.counts.get(organization_id, 0) + 1

    def stream(self, key: str, stored: Stored) -> ResidentStream:
        """The stream's state: from memory, else as saved, else new."""
        resident = self.streams.get(key)
        if resident is None:
            value = stored(key.encode())
            if key not in self.positions:
                self._count(key)
            if value is None:
                resident = ResidentStream(new_state())
            else:
                saved = decode_stream(value)
                # Positions count frames of one topic: after an accepted new topic the state goes on from its beginning.
                position = saved.position if saved.topic_id == self.topic_id else -1
                resident = ResidentStream(self._loaded(key, saved.dump), position)
                if position < self.lost:
                    missed(resident.state)
                # The record may be older than the state, where a saving was cut off.
                self.note(key, resident.state)
        else:
            del self.streams[key]
        self.streams[key] = resident  # the last used stands last
        return resident

    def _loaded(self, key: str, saved: bytes) -> State:
        """A saved state; of another release, whose arrays are others, nothing can be used: the stream learns anew, and is billed nothing
        until it has. So a release may come or go back at any time; `StateError` only for bytes that are damaged."""
        version = version_of(saved)
        if version in (None, VERSION):
            return load(saved)
        organization_id = key.partition("/")[0]
        _LOG.warning(
            "a state of another release: the stream learns anew", organization_id=organization_id, version=version
        )
        return new_state()

    def note(self, key: str, state: State) -> None:
        """When time alone changes something of a stream, after its state has changed: a silence waits for the end of a mute too."""
        # Events of the past are followed by nothing until the first of the present.
        at = NEVER if seeding(state) else due(state)
        if untold(state):
            self.untold.add(key)
            organization_id, _, stream = key.partition("/")
            asked = asked_of(self.rules, organization_id, stream, Controls())
            at = min(at, asked.mute_ends(self.clock.now))
        else:
            self.untold.discard(key)
        self.deadlines.set(key, at)

    def knows(self, key: str) -> bool:
        """Whether the stream has a state, in memory or saved."""
        return key in self.streams or key in self.positions

    def evict(self, kept: int) -> None:
        """Drop the least used streams down to `kept`: saved ones only, which come back from the table when they are used."""
        for key in list(self.streams)[: max(0, len(self.streams) - kept)]:
            if not self.streams[key].dirty:
                del self.streams[key]

    def due(self, now: float, max_bytes: int, max_seconds: float) -> bool:
        """Whether the states should be saved after this frame; `now` is any clock in seconds that never goes back."""
        if self.bytes_since_checkpoint == 0:
            # Only ticks came. Without a saving, retention would some day remove the frame at which a reader must start.
            return now - self.checkpoint_at >= IDLE * max_seconds
        waited = now - self.checkpoint_at
        if self.bytes_since_checkpoint >= max_bytes or waited >= IDLE * max_seconds:
            return True
        # So that slow streams do not write more states than they have events: what is read again stays small all the same.
        return waited >= max_seconds and self.bytes_since_checkpoint >= WORTH * self.bytes_of_last_saving

    def changed(self) -> list[tuple[str, bytes]]:
        """(key, value) of every stream that changed since it was saved."""
        return [
            (key, encode_stream(SavedStream(self.topic_id, resident.position, dump(resident.state))))
            for key, resident in self.streams.items()
            if resident.dirty
        ]

    def checkpoint(self, now: float, size: int) -> tuple[bytes, bytes]:
        """(key, value) of the partition's record, to be written after the streams that changed (`size` bytes); they count as saved."""
        for key, resident in self.streams.items():
            # Also of one that did not change: it was loaded from the table, saved there by a saving that a crash cut off.
            self.positions[key] = resident.position
            resident.dirty = False
        self.checkpoints = (*self.checkpoints[-8:], Checkpoint(self.position + 1, dict(self.expected), self.clock))
        self.rules = pruned(self.rules, self.checkpoints[0].low_water)
        self.bytes_since_checkpoint, self.bytes_of_last_saving, self.checkpoint_at = 0, size, now
        saved = SavedPartition(
            self.topic_id,
            self.acked,
            self.checkpoints[-1],
            self.checkpoints[:-1],
            self.positions,
            self.deadlines.at,
            self.lost,
            self.rules,
            sorted(self.untold),
        )
        return partition_key(self.number), encode_partition(saved)
