"""Whether who has work does any: a process that hangs answers as well as one that works, so its offsets are asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Watch:
    """What was seen of each partition: its next offset, and since when (seconds of any clock) that did not move."""

    patience_s: float = 300.0
    seen: dict[int, tuple[int, float]] = field(default_factory=dict)

    def stuck(self, places: Mapping[int, tuple[int, int]], now: float) -> str:
        """Partitions that had work for all of `patience_s` and did none, in one line, or nothing.

        `places`: partition → (next offset, end of the log). Nothing to do is no reason, however long.
        """
        found = []
        for partition, (position, end) in places.items():
            before = self.seen.get(partition)
            if before is None or before[0] != position or position >= end:
                self.seen[partition] = (position, now)
            elif now - before[1] >= self.patience_s:
                found.append(partition)
        for partition in self.seen.keys() - places.keys():
            del self.seen[partition]
        said = ", ".join(map(str, sorted(found)))
        return (
            f"nothing moved for {self.patience_s:.0f} s, and there is more to read: partition {said}" if found else ""
        )
