"""Kernel of the learned scale Q(x; s0): z = max(0, (x - m) / s), from a histogram of log2(1 + x) that never forgets.

With n values admitted, f = n / (n + 1024): m = f * median, s = max(floor, (1 - f) * s0 + f * (quantile - median)); the prior
s0 is in bits. After 500 events a value with z > 2 is admitted once in 16 (the guard: a flood cannot become its own scale).
"""

from detectors.jit import Longs, i64, inner
from detectors.layout import (
    BINS,
    GUARD_AFTER,
    GUARD_ONE_IN,
    GUARD_Z,
    H_EVENTS,
    H_FREE_UNTIL,
    H_HISTOGRAM,
    H_SCALE,
    Q_MEDIAN,
    Q_N,
    Q_SCALE,
    Q_SKIPPED,
    Q_TEMPLATE,
    SCALE_COLUMNS,
    SCALE_PRIOR,
    SCALES,
    WINDOWS,
)
from detectors.logs import log2
from detectors.tables import POWERS

PRIORS = (4 * WINDOWS[0], 4 * WINDOWS[1], 4 * WINDOWS[2], 8, 8, 24, 8)
"""Prior scale of each column, bits: 4 a window's event for burst; 8 for novelty and numbers; 24 for the five views of a session."""


@inner
def bin_of(q: int, x: int) -> int:
    """Bin of x (2^-16 bit): eighths of an octave of 1 + x for burst, sixteenths for novelty."""
    y = log2(x + 65536) - (16 << 16)
    b = y >> 13 if q < Q_TEMPLATE else y >> 12
    return min(b, BINS - 1)


@inner
def value_of(q: int, b: int) -> int:
    """The middle of a bin, 2^-16 bit."""
    j = 4 * b + 2 if q < Q_TEMPLATE else 2 * b + 1
    return i64((POWERS[j & 31] << (j >> 5)) - 65536)


@inner
def scaled(head: Longs, q: int, x: int) -> int:
    """z of x under the scale as it stands, 2^-16."""
    at = H_SCALE + q * SCALE_COLUMNS
    over = x - head[at + Q_MEDIAN]
    if over <= 0:
        return i64(0)
    return i64(min((over << 16) // head[at + Q_SCALE], i64(1) << 30))


@inner
def admit(head: Longs, q: int, x: int, z: int) -> None:
    """Count x in its histogram unless the guard keeps it out."""
    at = H_SCALE + q * SCALE_COLUMNS
    if z > GUARD_Z and head[H_EVENTS] > GUARD_AFTER and head[H_EVENTS] > head[H_FREE_UNTIL]:
        head[at + Q_SKIPPED] += 1
        if head[at + Q_SKIPPED] % GUARD_ONE_IN:
            return
    head[at + Q_N] += 1
    head[H_HISTOGRAM + q * BINS + bin_of(q, x)] += 1


@inner
def rescale(head: Longs) -> None:
    """Learn median and scale of every column from its histogram."""
    for q in range(SCALES):
        at = H_SCALE + q * SCALE_COLUMNS
        first = H_HISTOGRAM + q * BINS
        n = head[at + Q_N]
        prior = PRIORS[q] << 16
        if n == 0:
            head[at + Q_MEDIAN] = 0
            head[at + Q_SCALE] = prior
            continue
        half = (n + 1) >> 1
        high = n - n // 10 if q < Q_TEMPLATE else n - n // 64
        seen = i64(0)
        median = i64(-1)
        quantile = i64(-1)
        for b in range(BINS):
            seen += head[first + b]
            if median < 0 and seen >= half:
                median = value_of(q, b) if b > 0 else i64(0)
            if seen >= high:
                quantile = value_of(q, b) if b > 0 else i64(0)
                break
        weight = n + SCALE_PRIOR
        spread = (SCALE_PRIOR * prior + n * (quantile - median)) // weight
        floor = prior // 20 if q < Q_TEMPLATE else prior >> 1
        head[at + Q_MEDIAN] = median * n // weight
        head[at + Q_SCALE] = max(floor, spread)


@inner
def steepened(z: int) -> int:
    """2 z^3, 2^-16: single events that are a little beyond the usual stay below bursts, those far beyond pass them."""
    cube = min(z, i64(1) << 24) >> 4
    return i64(((cube * cube) >> 12) * cube >> 7)
