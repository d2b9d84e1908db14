# ruff: noqa: C901 (one pass with its state in locals: split further, a kernel reads worse)
"""Kernel of the rate channel: do events come faster or slower than they used to?

The last span of each of four lengths (a ladder that fits the stream's rate) is compared with what the baseline expects there:
bits = n log2(n / mu) - (n + r) log2((n + r) / (mu + r)), the log-likelihood ratio of a gamma-Poisson (negative binomial) count of
mean n against one of mean mu, both of shape r. The shape is learned for each length from how far its past counts were off, so
that a stream that is bursty at some length stays quiet there. Short spans are compared with the last hours, the longest with
the long run; both know the weekly pattern (weekly.py). What the bits are worth is their rank among those of all earlier spans of
that length (tails.py), where a run of spans with p at most 1/100 counts once: so bursts that come again and again are normal.
"""

from detectors.counts import adopt, evidence, expected, hourly, remember
from detectors.jit import Longs, i64, inner
from detectors.layout import (
    BASE_MS,
    CATCH_UP,
    EVIDENCE,
    EVIDENCE_COLUMNS,
    G_TAIL,
    H_EVIDENCE,
    H_EVIDENCE_N,
    HOUR_MS,
    KIND_SHARE,
    L_A,
    L_A_ODD,
    L_B,
    L_B_ODD,
    L_BAD,
    L_COUNT,
    L_END,
    L_HELD,
    L_MU,
    L_NEXT,
    L_NOW,
    L_ODD,
    L_OPEN,
    L_PEAK,
    L_RATIO,
    L_SHAPE,
    L_TAIL,
    LEVEL_COLUMNS,
    LEVELS,
    LOCAL_SPANS,
    NEVER,
    ODD_SPANS,
    OPEN_SURPRISAL,
    RATE_KAPPA_LEAST,
    RATE_KAPPA_PRIOR,
    RATE_MEMORY,
    RATE_ODD,
    RATE_PRIOR,
    RATE_SHARE,
    RATE_WARM,
    RESCALE_EVERY,
    SPANS,
    TAILS_FROM,
    UNITS,
    V_BEFORE,
    V_BEFORE_OF,
    V_BITS,
    V_CHANNEL,
    V_END,
    V_OF,
    V_RATE,
    V_SEEN,
    V_START,
    X_N,
    Y_AGED,
    Y_BASE,
    Y_BORN,
    Y_EVENTS,
    Y_FIRST,
    Y_LOCAL,
    Y_SHOWN,
    Y_UNIT,
)
from detectors.logs import log2
from detectors.tables import POWERS
from detectors.tails import age, fit, least, surprisal
from detectors.tails import count as count_bits
from detectors.weekly import exposure


