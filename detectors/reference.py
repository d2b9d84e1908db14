"""Kernel of the conformal p-value: rank among the last 4,096 scores of a reference that lags and takes one score an episode (its start's largest).

p = (1 + number at least as large) / (n + 1). Below rank 10 a Pareto tail of 1 + score, fitted at learning points on the
largest 1/32 of the reference with an upper bound (mean excess times 1 + 1 / sqrt k), marked as extrapolated. A number's
evidence is a mean over 32 numbers and comes in runs: there k counts runs.
"""

import numpy as np

from detectors.jit import Ints, Longs, i64, inner
from detectors.layout import (
    EXACT_RANK,
    G_BURST,
    G_NOVELTY,
    G_NUMBER,
    GROUPS,
    H_LOOKED,
    H_LOOKS,
    H_LOW,
    H_OPEN,
    H_PENDING,
    H_REF_AT,
    H_REF_N,
    H_TAIL_K,
    H_TAIL_MEAN,
    H_TAIL_Y,
    LEARN_EVERY,
    LOG2_E,
    MIN_EFFECT,
    OPEN_SURPRISAL,
    REFERENCE,
    RUN_APART,
    SHOW_FROM,
    TAIL_BEYOND,
    TAIL_LEAST,
    TAIL_PRIOR,
    TAIL_PRIOR_MEAN,
    TAIL_SHARE,
)
from detectors.logs import log2

ONE = 1 << 20  # log2(1 + 0) as `level` says it


@inner
def level(x: int) -> int:
    """log2(1 + score), 2^-16."""
    return log2(x + 65536)


@inner
def below(sorted_: Ints, n: int, score: int) -> int:
    """How many of the first `n` of a sorted array are below `score`."""
    low = i64(0)
    high = n
    while low < high:
        middle = (low + high) >> 1
        if sorted_[middle] < score:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def surprisal_of(head: Longs, reference: Ints, group: int, score: int) -> tuple[int, bool]:
    """(-log2 p in 2^-16, whether the tail was extrapolated) of a group's score."""
    n = head[H_REF_N]
    rank = 1 + n - below(reference[group, REFERENCE : 2 * REFERENCE], n, score)
    exact = log2(n + 1) - log2(rank)
    if rank >= EXACT_RANK or n < SHOW_FROM:
        return exact, False
    least = log2(n + 1) - log2(EXACT_RANK)
    over = level(score) - head[H_TAIL_Y + group]
    fitted = log2(n) - log2(head[H_TAIL_K])
    if over > 0:
        fitted += over * LOG2_E // head[H_TAIL_MEAN + group]
    return min(max(fitted, least), log2(n) + TAIL_BEYOND), True


@inner
def smallest_p(
    head: Longs, reference: Ints, scores: Longs, allowed: int, usual: int
) -> tuple[int, int, bool, int, int]:
    """Of the groups' p-values the smallest, counted as often as the stream's past says that it is small by chance.

    (surprisal, surprisal of the best group of at least `MIN_EFFECT` or -1, whether the first is extrapolated, its group's score,
    the group that names the kind); surprisals in 2^-16 bit, novelty's at most `allowed`, a flood's that is told at most `usual`.
    """
    surprisal = -(i64(1) << 40)
    extrapolated = False
    effect = i64(0)
    shown = i64(-1)
    group = 0
    for g in range(GROUPS):
        of_group, beyond = surprisal_of(head, reference, g, scores[g])
        of_group -= head[H_LOOKS]
        if g == G_NOVELTY:
            of_group = min(of_group, allowed)
        if of_group > surprisal:
            surprisal = of_group
            extrapolated = beyond
            effect = scores[g]
            group = g if shown < 0 else group
        if g == G_BURST:
            of_group = min(of_group, usual)
        if scores[g] >= MIN_EFFECT and of_group > shown:
            shown = of_group
            group = g
    if not head[H_OPEN] and head[H_REF_N] >= SHOW_FROM:
        head[H_LOOKED] += 1
        if surprisal + head[H_LOOKS] >= OPEN_SURPRISAL:
            head[H_LOW] += 1
    return max(surprisal, i64(0)), shown, extrapolated, effect, group


@inner
def wait(head: Longs, reference: Ints, scores: Longs) -> None:
    """An event's scores, one a group, join the reference at the next learning point."""
    for group in range(GROUPS):
        reference[group, 2 * REFERENCE + head[H_PENDING]] = scores[group]
    head[H_PENDING] += 1


