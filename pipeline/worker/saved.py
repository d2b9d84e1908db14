"""What the worker keeps in its Faust table: a value for each stream, and one for each partition of `blocks`.

A stream's value: magic, topic id, the frame up to which the state is true, the detector's dump.
A partition's value (key `partition/<n>`): where a reader must start again, what it expects there, and the position of each
saved stream, by which a stale value (written late by a worker that had lost the partition) is recognised.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import orjson
import zstandard

from detectors.state import MAGIC
from pipeline.places import Source
from pipeline.worker.clock import Clock
from pipeline.worker.rules import Rules, from_plain, plain
from schemas.errors import DriftlockError
from schemas.frames import Place

_MAGIC = b"DLS\x01"
_HISTORY = 8


class SavedStateError(DriftlockError):
    """A saved state can't be read: it was written by another version."""


@dataclass(frozen=True)
class SavedStream:
    """A stream's state (a dump of the detector's) as of the end of frame `position` of the topic with `topic_id`."""

    topic_id: str
    position: int
    dump: bytes


@dataclass(frozen=True)
class Checkpoint:
    """Reading may start at frame `low_water`, where `expected` are the next places of the sources, and `clock` is the time."""

    low_water: int
    expected: dict[Source, Place]
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True)
class SavedPartition:
    """A partition's record. Outputs of frames up to `acked` are with Kafka; `positions` and `deadlines` (ms) are by stream key.

    Frames before `lost` are lost and accepted as that. `rules` reach back to the oldest checkpoint; `untold` are stream keys.
    """

    topic_id: str
    acked: int
    checkpoint: Checkpoint
    earlier: tuple[Checkpoint, ...] = ()
    positions: dict[str, int] = field(default_factory=dict)
    deadlines: dict[str, int] = field(default_factory=dict)
    lost: int = -1
    rules: Rules = field(default_factory=dict)
    untold: list[str] = field(default_factory=list)

    @property
    def oldest(self) -> Checkpoint:
        """The checkpoint that reaches back farthest."""
        return min((*self.earlier, self.checkpoint), key=lambda c: c.low_water)

    def start_for(self, frame: int) -> Checkpoint | None:
        """The latest checkpoint from which `frame` is read, if one is still listed."""
        fitting = [c for c in (*self.earlier, self.checkpoint) if c.low_water <= frame]
        return max(fitting, key=lambda c: c.low_water, default=None)


def partition_key(number: int) -> bytes:
    """Key of a partition's record; no stream's key starts so, because those start with a UUID."""
    return b"partition/%d" % number


def stream_key(organization_id: str, stream: str) -> str:
    """Key of a stream's value."""
    return f"{organization_id}/{stream}"


def encode_stream(saved: SavedStream) -> bytes:
    """The bytes of a stream's value."""
    topic_id = saved.topic_id.encode()
    return _MAGIC + struct.pack("<Bq", len(topic_id), saved.position) + topic_id + saved.dump


def decode_stream(data: bytes) -> SavedStream:
    """The stream's value of some bytes; `SavedStateError` where they are none."""
    if data[:4] != _MAGIC:
        raise SavedStateError(
            "a saved stream state is not of this version: drain and save with the release that wrote it"
        )
    length, position = struct.unpack_from("<Bq", data, 4)
    at = 4 + struct.calcsize("<Bq")
    return SavedStream(data[at : at + length].decode(), position, data[at + length :])


def version_of(dump: bytes) -> int | None:
    """The version that a detector's dump names; None where it is none."""
    return dump[3] if len(dump) > 3 and dump[:3] == MAGIC else None


def encode_partition(saved: SavedPartition) -> bytes:
    """The bytes of a partition's record."""
    value = {
        "v": 3,
        "topic_id": saved.topic_id,
        "acked": saved.acked,
        "checkpoints": [_plain(c) for c in (*saved.earlier[-_HISTORY:], saved.checkpoint)],
        "positions": saved.positions,
        "deadlines": saved.deadlines,
        "lost": saved.lost,
        "rules": plain(saved.rules),
        "untold": saved.untold,
    }
    return zstandard.ZstdCompressor(level=3).compress(orjson.dumps(value))


def decode_partition(data: bytes) -> SavedPartition:
    """The partition's record of some bytes; `SavedStateError` where they are none."""
    try:
        value = orjson.loads(zstandard.ZstdDecompressor().decompress(data))
        checkpoints = [
            Checkpoint(
                low_water,
                {(topic_id, partition): (offset, index) for topic_id, partition, offset, index in expected},
                Clock(now, newest, awake, {(topic, part): (through, heard) for topic, part, through, heard in sources}),
            )
            for low_water, expected, (now, newest, awake, sources) in map(_with_clock, value["checkpoints"])
        ]
        return SavedPartition(
            value["topic_id"],
            value["acked"],
            checkpoints[-1],
            tuple(checkpoints[:-1]),
            value["positions"],
            value.get("deadlines", {}),  # a record of version 1 has neither
            value.get("lost", -1),
            from_plain(value.get("rules", {})),  # nor one of version 2 these
            value.get("untold", []),
        )
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise SavedStateError(f"a partition's saved record can't be read: {error}") from error


def _with_clock(checkpoint: list[Any]) -> list[Any]:
    """A checkpoint as it is written now; one of version 1 has no clock."""
    return checkpoint if len(checkpoint) > 2 else [*checkpoint, [0, 0, 0, []]]


def _plain(checkpoint: Checkpoint) -> list[Any]:
    expected = [[*source, *place] for source, place in sorted(checkpoint.expected.items())]
    clock = checkpoint.clock
    sources = [[*source, *seen] for source, seen in sorted(clock.sources.items())]
    return [checkpoint.low_water, expected, [clock.now, clock.newest, clock.awake, sources]]