@inner
def begin(timing: Longs, level: int, end: int, bad: bool) -> None:
    """A new span of a level, up to `end`: what is expected in it, and with which shape."""
    at = level * LEVEL_COLUMNS
    length = i64(SPANS[timing[Y_UNIT] - 1 + level])
    which = Y_BASE if level == LEVELS - 1 else Y_LOCAL
    span = exposure(timing, end - length, end)
    mean = expected(timing, which, span)
    timing[at + L_END] = end
    timing[at + L_COUNT] = 0
    timing[at + L_BAD] = bad
    timing[at + L_MU] = mean
    timing[at + L_NOW] = 0
    timing[at + L_NEXT] = mean >> 8
    if mean == 0:
        return
    poisson = (i64(1) << 24) // mean
    prior = poisson + RATE_KAPPA_PRIOR
    b = timing[at + L_B]
    kappa = (timing[at + L_A] + RATE_PRIOR * prior) // ((b >> 16) + RATE_PRIOR)
    kappa = max(kappa, i64(RATE_KAPPA_LEAST))
    kappa += kappa * RATE_WARM // ((b >> 16) + RATE_WARM)
    kappa += (kappa + poisson) * span // timing[which + 1]
    if level == LEVELS - 1:
        weeks = timing[which + 1] // (24 * HOUR_MS)
        kappa += 65536 // (1 + 4 * weeks)
    timing[at + L_SHAPE] = max((i64(1) << 24) // kappa, i64(1))


@inner
def keep(timing: Longs, level: int, count: int) -> None:
    """Learn a whole span of a level: its dispersion, and what the baselines are made of."""
    at = level * LEVEL_COLUMNS
    mean = timing[at + L_MU]
    bits = timing[at + L_HELD]
    length = i64(SPANS[timing[Y_UNIT] - 1 + level])
    start = timing[at + L_END] - length
    span = exposure(timing, start, start + length)
    odd = mean > 0 and max(bits, -bits) > RATE_ODD
    if mean > 0:
        poisson = (i64(1) << 24) // mean
        kappa = (i64(1) << 24) // timing[at + L_SHAPE]
        off = (min(count << 8, 64 * mean) << 12) // mean - 4096
        square = min((off * off) >> 8, 4 * (kappa + poisson))
        weight = min(mean, i64(1) << 16)
        weight = (weight * weight << 16) // (weight * weight + 65536)
        a = ((square - poisson) * weight) >> 16
        if odd:
            timing[at + L_A_ODD] += a
            timing[at + L_B_ODD] += weight
        else:
            timing[at + L_A] += a + timing[at + L_A_ODD]
            timing[at + L_B] += weight + timing[at + L_B_ODD]
            timing[at + L_A_ODD] = 0
            timing[at + L_B_ODD] = 0
            if timing[at + L_B] > (2 * RATE_MEMORY) << 16:
                timing[at + L_A] >>= 1
                timing[at + L_B] >>= 1
    if level == 0:
        for longer in range(
            1, LEVELS - 1
        ):  # a change that only longer spans show is not learned by shorter ones either
            held = timing[longer * LEVEL_COLUMNS + L_HELD]
            odd = odd or max(held, -held, timing[longer * LEVEL_COLUMNS + L_NOW]) > RATE_ODD
    timing[at + L_ODD] = timing[at + L_ODD] + 1 if odd else 0
    if level == 0:
        remember(timing, Y_LOCAL, count, span, mean, odd, LOCAL_SPANS * length)
        if timing[at + L_ODD] >= ODD_SPANS[0]:
            adopt(timing, Y_LOCAL)
            for k in range(LEVELS - 1):
                forget_odd(timing, k)
    if level == LEVELS - timing[Y_UNIT]:
        hourly(timing, count, start, span)
    if level == LEVELS - 1:
        remember(timing, Y_BASE, count, span, mean, odd, BASE_MS)
        if timing[at + L_ODD] >= ODD_SPANS[level]:
            adopt(timing, Y_BASE)
            forget_odd(timing, level)


@inner
def forget_odd(timing: Longs, level: int) -> None:
    """The odd spans of a level are over."""
    at = level * LEVEL_COLUMNS
    timing[at + L_A_ODD] = 0
    timing[at + L_B_ODD] = 0
    timing[at + L_ODD] = 0


@inner
def log_of(bits: int) -> int:
    """log2(1 + bits), 2^-16."""
    return log2(bits + 65536) - (16 << 16)


@inner
def allowance(timing: Longs, level: int) -> int:
    """Bits, 2^-16, that a level's p gains or loses: one of four kinds and one of four levels looks, and a span that is k times as
    long as the shortest is looked at k times more rarely, so that each level is wrong equally often in time."""
    unit = timing[Y_UNIT] - 1
    return log2(i64(SPANS[unit + level])) - log2(i64(SPANS[unit])) - KIND_SHARE - RATE_SHARE


@inner
def rank_bits(timing: Longs, level: int, bits: int) -> None:
    """Count the bits of a whole span of a level; a run of spans that open an episode counts once, with its most."""
    at = level * LEVEL_COLUMNS
    if bits >= timing[at + L_OPEN] and timing[at + L_OPEN] > 0:
        timing[at + L_PEAK] = max(timing[at + L_PEAK], bits)
        return
    if timing[at + L_PEAK] > 0:
        count_bits(timing, at + L_TAIL, log_of(timing[at + L_PEAK]))
        timing[at + L_PEAK] = 0
    count_bits(timing, at + L_TAIL, log_of(bits))
    n = timing[at + L_TAIL + X_N]
    if n >= TAILS_FROM and n % 16 == 0:
        fit(timing, at + L_TAIL)
        log = least(timing, at + L_TAIL, max(i64(OPEN_SURPRISAL), OPEN_SURPRISAL - allowance(timing, level)))
        timing[at + L_OPEN] = NEVER
        if log < NEVER:
            log = (log >> 11) + 1
            timing[at + L_OPEN] = i64(POWERS[log & 31] << (log >> 5)) - 65536


@inner
def close(timing: Longs, level: int) -> None:
    """A level's span has ended: what it says is held until the next one ends, and learned."""
    at = level * LEVEL_COLUMNS
    count = timing[at + L_COUNT]
    mean = timing[at + L_MU]
    timing[at + L_HELD] = 0
    timing[at + L_RATIO] = 256
    if timing[at + L_BAD]:
        return
    if mean > 0:
        bits = evidence(count << 8, mean, timing[at + L_SHAPE])
        timing[at + L_RATIO] = min((count << 16) // mean, i64(1) << 30)
        timing[at + L_HELD] = bits if count << 8 > mean else -bits
        rank_bits(timing, level, bits)
    keep(timing, level, count)
    if count == 0:
        timing[at + L_HELD] = 0  # nothing at all is silence


@inner
def choose_unit(timing: Longs, now: int) -> None:
    """The ladder that fits: the shortest span holds two events or more in the long run, as far as the ladder goes."""
    elapsed = now - timing[Y_FIRST]
    events = timing[Y_EVENTS]
    unit = 1
    while unit < UNITS and events * SPANS[unit - 1] < 2 * elapsed:
        unit += 1
    held = timing[Y_UNIT]
    if held and (unit == held or (unit < held and events * SPANS[unit - 1] < 8 * elapsed)):
        return
    for i in range(LEVELS * LEVEL_COLUMNS):
        timing[i] = 0
    for i in range(4):
        timing[Y_LOCAL + i] = 0
        timing[Y_BASE + i] = 0
    timing[Y_UNIT] = unit
    restart(timing, now)


@inner
def restart(timing: Longs, now: int) -> None:
    """All spans begin anew within their grid, cut off, so that nothing is learned from them."""
    for level in range(LEVELS):
        length = i64(SPANS[timing[Y_UNIT] - 1 + level])
        timing[level * LEVEL_COLUMNS + L_HELD] = 0
        timing[level * LEVEL_COLUMNS + L_RATIO] = 256
        begin(timing, level, (now // length + 1) * length, True)


@inner
def pass_over(timing: Longs, last: int, now: int) -> None:
    """A silence from `last` to `now` is over: its whole hours had no event, and nothing else is learned of it."""
    hour = last // HOUR_MS + 1
    for _ in range(168):
        if (hour + 1) * HOUR_MS > now:
            break
        hourly(timing, 0, hour * HOUR_MS, exposure(timing, hour * HOUR_MS, (hour + 1) * HOUR_MS))
        hour += 1
    if timing[Y_UNIT]:
        restart(timing, now)


@inner
def grow_older(timing: Longs) -> None:
    """After one, two, four and ever twice as many weeks: what was learned up to then weighs half, and once is forgotten.

    So the days in which the weekly pattern was not known yet, and every border of an hour was a surprise, do not hide later ones.
    """
    for level in range(LEVELS):
        at = level * LEVEL_COLUMNS
        age(timing, at + L_TAIL)
        timing[at + L_A] >>= 1
        timing[at + L_B] >>= 1
    age(timing, G_TAIL)


@inner
def tell_time(timing: Longs, now: int) -> None:
    """An event comes at `now`: end the spans that are over; now and then choose the ladder."""
    if timing[Y_EVENTS] == 0:
        timing[Y_FIRST] = now
        timing[Y_BORN] = now
    timing[Y_EVENTS] += 1
    if timing[Y_EVENTS] % RESCALE_EVERY == 0:
        choose_unit(timing, now)
        if now - timing[Y_FIRST] > 2 * BASE_MS:
            timing[Y_FIRST] = (timing[Y_FIRST] + now) >> 1
            timing[Y_EVENTS] >>= 1
        weeks = (now - timing[Y_BORN]) // (168 * HOUR_MS)
        if weeks >= max(2 * timing[Y_AGED], i64(1)):
            timing[Y_AGED] = weeks
            grow_older(timing)
    if now >= timing[L_END] and timing[Y_UNIT]:
        advance(timing, now)


@inner
def advance(timing: Longs, now: int) -> None:
    """End the spans that are over at `now`."""
    for level in range(LEVELS):
        at = level * LEVEL_COLUMNS
        end = timing[at + L_END]
        if now < end:
            break  # the ends of longer spans are ends of shorter ones
        length = i64(SPANS[timing[Y_UNIT] - 1 + level])
        for _ in range(CATCH_UP):
            close(timing, level)
            begin(timing, level, end + length, False)
            end += length
            if now < end:
                break
        if now >= end:
            begin(timing, level, (now // length + 1) * length, True)


@inner
def score_rate(timing: Longs, halting: bool) -> int:
    """Count an event and say how surprising the rate is, -log2 p in 2^-16; 0 where p is above 1/100.

    `halting`: a silence was told a few events ago; that too few come since is the same finding.
    `Y_SHOWN` gets which level said so, its count, the expected one, its bits, whether p is extrapolated, and from how many.
    """
    best = i64(0)
    if timing[Y_UNIT] == 0:
        return best
    for level in range(LEVELS):
        at = level * LEVEL_COLUMNS
        timing[at + L_COUNT] += 1
        count = timing[at + L_COUNT]
        mean = timing[at + L_MU]
        if mean == 0:
            continue
        if count > timing[at + L_NEXT]:
            timing[at + L_NEXT] = count + (count >> 5)
            timing[at + L_NOW] = evidence(count << 8, mean, timing[at + L_SHAPE])
        held = timing[at + L_HELD]
        bits = max(timing[at + L_NOW], held, -held)
        if timing[at + L_OPEN] == 0 or bits < timing[at + L_OPEN]:
            continue
        ratio = timing[at + L_RATIO]
        if timing[at + L_NOW] >= max(held, -held):
            ratio = (count << 16) // mean
        if (halting and ratio < 256) or (level > 0 and not goes_on(timing, level, ratio)):
            continue
        worth, extrapolated = surprisal(timing, at + L_TAIL, log_of(bits))
        worth += allowance(timing, level)
        if worth <= best:
            continue
        best = worth
        timing[Y_SHOWN] = level
        timing[Y_SHOWN + 1] = (ratio * mean + 32768) >> 16
        timing[Y_SHOWN + 2] = mean
        timing[Y_SHOWN + 3] = bits
        timing[Y_SHOWN + 4] = extrapolated
        timing[Y_SHOWN + 5] = timing[at + L_TAIL + X_N]
    return best


@inner
def goes_on(timing: Longs, level: int, ratio: int) -> bool:
    """Whether what a longer span says (`ratio` of count and mean, 2^-8) is still so: a quarter of it in the last shorter one."""
    at = (level - 1) * LEVEL_COLUMNS
    shorter = timing[at + L_RATIO]
    if ratio <= 256:
        return bool(4 * (256 - shorter) >= 256 - ratio)
    if timing[at + L_MU] > 0:
        shorter = max(shorter, (timing[at + L_COUNT] << 16) // timing[at + L_MU])
    return bool(4 * (shorter - 256) >= ratio - 256)


@inner
def note_rate(head: Longs, timing: Longs) -> None:
    """The row of evidence of what rate said last, after those that are there."""
    n = min(head[H_EVIDENCE_N], i64(EVIDENCE - 1))
    row = H_EVIDENCE + n * EVIDENCE_COLUMNS
    head[row + V_CHANNEL] = V_RATE
    head[row + V_START] = -1
    head[row + V_END] = -1
    head[row + V_BITS] = timing[Y_SHOWN + 3]
    head[row + V_SEEN] = timing[Y_SHOWN + 1]
    head[row + V_OF] = SPANS[timing[Y_UNIT] - 1 + timing[Y_SHOWN]]
    head[row + V_BEFORE] = timing[Y_SHOWN + 2]
    head[row + V_BEFORE_OF] = 0
    head[H_EVIDENCE_N] = n + 1
