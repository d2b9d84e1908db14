"""Kernel of the ring of the last 4,096 event ids: an exact set of 64-bit hashes, so that a repeated delivery is scored once."""

from detectors.jit import Indexes, Longs, i64, inner
from detectors.layout import H_ID_AT, H_IDS, ID_INDEX, ID_RING


@inner
def home(value: int) -> int:
    """Where a hash (int64) begins its search in the index."""
    v = (value ^ (value >> 29)) & 0xFFFFFFFF
    v = (v * 0x2C1B3C6D) & 0xFFFFFFFF
    return (v ^ (v >> 15)) & (ID_INDEX - 1)


@inner
def find_id(ids: Longs, index: Indexes, value: int) -> int:
    """Position of a hash in the index, or that of the free place where it would go."""
    i = home(value)
    while index[i] != 0 and ids[index[i] - 1] != value:
        i = (i + 1) & (ID_INDEX - 1)
    return i


@inner
def put_id(head: Longs, ids: Longs, index: Indexes, at: int, value: int) -> None:
    """Add a hash at its free place; the oldest of a full ring is forgotten."""
    slot = head[H_ID_AT]
    if head[H_IDS] == ID_RING:
        forget_id(ids, index, ids[slot])
        at = find_id(ids, index, value)
    else:
        head[H_IDS] += 1
    ids[slot] = value
    index[at] = slot + 1
    head[H_ID_AT] = (slot + 1) & (ID_RING - 1)


@inner
def forget_id(ids: Longs, index: Indexes, value: int) -> None:
    """Take a hash out and close the gap, so that searches still find what came after it."""
    i = find_id(ids, index, value)
    j = i
    while True:
        j = (j + 1) & (ID_INDEX - 1)
        if index[j] == 0:
            break
        start = home(ids[index[j] - 1])
        if ((j - start) & (ID_INDEX - 1)) >= ((j - i) & (ID_INDEX - 1)):
            index[i] = index[j]
            i = j
    index[i] = 0


@inner
def index_ids(head: Longs, ids: Longs, index: Indexes) -> None:
    """Build the index of a loaded ring."""
    for k in range(head[H_IDS]):
        index[find_id(ids, index, ids[k])] = i64(k + 1)
