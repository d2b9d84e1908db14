"""Which streams change when time goes on without an event of theirs: a heap of deadlines, one entry a stream.

So a tick costs what is due, however many streams a partition has, also those whose states are not in memory.
"""

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush

NEVER = 1 << 60


class Deadlines:
    """The detector time in ms of each stream's next change; a stream is named by its key."""

    def __init__(self, at: Mapping[str, int] | None = None) -> None:
        self.at = dict(at or {})
        self._queued = dict(self.at)
        self._heap = [(time, key) for key, time in self.at.items()]
        heapify(self._heap)

    def set(self, key: str, time: int) -> None:
        """A stream's next change; none from `NEVER` on. A later time than before costs nothing until the old one has passed."""
        if time >= NEVER:
            self.at.pop(key, None)
            return
        self.at[key] = time
        if time < self._queued.get(key, NEVER):
            self._queued[key] = time
            heappush(self._heap, (time, key))

    def due(self, now: int) -> Iterator[str]:
        """Each stream whose time has passed at `now`, in the order of time and key; its next one is to be set before the next is taken."""
        while self._heap and self._heap[0][0] < now:
            time, key = heappop(self._heap)
            if self._queued.get(key) != time:
                continue
            del self._queued[key]
            current = self.at.get(key, NEVER)
            if current == time:
                del self.at[key]
                yield key
            elif current < NEVER:
                self.set(key, current)
