"""The fuse: when nearly everything is rejected something of ours is wrong, and going on would only make dead letters.

A control topic that was lost, a release that can't read what all send: then the packer stops before it commits, and what it
had not sent is read again once that is mended. One organization of several, whose own producers went wrong, never stops the
others: its dead letters count, but where most of the rejected are of one known organization the fuse holds.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

from schemas.errors import FuseBlown

PERCENT = 95


@dataclass
class Fuse:
    """The last flushes that together hold `size` events and dead letters or more; 0: it never blows."""

    size: int
    total: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    flushes: deque[tuple[int, Counter[str]]] = field(default_factory=deque)


def pass_through(fuse: Fuse, events: int, rejected: Counter[str], known: int) -> None:
    """Count a flush. `rejected`: dead letters by known organization, "" for none; `known`: how many are known. `FuseBlown`."""
    total = events + rejected.total()
    if not fuse.size or not total:
        return
    fuse.flushes.append((total, rejected.copy()))
    fuse.total += total
    fuse.rejected += rejected
    while fuse.total - fuse.flushes[0][0] >= fuse.size:
        gone, of_it = fuse.flushes.popleft()
        fuse.total -= gone
        fuse.rejected -= of_it
    bad = fuse.rejected.total()
    if fuse.total < fuse.size or bad * 100 < PERCENT * fuse.total:
        return
    most = max((count for organization, count in fuse.rejected.items() if organization), default=0)
    if known > 1 and 2 * most > bad:
        return
    raise FuseBlown(
        f"{bad:,} of the last {fuse.total:,} events were rejected: `driftlock dlq list` says why; nothing more is read until it is "
        "mended and the packer started again (PACKER_FUSE_EVENTS=0 lets all through as dead letters)"
    )
