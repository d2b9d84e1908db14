"""Kernel of the conformal p-value: rank among the last 4,096 scores of a reference that lags and takes one score an episode (its start's largest).

p = (1 + number at least as large) / (n + 1). Below rank 10 a Pareto tail of 1 + score, fitted at learning points on the
largest 1/32 of the reference with an upper bound (mean excess times 1 + 2 / sqrt k), marked as extrapolated.
"""

from detectors.jit import Ints, Longs, i64, inner
from detectors.layout import (
    EXACT_RANK,
    H_PENDING,
    H_REF_AT,
    H_REF_N,
    H_TAIL_K,
    H_TAIL_MEAN,
    H_TAIL_Y,
    LOG2_E,
    REFERENCE,
    SHOW_FROM,
    TAIL_BEYOND,
    TAIL_LEAST,
    TAIL_PRIOR,
    TAIL_PRIOR_MEAN,
    TAIL_SHARE,
)
from detectors.logs import log2


@inner
def level(x: int) -> int:
    """log2(1 + score), 2^-16."""
    return log2(x + 65536)


@inner
def surprisal_of(head: Longs, reference: Ints, score: int) -> tuple[int, bool]:
    """(-log2 p in 2^-16, whether the tail was extrapolated) of a score."""
    n = head[H_REF_N]
    low = i64(0)
    high = n
    while low < high:
        middle = (low + high) >> 1
        if reference[REFERENCE + middle] < score:
            low = middle + 1
        else:
            high = middle
    rank = 1 + n - low
    exact = log2(n + 1) - log2(rank)
    if rank >= EXACT_RANK or n < SHOW_FROM:
        return exact, False
    least = log2(n + 1) - log2(EXACT_RANK)
    over = level(score) - head[H_TAIL_Y]
    fitted = log2(n) - log2(head[H_TAIL_K])
    if over > 0:
        fitted += over * LOG2_E // head[H_TAIL_MEAN]
    return min(max(fitted, least), log2(n) + TAIL_BEYOND), True


@inner
def wait(head: Longs, reference: Ints, score: int) -> None:
    """A score joins the reference at the next learning point."""
    reference[2 * REFERENCE + head[H_PENDING]] = score
    head[H_PENDING] += 1


@inner
def learn_reference(head: Longs, reference: Ints) -> None:
    """A learning point: waiting scores replace the oldest, and the tail is fitted anew."""
    waiting = head[H_PENDING]
    if waiting == 0:
        return
    n = head[H_REF_N]
    for i in range(waiting):
        score = i64(reference[2 * REFERENCE + i])
        slot = head[H_REF_AT]
        if n == REFERENCE:
            gone = i64(reference[slot])
            low = i64(0)
            high = n
            while low < high:
                middle = (low + high) >> 1
                if reference[REFERENCE + middle] < gone:
                    low = middle + 1
                else:
                    high = middle
            at = REFERENCE + low
        else:
            at = REFERENCE + n
            n += 1
        last = REFERENCE + n - 1
        while at > REFERENCE and reference[at - 1] > score:
            reference[at] = reference[at - 1]
            at -= 1
        while at < last and reference[at + 1] < score:
            reference[at] = reference[at + 1]
            at += 1
        reference[at] = score
        reference[slot] = score
        head[H_REF_AT] = (slot + 1) & (REFERENCE - 1)
    head[H_REF_N] = n
    head[H_PENDING] = 0
    fit_tail(head, reference, n)


@inner
def fit_tail(head: Longs, reference: Ints, n: int) -> None:
    """Threshold and mean excess of log2(1 + score) over the largest 1/32 (at least 16), with its prior and upper bound."""
    k = max(n // TAIL_SHARE, min(TAIL_LEAST, n >> 1))
    if k == 0:
        return
    threshold = level(i64(reference[REFERENCE + n - k]))
    excess = i64(0)
    censored = k // 8
    for i in range(n - k, n):
        excess += level(i64(reference[REFERENCE + min(i, n - censored - 1)])) - threshold
    mean = (excess + TAIL_PRIOR * TAIL_PRIOR_MEAN) // (k - censored + TAIL_PRIOR)
    root = i64(1)
    while (root + 1) * (root + 1) <= (k << 8):
        root += 1
    head[H_TAIL_K] = k
    head[H_TAIL_Y] = threshold
    head[H_TAIL_MEAN] = mean + 16 * mean // root


@inner
def forget_reference(head: Longs) -> None:
    """Begin anew: the reference is empty, as at a stream's start."""
    head[H_REF_N] = 0
    head[H_REF_AT] = 0
    head[H_PENDING] = 0
