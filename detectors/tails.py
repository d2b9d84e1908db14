"""Kernel of evidence that carries its own p-value: a histogram in quarters of an octave that never forgets.

p = (1 + number at least as large) / (n + 1) while that number is 16 or more, beyond it a Pareto tail: mean excess in octaves with
a prior of 16 excesses of half an octave, times 5/4 as upper bound, never beyond 10 bits past the histogram, and at most 3 bits
beyond that rank for what was seen before. A value is given as its logarithm, log2(1 + x) in 2^-16. In the array, from `at` on: n,
size and bin and mean excess of the tail, counts.
"""

from detectors.jit import Longs, i64, inner
from detectors.layout import (
    LOG2_E,
    NEVER,
    TAIL_BEYOND,
    TAILS_BINS,
    TAILS_FROM,
    TAILS_MAX,
    TAILS_PRIOR,
    TAILS_PRIOR_MEAN,
    TAILS_SEEN,
    TAILS_SIZE,
    X_BIN,
    X_COUNTS,
    X_K,
    X_MEAN,
    X_N,
)
from detectors.logs import log2


@inner
def count(a: Longs, at: int, log: int) -> None:
    """Count a value. Halving keeps what was seen once."""
    a[at + X_COUNTS + min(log >> 14, i64(TAILS_BINS - 1))] += 1
    a[at + X_N] += 1
    if a[at + X_N] >= TAILS_MAX:
        a[at + X_N] = 0
        for b in range(TAILS_BINS):
            a[at + X_COUNTS + b] = (a[at + X_COUNTS + b] + 1) >> 1
            a[at + X_N] += a[at + X_COUNTS + b]


@inner
def age(a: Longs, at: int) -> None:
    """Halve all counts: what was seen once is forgotten."""
    a[at + X_N] = 0
    for b in range(TAILS_BINS):
        a[at + X_COUNTS + b] >>= 1
        a[at + X_N] += a[at + X_COUNTS + b]


@inner
def fit(a: Longs, at: int) -> None:
    """A learning point: where the tail begins, and its mean excess."""
    if a[at + X_N] < TAILS_FROM:
        return
    k = i64(0)
    excess = i64(0)
    b = TAILS_BINS
    while k < TAILS_SIZE:
        b -= 1
        excess += k  # each that lies above is one bin farther
        k += a[at + X_COUNTS + b]
    a[at + X_K] = k
    a[at + X_BIN] = b
    weight = min(k, i64(2 * TAILS_SIZE)) + TAILS_PRIOR
    a[at + X_MEAN] = 5 * ((excess << 14) + TAILS_PRIOR * TAILS_PRIOR_MEAN) // (4 * weight)


@inner
def surprisal(a: Longs, at: int, log: int) -> tuple[int, bool]:
    """(-log2 p, whether extrapolated) of a value, 2^-16; 0 while too few are known."""
    n = a[at + X_N]
    if a[at + X_K] == 0:
        return i64(0), False
    rank = i64(1)
    for b in range(log >> 14, TAILS_BINS):
        rank += a[at + X_COUNTS + b]
    exact = log2(n + 1) - log2(rank)
    over = log - ((a[at + X_BIN] + 1) << 14)
    if over < 0:
        return exact, False
    fitted = log2(n + 1) - log2(a[at + X_K] + 1) + over * LOG2_E // a[at + X_MEAN]
    return min(fitted, exact + TAILS_SEEN if rank > 1 else log2(n) + TAIL_BEYOND), True


@inner
def least(a: Longs, at: int, wanted: int) -> int:
    """The logarithm (2^-16) of the least value of at least this surprisal; `NEVER` where there is none."""
    n = a[at + X_N]
    if a[at + X_K] == 0 or wanted > log2(n) + TAIL_BEYOND:
        return i64(NEVER)
    base = log2(n + 1) - log2(a[at + X_K] + 1)
    log = i64(0)
    if wanted > base:
        log = ((a[at + X_BIN] + 1) << 14) + ((wanted - base) * a[at + X_MEAN] + LOG2_E - 1) // LOG2_E
        wanted -= TAILS_SEEN
    rank = i64(1)
    b = TAILS_BINS
    while b > 0:
        seen = rank + a[at + X_COUNTS + b - 1]
        if seen > 1 and log2(n + 1) - log2(seen) < wanted:
            break
        b -= 1
        rank = seen
    return max(log, i64(b << 14))
