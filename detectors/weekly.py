"""Kernel of the weekly pattern: how much busier each hour of the day and of the week is than the long run.

Exposure is time weighted by that factor, so that an hour of night counts less than an hour of day. The factor is
2^(day[hour] + week[hour]), learned slowly from whole hours: an unknown hour counts as any other.
"""

from detectors.jit import Longs, i64, inner
from detectors.layout import HOUR_MS, Y_DAY, Y_WEEK, Y_WEEKLY
from detectors.tables import POWERS

LONGEST = 8 * 168
"""Hours that are looked at one by one; what lies beyond counts as it is."""


@inner
def factor(timing: Longs, hour: int) -> int:
    """How busy an hour since 1970 is, 2^-8: 1/256 to 256 times the long run."""
    log = timing[Y_DAY + 2 * (hour % 24)] + timing[Y_WEEK + 2 * ((hour + 72) % 168)]
    log = min(max(log, i64(-(8 << 16))), i64(8 << 16))
    return i64(max(((POWERS[(log >> 11) & 31] << 8) >> (8 - (log >> 16))) >> 8, 1))


@inner
def exposure(timing: Longs, start: int, end: int) -> int:
    """Milliseconds from start to end, each weighted by its hour's factor."""
    if timing[Y_WEEKLY] == 0 or end <= start:
        return max(end - start, i64(0))
    total = i64(0)
    at = start
    for _ in range(LONGEST):
        hour = at // HOUR_MS
        stop = min((hour + 1) * HOUR_MS, end)
        total += (stop - at) * factor(timing, hour)
        at = stop
        if at >= end:
            return total >> 8
    return (total >> 8) + end - at


@inner
def reach(timing: Longs, start: int, wanted: int) -> int:
    """The first millisecond at which the exposure since `start` is at least `wanted`."""
    if timing[Y_WEEKLY] == 0:
        return start + wanted
    missing = wanted << 8
    at = start
    for _ in range(LONGEST):
        hour = at // HOUR_MS
        weight = factor(timing, hour)
        stop = (hour + 1) * HOUR_MS
        if (stop - at) * weight >= missing:
            return at + (missing + weight - 1) // weight
        missing -= (stop - at) * weight
        at = stop
    return at + (missing >> 8)


@inner
def learn_hour(timing: Longs, hour: int, seen: int, over: int) -> None:
    """Learn that an hour had 2^over (2^-16) times the events expected; `seen` (2^-16, at most 1) is how much that says.

    Both learn by half at first and by less and less: the hour of the day at last by 1/32, the hour of the week, from what is left
    over, by 1/8.
    """
    for both in range(2):
        at = Y_DAY + 2 * (hour % 24) if both == 0 else Y_WEEK + 2 * ((hour + 72) % 168)
        known = timing[at + 1]
        most = i64(2 << 16) if both or known >= 7 else i64(4 << 16)  # one odd hour is no pattern
        part = min(max(over, -most), most)
        step = ((part * seen) >> 16) // (min(known, i64(6 if both else 30)) + 2)
        timing[at] = min(max(timing[at] + step, i64(-(8 << 16))), i64(8 << 16))
        timing[at + 1] = min(known + 1, i64(1) << 20)
        over -= step
    timing[Y_WEEKLY] = 1
