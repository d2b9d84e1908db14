"""Kernels of counts: what a baseline expects in a span, and the bits of a count against it."""

from detectors.jit import Longs, i64, inner
from detectors.layout import (
    HOUR_MS,
    LOG2_E,
    RATE_WARM,
    Y_BASE,
)
from detectors.logs import log2
from detectors.tables import LOG2
from detectors.weekly import learn_hour

MANY = 1 << 20
"""Counts (2^-8) are halved together until they are below: more of them say nothing that the shape lets through."""


@inner
def fine_log2(k: int) -> int:
    """2^16 * log2 k for 1 <= k < 2^31, good to one unit: between two entries of the table along the tangent."""
    if k < 8192:
        return i64(LOG2[k])
    shift = 0
    top = k
    while top >= 8192:
        top >>= 1
        shift += 1
    rest = k - (top << shift)
    return i64(LOG2[top] + (shift << 16) + (((rest * LOG2_E) >> shift) // top))


@inner
def evidence(count: int, mean: int, shape: int) -> int:
    """Bits, 2^-16, of a count against its mean (both 2^-8) for a shape (2^-8)."""
    n = count
    mu = max(mean, i64(1))
    while n >= MANY or mu >= MANY:
        n >>= 1
        mu >>= 1
    mu = max(mu, i64(1))
    bits = (n + shape) * (fine_log2(mu + shape) - fine_log2(n + shape))
    if n > 0:
        bits += n * (fine_log2(n) - fine_log2(mu))
    return max(bits >> 8, i64(0))


@inner
def expected(timing: Longs, which: int, span: int) -> int:
    """Events (2^-8) that a baseline expects in an exposure of `span` ms; 0 while it is shorter than 8 such spans."""
    known = timing[which + 1]
    if span <= 0 or known < RATE_WARM * span:
        return i64(0)
    return i64(max((timing[which] * ((span << 20) // known)) >> 12, i64(1)))


@inner
def hourly(timing: Longs, count: int, start: int, span: int) -> None:
    """A whole hour: learn the weekly pattern from it, against the long run."""
    known = timing[Y_BASE + 1]
    if known < HOUR_MS:
        return
    mean = (timing[Y_BASE] * ((span << 20) // known)) >> 12
    plain = (timing[Y_BASE] * ((i64(HOUR_MS) << 20) // known)) >> 12
    if plain < 512:
        return
    over = log2((count << 8) + 256) - log2(mean + 256)
    learn_hour(timing, start // HOUR_MS, (plain << 16) // (plain + 1024), over)


@inner
def remember(timing: Longs, which: int, count: int, span: int, mean: int, odd: bool, most: int) -> None:
    """Count a span in a baseline; odd ones when they have ended, and with at most four times what was expected."""
    if odd:
        timing[which + 2] += min(count, mean >> 6)
        timing[which + 3] += span
        return
    timing[which] += count + timing[which + 2]
    timing[which + 1] += span + timing[which + 3]
    timing[which + 2] = 0
    timing[which + 3] = 0
    while timing[which + 1] > 2 * most:
        timing[which] >>= 1
        timing[which + 1] >>= 1


@inner
def adopt(timing: Longs, which: int) -> None:
    """What has lasted for so long is the baseline now."""
    if timing[which + 3] > 0:
        timing[which] = timing[which + 2]
        timing[which + 1] = timing[which + 3]
        timing[which + 2] = 0
        timing[which + 3] = 0
