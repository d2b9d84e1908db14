"""Kernel of habits: a flood led by the same token as an earlier one is told as seldom as such floods come.

One came s events ago and one is here now: Laplace's estimate of their rate is 2 / (s + 1), and no p-value of this one is smaller,
unless it has more than twice the bits. Floods are counted, never hidden: what is told changes, no score and no episode.
"""

from detectors.jit import Longs, i64, inner
from detectors.layout import (
    A_BEFORE,
    A_BEFORE_BITS,
    A_BITS,
    A_EPISODE,
    A_KEY,
    A_LAST,
    H_EPISODE,
    H_EVENTS,
    H_OPEN,
    HABIT_SET,
    HABITS,
    NEVER,
)
from detectors.logs import log2


@inner
def find(habits: Longs, key: int) -> tuple[int, bool]:
    """(row, whether it is the token's) of a leading token; else of the one of its set that is longest gone."""
    first = key % (HABITS // HABIT_SET) * HABIT_SET
    oldest = first
    for row in range(first, first + HABIT_SET):
        if habits[row, A_KEY] == key:
            return i64(row), True
        if habits[row, A_LAST] < habits[oldest, A_LAST]:
            oldest = row
    return i64(oldest), False


@inner
def habitual(head: Longs, habits: Longs, key: int, bits: int) -> int:
    """The largest surprisal, 2^-16 bit, that a flood led by this token may be told with."""
    row, known = find(habits, key)
    if not known:
        return NEVER
    ended = habits[row, A_LAST]
    strongest = habits[row, A_BITS]
    if head[H_OPEN] and habits[row, A_EPISODE] == head[H_EPISODE]:
        ended = habits[row, A_BEFORE]
        strongest = habits[row, A_BEFORE_BITS]
    if strongest == 0 or bits > 2 * strongest:
        return NEVER
    return max(log2(head[H_EVENTS] - ended + 1) - 65536, i64(0))


@inner
def note_habit(head: Longs, habits: Longs, key: int, bits: int) -> None:
    """The token leads a member of the open episode."""
    row, known = find(habits, key)
    if not known:
        habits[row, :] = 0
        habits[row, A_KEY] = key
    elif habits[row, A_EPISODE] != head[H_EPISODE]:
        habits[row, A_BEFORE] = habits[row, A_LAST]
        habits[row, A_BEFORE_BITS] = habits[row, A_BITS]
        habits[row, A_BITS] = 0
    habits[row, A_EPISODE] = head[H_EPISODE]
    habits[row, A_LAST] = head[H_EVENTS]
    habits[row, A_BITS] = max(habits[row, A_BITS], bits)
