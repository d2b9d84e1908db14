"""What was read and not yet sent: events by stream, and the frames of a flush made of them."""

from collections import Counter
from functools import lru_cache
from typing import Any

from schemas import frames
from schemas.frames import Block, Frame, Range
from schemas.identity import blocks_partition

EVENT_COST = 40
STREAM_COST = 400
TRACE_COST = 200
"""Bytes of a frame beside the bodies, bounded from above, so that a frame of small events in many streams stays under
the limit of the topic too."""

_FIELDS = 6

_partition = lru_cache(maxsize=65_536)(blocks_partition)

Flat = list[Any]
"""Events one after another in six values each: source, index, offset, received_at, producer's id, body."""

Streams = dict[str, Flat]


class Pending:
    """One flush in the making. The reader appends to a stream's `Flat` directly and adds to `cost` what it appended."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.cost = 0
        self.controls: list[dict[str, Any]] = []
        self.letters: list[tuple[bytes, bytes]] = []
        self.rejected: Counter[str] = Counter()
        self.traces: dict[tuple[int, int], str] = {}
        self._organizations: dict[str, Streams] = {}
        self._blocks: list[list[tuple[str, str, Flat]]] = [[] for _ in range(partitions)]

    def streams(self, organization_id: str) -> Streams:
        """The streams of an organization; the same dict for good, emptied by each flush."""
        return self._organizations.setdefault(organization_id, {})

    def open(self, organization_id: str, stream: str) -> Flat:
        """A stream's events, which had none in this flush so far."""
        flat: Flat = []
        self.streams(organization_id)[stream] = flat
        self._blocks[_partition(organization_id, stream, self.partitions)].append((organization_id, stream, flat))
        self.cost += STREAM_COST
        return flat

    def __bool__(self) -> bool:
        return bool(self.cost or self.letters or self.controls)

    def frames(self, ranges: tuple[Range, ...]) -> tuple[list[bytes], int]:
        """The frame of each partition of `blocks`, all with the same ranges, and how many events are in them."""
        total, out = 0, []
        controls = tuple(self.controls)
        for blocks in self._blocks:
            frame = _frame(ranges, blocks, controls, self.traces)
            total += len(frame)
            out.append(frames.encode(frame))
        return out, total

    def clear(self) -> None:
        """Begin the next flush."""
        self.cost = 0
        self.controls.clear()
        self.letters = []
        self.rejected.clear()
        self.traces.clear()
        for blocks in self._blocks:
            for organization_id, _, _ in blocks:
                self._organizations[organization_id].clear()
            blocks.clear()


def _frame(
    ranges: tuple[Range, ...],
    blocks: list[tuple[str, str, Flat]],
    controls: tuple[dict[str, Any], ...],
    traces: dict[tuple[int, int], str],
) -> Frame:
    events: Flat = []
    runs, start = [], 0
    for organization_id, stream, flat in blocks:
        stop = start + len(flat) // _FIELDS
        runs.append(Block(organization_id, stream, start, stop))
        events += flat
        start = stop
    sources, offsets = events[0::_FIELDS], events[2::_FIELDS]
    columns = frames.columns(
        sources, events[1::_FIELDS], offsets, events[3::_FIELDS], events[4::_FIELDS], events[5::_FIELDS]
    )
    here = {}
    if traces:
        here = {place: traces[place] for place in dict.fromkeys(zip(sources, offsets, strict=True)) if place in traces}
    return Frame(ranges, tuple(runs), columns, controls, here)