@inner
def learn_reference(head: Longs, reference: Ints) -> None:
    """A learning point: waiting scores replace the oldest, and the tails are fitted anew."""
    waiting = head[H_PENDING]
    if waiting == 0:
        return
    n = head[H_REF_N]
    for group in range(GROUPS):
        replace(reference[group], n, head[H_REF_AT], waiting)
    head[H_REF_AT] = (head[H_REF_AT] + waiting) & (REFERENCE - 1)
    head[H_REF_N] = min(n + waiting, REFERENCE)
    head[H_PENDING] = 0
    live = 0
    for group in range(GROUPS):
        fit_tail(head, reference[group], group, head[H_REF_N], head[H_REF_AT])
        if head[H_TAIL_Y + group] > ONE:
            live += 1
    # how often the smallest of them was below 1/100, learned with the prior that it is as often as an exact one is
    share = log2(100 * (head[H_LOW] + 10)) - log2(head[H_LOOKED] + 1000)
    head[H_LOOKS] = min(max(share, i64(0)), log2(max(live, 1)))


@inner
def replace(scores: Ints, n: int, at: int, waiting: int) -> None:
    """Put `waiting` scores into the ring from `at` on, and into its sorted copy, by one merge."""
    gone = max(n + waiting - REFERENCE, 0)
    leave = np.empty(LEARN_EVERY, np.int32)
    enter = np.empty(LEARN_EVERY, np.int32)
    for i in range(waiting):
        slot = (at + i) & (REFERENCE - 1)
        if i >= waiting - gone:
            insert(leave, i - waiting + gone, scores[slot])
        scores[slot] = scores[2 * REFERENCE + i]
        insert(enter, i, scores[slot])
    kept = np.empty(REFERENCE, np.int32)
    size = 0
    out = 0
    into = 0
    for i in range(n):
        score = scores[REFERENCE + i]
        if out < gone and leave[out] == score:
            out += 1
            continue
        while into < waiting and enter[into] <= score:
            kept[size] = enter[into]
            size += 1
            into += 1
        kept[size] = score
        size += 1
    while into < waiting:
        kept[size] = enter[into]
        size += 1
        into += 1
    for i in range(size):
        scores[REFERENCE + i] = kept[i]


@inner
def insert(sorted_: Ints, n: int, score: int) -> None:
    """Insert a score among the first `n` of a sorted array."""
    while n > 0 and sorted_[n - 1] > score:
        sorted_[n] = sorted_[n - 1]
        n -= 1
    sorted_[n] = score


@inner
def runs_above(scores: Ints, n: int, at: int, least: int) -> int:
    """Runs of scores above `least` in the ring's order, with at least RUN_APART others between them."""
    runs = 0
    since = RUN_APART
    for i in range(n):
        if scores[(at + i) & (REFERENCE - 1) if n == REFERENCE else i] > least:
            runs += since >= RUN_APART
            since = 0
        else:
            since += 1
    return runs


@inner
def fit_tail(head: Longs, scores: Ints, group: int, n: int, at: int) -> None:
    """Threshold and mean excess of log2(1 + score) over the largest 1/32 (at least 16), with its prior and upper bound."""
    k = max(n // TAIL_SHARE, min(TAIL_LEAST, n >> 1))
    if k == 0:
        return
    threshold = level(i64(scores[REFERENCE + n - k]))
    excess = i64(0)
    censored = k // 8
    for i in range(n - k, n):
        excess += level(i64(scores[REFERENCE + min(i, n - censored - 1)])) - threshold
    mean = (excess + TAIL_PRIOR * TAIL_PRIOR_MEAN) // (k - censored + TAIL_PRIOR)
    independent = k
    if group == G_NUMBER:
        independent = max(runs_above(scores, n, at, scores[REFERENCE + n - k]), 1)
    root = i64(1)
    while (root + 1) * (root + 1) <= (independent << 8):
        root += 1
    head[H_TAIL_K] = k
    head[H_TAIL_Y + group] = threshold
    head[H_TAIL_MEAN + group] = mean + 16 * mean // root


@inner
def forget_reference(head: Longs) -> None:
    """Begin anew: the reference is empty, as at a stream's start."""
    head[H_REF_N] = 0
    head[H_REF_AT] = 0
    head[H_PENDING] = 0
