"""The wire format of the `blocks` topic: one message is a frame, a frame is many blocks, a block is a run of events of one stream.

A frame is the magic, a version byte and one zstd frame of

    u32 length of the header | header (JSON) | columns | producer ids | bodies

Columns are little-endian arrays of n values, in this order: source uint16 (index into the ranges), index uint32 (in the
record), offset int64, received_at int64 (ms), length of the id uint8, length of the body uint32. The header holds the
ranges (what of each source partition this flush covers; `through` is the append time up to which it was read), the
blocks in the order of their events, the control messages and the trace contexts of records that had one.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray

from schemas.errors import FrameError

MAGIC = b"DLF\x01"
MAX_DECODED_BYTES = 64 << 20
_COLUMNS = ("<u2", "<u4", "<i8", "<i8", "<u1", "<u4")
_BYTES_PER_EVENT = sum(np.dtype(c).itemsize for c in _COLUMNS)

Place = tuple[int, int]
"""A place in a source partition: (offset of the record, index of the event in it)."""


@dataclass(frozen=True)
class Range:
    """What a flush covers of one source partition, half open: places `start` <= place < `stop`.

    `through` is the append time in ms up to which the partition was read completely; wall time at the log's end.
    """

    topic: str
    topic_id: str
    partition: int
    start: Place
    stop: Place
    through: int


@dataclass(frozen=True)
class Block:
    """A run of consecutive events of one stream: those of the frame's events with `start` <= i < `stop`."""

    organization_id: str
    stream: str
    start: int
    stop: int


@dataclass(frozen=True)
class Columns:
    """The events of a frame, n of them, in the order of its blocks."""

    source: NDArray[np.uint16]
    index: NDArray[np.uint32]
    offset: NDArray[np.int64]
    received_at: NDArray[np.int64]
    id_length: NDArray[np.uint8]
    body_length: NDArray[np.uint32]
    ids: bytes
    body: bytes


@dataclass(frozen=True)
class Frame:
    """One message of `blocks`."""

    ranges: tuple[Range, ...]
    blocks: tuple[Block, ...]
    events: Columns
    controls: tuple[dict[str, Any], ...] = ()
    traces: dict[tuple[int, int], str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.events.offset)


def columns(
    source: Sequence[int],
    index: Sequence[int],
    offset: Sequence[int],
    received_at: Sequence[int],
    ids: Sequence[bytes],
    bodies: Sequence[bytes],
) -> Columns:
    """Columns of lists of the same length: place, append time in ms, producer's id (empty: none) and body of each event."""
    n = len(bodies)
    return Columns(
        np.array(source, "<u2"),
        np.array(index, "<u4"),
        np.array(offset, "<i8"),
        np.array(received_at, "<i8"),
        np.fromiter(map(len, ids), "<u1", n),
        np.fromiter(map(len, bodies), "<u4", n),
        b"".join(ids),
        b"".join(bodies),
    )


def encode(frame: Frame, level: int = 1) -> bytes:
    """The bytes of a frame."""
    events = frame.events
    header = orjson.dumps(
        {
            "ranges": [[r.topic, r.topic_id, r.partition, *r.start, *r.stop, r.through] for r in frame.ranges],
            "blocks": [[b.organization_id, b.stream, b.stop - b.start] for b in frame.blocks],
            "controls": frame.controls,
            "traces": [[*place, context] for place, context in frame.traces.items()],
            "n": len(frame),
        },
    )
    parts = (
        struct.pack("<I", len(header)),
        header,
        events.source.tobytes(),
        events.index.tobytes(),
        events.offset.tobytes(),
        events.received_at.tobytes(),
        events.id_length.tobytes(),
        events.body_length.tobytes(),
        events.ids,
        events.body,
    )
    return MAGIC + zstandard.ZstdCompressor(level=level).compress(b"".join(parts))


def decode(data: bytes) -> Frame:
    """The frame of some bytes; `FrameError` says what is wrong with them."""
    if data[:3] != MAGIC[:3] or len(data) < 4:
        raise FrameError("a message of the blocks topic does not start as a frame: is another program writing there?")
    if data[3:4] != MAGIC[3:]:
        raise FrameError(
            f"a frame has format version {data[3]}, this release reads {MAGIC[3]}: upgrade the workers first"
        )
    try:
        if not 0 < zstandard.frame_content_size(data[4:]) <= MAX_DECODED_BYTES:
            raise FrameError(f"a frame would decode to more than {MAX_DECODED_BYTES} bytes, or does not say its size")
        raw = zstandard.ZstdDecompressor().decompress(data[4:])
        (size,) = struct.unpack_from("<I", raw)
        return _parse(orjson.loads(raw[4 : 4 + size]), memoryview(raw)[4 + size :])
    except (zstandard.ZstdError, struct.error, ValueError, KeyError, TypeError) as error:
        raise FrameError(f"a frame can't be read: {error}") from error


def _parse(header: dict[str, Any], rest: memoryview) -> Frame:
    n = int(header["n"])
    if n < 0 or len(rest) < n * _BYTES_PER_EVENT:
        raise FrameError(f"a frame of {n} events is cut off")
    arrays, at = [], 0
    for kind in _COLUMNS:
        arrays.append(np.frombuffer(rest, kind, n, at))
        at += n * np.dtype(kind).itemsize
    ids = int(arrays[4].sum(dtype=np.int64))
    bodies = int(arrays[5].sum(dtype=np.int64))
    if len(rest) != at + ids + bodies:
        raise FrameError(f"a frame's bodies are {len(rest) - at - ids} bytes long and should be {bodies}")
    blocks, start = [], 0
    for organization_id, stream, length in header["blocks"]:
        if type(length) is not int or length < 0:
            raise FrameError(f"a block of a frame has a length that is none: {str(length)[:40]}")
        blocks.append(Block(organization_id, stream, start, start + length))
        start += length
    if start != n:
        raise FrameError(f"a frame's blocks hold {start} events and its columns {n}")
    ranges = tuple(Range(t, i, p, (a, b), (c, d), through) for t, i, p, a, b, c, d, through in header["ranges"])
    if n and int(arrays[0].max()) >= len(ranges):
        raise FrameError("an event of a frame names a source that the frame does not list")
    events = Columns(
        arrays[0],
        arrays[1],
        arrays[2],
        arrays[3],
        arrays[4],
        arrays[5],
        bytes(rest[at : at + ids]),
        bytes(rest[at + ids :]),
    )
    traces = {(source, offset): context for source, offset, context in header["traces"]}
    return Frame(ranges, tuple(blocks), events, tuple(header["controls"]), traces)
