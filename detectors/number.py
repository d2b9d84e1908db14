"""Kernel of the number channel: how many bits a numeric field costs against its own past, as a series.

Each field is a series of scaled integers (14 digits of its first value). Its symbols are the value, the fast mean's distance from
a slower one (twice), the spread around the fast mean and the distance from the same half hour of earlier days, each in half octaves
of the field's slow width; a symbol costs log2((n + 1) / (M + 1/2)), M the mass of symbols at most as frequent. Beside them the
error of the fast mean as predictor (Student's code with 3 degrees of freedom over its usual length) and the run of equal values.
The field's evidence is the length of all these as one vector, its root mean square over 32 numbers plus a quarter of the newest; the
event's largest field counts.
"""

import numpy as np

from detectors.fields import find_field, floor_of, in_unit, is_metric, refine, step_of
from detectors.jit import Ints, Longs, i64, inner
from detectors.layout import (
    C_JSON,
    C_TEMPLATE,
    C_TOKENS,
    COUNTS_MAX,
    ERROR,
    EVIDENCE,
    EVIDENCE_COLUMNS,
    H_EVIDENCE,
    H_EVIDENCE_N,
    H_STEADY,
    H_TEMPLATE,
    HALF_BINS,
    HALF_HOUR_MS,
    HALF_HOURS,
    N_CODE,
    N_COUNT,
    N_COUNTER,
    N_DAILY,
    N_DAY,
    N_ERROR,
    N_FAST,
    N_LAST,
    N_LATE,
    N_MIDDLE,
    N_MOVED,
    N_RECENT,
    N_RUN,
    N_SAME,
    N_SEEN,
    N_SHIFT,
    N_SLOW,
    N_SPREAD,
    N_STEP,
    N_VISIT,
    N_VISIT_COUNT,
    N_VISIT_MEAN,
    N_WIDTH,
    NO_NUMBER,
    NUMBER_BINS,
    NUMBER_SETTLED,
    NUMBER_WARM,
    RUN_AT,
    RUN_BINS,
    SLOW,
    T_END,
    T_EXPONENT,
    T_MANTISSA,
    T_MOVES,
    T_NUMBER,
    T_SLOT,
    T_START,
    TYPICAL,
    V_BEFORE,
    V_BEFORE_OF,
    V_BITS,
    V_CHANNEL,
    V_END,
    V_NUMBER,
    V_OF,
    V_SEEN,
    V_START,
    VARIES_MORE,
    VISITS_AT,
    W_DAILY,
    W_DRIFT,
    W_ERROR,
    W_MOVE,
    W_SPREAD,
    W_STUCK,
    W_VALUE,
)
from detectors.logs import log2
from detectors.tables import BIT, POWERS


@inner
def half_octaves(distance: int, log_width: int, width: int) -> int:
    """Symbol of a signed distance: half octaves of 1 + 4 * distance / width, from -20 to 19 as 0 to 39."""
    y = min((log2(width + 4 * abs(distance)) - log_width) >> 15, i64(HALF_BINS - 1))
    return HALF_BINS + y if distance >= 0 else HALF_BINS - y


@inner
def symbol_cost(histograms: Ints, f: int, which: int, symbol: int) -> int:
    """log2((n + 1) / (M + 1/2)) of a symbol after n, and count it; 0 for the first 32."""
    first = which * NUMBER_BINS
    count = i64(histograms[f, first + symbol])
    n = i64(0)
    mass = i64(0)
    for b in range(first, first + NUMBER_BINS):
        seen = i64(histograms[f, b])
        n += seen
        if seen <= count:
            mass += seen
    if n >= COUNTS_MAX:
        for b in range(first, first + NUMBER_BINS):
            histograms[f, b] >>= 1
    histograms[f, first + symbol] += 1
    return log2(2 * n + 2) - log2(2 * mass + 1) if n >= NUMBER_WARM else i64(0)


@inner
def code_length(error: int, scale: int) -> int:
    """-log2 of Student's density with 3 degrees of freedom at an error, but for a constant."""
    bits = log2(scale)
    while error >= 1 << 29 or scale >= 1 << 29:
        error >>= 4
        scale >>= 4
    scale = max(scale, i64(1))
    square = 3 * scale * scale
    return bits + 2 * (log2(square + error * error) - log2(square))


@inner
def square_root(square: int) -> int:
    """floor of the root of an int64 >= 0, by Newton's steps from above."""
    if square < 1:
        return i64(0)
    root = i64(1) << ((log2(square) >> 17) + 1)
    while True:
        better = (root + square // root) >> 1
        if better >= root:
            return root
        root = better


@inner
def run_cost(numbers: Longs, histograms: Ints, f: int, same: bool) -> int:
    """Bits that a longest-ever run of equal values saves against the field's own share of repeats, at most log2 (n + 1)."""
    n = numbers[f, N_COUNT]
    run = numbers[f, N_RUN]
    if not same:
        if run > 0:
            histograms[f, RUN_AT + min(log2(run) >> 15, i64(RUN_BINS - 1))] += 1
            numbers[f, N_RUN] = 0
        return i64(0)
    run += 1
    numbers[f, N_RUN] = run
    everything = log2(n + 1)
    bits = run * (log2(2 * n + 2) - log2(2 * numbers[f, N_SAME] + 1)) - everything
    numbers[f, N_SAME] += 1
    if n < NUMBER_WARM or bits <= 0:
        return i64(0)
    for b in range(min(log2(run) >> 15, i64(RUN_BINS - 1)), RUN_BINS):
        if histograms[f, RUN_AT + b] > 0:
            return i64(0)
    return i64(min(bits, everything))


@inner
def daily_cost(numbers: Longs, histograms: Ints, f: int, time: int, log_width: int, width: int) -> int:
    """Cost of the distance from the same half hour's mean on earlier days, once there were two."""
    slot = (time // HALF_HOUR_MS) % HALF_HOURS
    before = numbers[f, N_VISIT]
    if slot != before:
        if numbers[f, N_VISIT_COUNT] > 0:
            visits = min(i64(histograms[f, VISITS_AT + before]) + 1, i64(8))
            histograms[f, VISITS_AT + before] = visits
            numbers[f, N_DAY + before] += (numbers[f, N_VISIT_MEAN] - numbers[f, N_DAY + before]) // visits
        numbers[f, N_VISIT] = slot
        numbers[f, N_VISIT_COUNT] = 0
    count = numbers[f, N_VISIT_COUNT] + 1
    numbers[f, N_VISIT_COUNT] = count
    numbers[f, N_VISIT_MEAN] += (numbers[f, N_DAILY] - numbers[f, N_VISIT_MEAN]) // count
    if histograms[f, VISITS_AT + slot] < 2:
        return i64(0)
    distance = numbers[f, N_DAILY] - numbers[f, N_DAY + slot]
    return symbol_cost(histograms, f, W_DAILY, half_octaves(distance, log_width, width))


@inner
def learn_means(numbers: Longs, f: int, x: int, n: int, most: int) -> None:
    """Slow mean and width, the means over 4, 8, 16 and 64 numbers, and the spread; n numbers with this one.

    What is slow learns at most `most`, 256 widths, so that one freak value does not blind it; a real change widens it in a few events.
    """
    slow = min(n, i64(SLOW))
    distance = min(max(x - numbers[f, N_SLOW], -most), most)
    numbers[f, N_SLOW] += distance // slow
    numbers[f, N_WIDTH] += (abs(distance) - numbers[f, N_WIDTH]) // slow
    numbers[f, N_SPREAD] += (abs(x - numbers[f, N_MIDDLE]) - numbers[f, N_SPREAD]) // min(n, i64(16))
    numbers[f, N_FAST] += (x - numbers[f, N_FAST]) // min(n, i64(4))
    numbers[f, N_DAILY] += (x - numbers[f, N_DAILY]) // min(n, i64(8))
    numbers[f, N_MIDDLE] += (x - numbers[f, N_MIDDLE]) // min(n, i64(16))
    numbers[f, N_LATE] += (x - numbers[f, N_LATE]) // min(n, i64(64))


@inner
def lead(out: Longs, cause: int, bits: int) -> int:
    """The square of a cause's bits, none below 0; the largest so far is kept in out."""
    if bits <= 0:
        return i64(0)
    if bits > out[1]:
        out[0] = cause
        out[1] = bits
    return bits * bits


@inner
def score_field(numbers: Longs, histograms: Ints, f: int, x: int, time: int, out: Longs) -> int:
    """Evidence of the field's next number, 2^-16 bit; out gets the leading cause and its bits."""
    n = numbers[f, N_COUNT] + 1
    most = i64(1) << 54
    if n > NUMBER_SETTLED:
        reach = min(floor_of(numbers, f), i64(1) << 34) << 20
        x = min(max(x, numbers[f, N_SLOW] - reach), numbers[f, N_SLOW] + reach)
        most = min(floor_of(numbers, f), i64(1) << 46) << 8
    same = n > 1 and x == numbers[f, N_LAST]
    error = abs(x - numbers[f, N_FAST])
    out[0] = -1
    out[1] = 0
    squares = i64(0)
    if n > 1:
        code = code_length(error, max(numbers[f, N_ERROR] + (numbers[f, N_STEP] >> 2), floor_of(numbers, f) >> 8))
        if n > NUMBER_WARM:
            squares += lead(out, W_ERROR, code - numbers[f, N_CODE])
        numbers[f, N_CODE] += (code - numbers[f, N_CODE]) // min(n, i64(TYPICAL))
        numbers[f, N_ERROR] += (min(error, most) - numbers[f, N_ERROR]) // min(n, i64(ERROR))
        numbers[f, N_STEP] += (min(abs(x - numbers[f, N_LAST]), most) - numbers[f, N_STEP]) // min(n, i64(ERROR))
    learn_means(numbers, f, x, n, most)
    numbers[f, N_LAST] = x
    width = floor_of(numbers, f)
    log_width = log2(width)
    symbol = half_octaves(x - numbers[f, N_SLOW], log_width, width)
    squares += lead(out, W_VALUE, symbol_cost(histograms, f, W_VALUE, symbol))
    symbol = half_octaves(numbers[f, N_FAST] - numbers[f, N_MIDDLE], log_width, width)
    squares += lead(out, W_MOVE, symbol_cost(histograms, f, W_MOVE, symbol))
    symbol = half_octaves(numbers[f, N_MIDDLE] - numbers[f, N_LATE], log_width, width)
    squares += lead(out, W_DRIFT, symbol_cost(histograms, f, W_DRIFT, symbol))
    spread = (log2(numbers[f, N_SPREAD] + (width >> 10) + 1) - log_width + (10 << 16)) >> 15
    symbol = min(max(spread, i64(0)), i64(NUMBER_BINS - 1))
    squares += lead(out, W_SPREAD, symbol_cost(histograms, f, W_SPREAD, symbol) - VARIES_MORE)
    squares += lead(out, W_DAILY, daily_cost(numbers, histograms, f, time, log_width, width))
    squares += lead(out, W_STUCK, run_cost(numbers, histograms, f, same))
    numbers[f, N_COUNT] = n
    numbers[f, N_RECENT] += (squares - numbers[f, N_RECENT]) >> 5
    return square_root(numbers[f, N_RECENT]) + (square_root(squares) >> 2)


@inner
def score_numbers(
    head: Longs, numbers: Longs, histograms: Ints, tok: Longs, c: Longs, time: int, counting: Longs
) -> int:
    """Evidence of the event's largest field, 2^-16 bit; counting gets its row in `tok` or -1, the cause and the bits.

    A number counts where the stream is a metric, or where the field moved like a series in three of four numbers since it got its
    row; it gets that when it first does either.
    """
    counting[0] = -1
    counting[1] = -1
    counting[2] = 0
    if not c[C_JSON]:
        return i64(0)
    if c[C_TEMPLATE] == head[H_TEMPLATE]:
        head[H_STEADY] += 1
    head[H_TEMPLATE] = c[C_TEMPLATE]
    steady = is_metric(head)
    largest = i64(0)
    out = np.zeros(2, np.int64)
    for i in range(c[C_TOKENS]):
        if tok[i, T_NUMBER] <= NO_NUMBER:
            continue
        moves = tok[i, T_MOVES]
        f = find_field(numbers, histograms, tok[i, T_SLOT] | 8, steady or moves != 0)
        if f < 0:
            continue
        numbers[f, N_MOVED] += moves
        counts = steady or 4 * numbers[f, N_MOVED] >= 3 * numbers[f, N_SEEN] + 48
        refine(numbers, histograms, f)
        raw = in_unit(numbers, f, tok[i, T_MANTISSA], tok[i, T_EXPONENT])
        x = step_of(numbers, histograms, f, raw)
        evidence = score_field(numbers, histograms, f, x, time, out)
        if counts and evidence > largest:
            largest = evidence
            counting[0] = i
            counting[1] = out[0]
            counting[2] = out[1]
    return largest


@inner
def edge(half_octave: int, width: int, shift: int) -> int:
    """width * (2^(half_octave / 2) - 1) / 2^shift."""
    power = min((POWERS[16 * half_octave & 31] << (half_octave >> 1)) - 65536, i64(1) << 34)
    if width < 1 << 26:
        return i64((width * power) >> (16 + shift))
    return i64(((width >> 26) * power >> shift) << 10)


@inner
def side(symbol: int, width: int, outer: int) -> int:
    """The lower (0) or upper (1) end of the distances that share a symbol."""
    if symbol > HALF_BINS:
        return edge(symbol - HALF_BINS + outer, width, 2)
    if symbol < HALF_BINS:
        return -edge(HALF_BINS - symbol + 1 - outer, width, 2)
    return edge(1, width, 2) if outer else -edge(1, width, 2)


@inner
def quantile(histograms: Ints, f: int, which: int, part: int) -> int:
    """The symbol at part / 20 of what was seen."""
    first = which * NUMBER_BINS
    n = i64(0)
    for b in range(NUMBER_BINS):
        n += i64(histograms[f, first + b])
    seen = i64(0)
    for b in range(NUMBER_BINS):
        seen += i64(histograms[f, first + b])
        if 20 * seen >= part * n and seen > 0:
            return i64(b)
    return i64(NUMBER_BINS - 1)


@inner
def note_number(
    head: Longs, numbers: Longs, histograms: Ints, tok: Longs, counting: Longs, time: int, start: int, size: int
) -> None:
    """One row of evidence for the number that leads: what it is now, and what is usual, in the field's unit.

    V_SEEN holds the cause, whether it is a counter (8) and 16 times (shift + 2,048); V_OF, V_BEFORE, V_BEFORE_OF the numbers that
    `evidence.py` names.
    """
    row = counting[0]
    cause = counting[1]
    if row < 0 or counting[2] < BIT or tok[row, T_END] - start > size:
        return
    f = find_field(numbers, histograms, tok[row, T_SLOT] | 8, False)
    if f < 0:
        return
    width = floor_of(numbers, f)
    a = numbers[f, N_LAST]
    b = numbers[f, N_SLOW] + side(quantile(histograms, f, W_VALUE, 1), width, 0)
    c = numbers[f, N_SLOW] + side(quantile(histograms, f, W_VALUE, 19), width, 1)
    if cause == W_MOVE or cause == W_DRIFT:  # noqa: PLR1714, SIM109 (numba compiles comparisons better than tuples)
        a = numbers[f, N_FAST] if cause == W_MOVE else numbers[f, N_MIDDLE]
        b = numbers[f, N_MIDDLE] if cause == W_MOVE else numbers[f, N_LATE]
        c = max(-side(quantile(histograms, f, cause, 1), width, 0), side(quantile(histograms, f, cause, 19), width, 1))
    elif cause == W_DAILY:
        a = numbers[f, N_DAILY]
        b = numbers[f, N_DAY + (time // HALF_HOUR_MS) % HALF_HOURS]
        c = max(-side(quantile(histograms, f, cause, 1), width, 0), side(quantile(histograms, f, cause, 19), width, 1))
    elif cause == W_SPREAD:
        a = numbers[f, N_SPREAD]
        b = edge(quantile(histograms, f, cause, 1), width, 10)
        c = edge(quantile(histograms, f, cause, 19) + 1, width, 10)
    elif cause == W_STUCK:
        a = numbers[f, N_RUN]
        b = i64(0)
        for k in range(RUN_BINS):
            if histograms[f, RUN_AT + k] > 0:
                b = edge(k + 1, i64(1), 0) + 1
        c = numbers[f, N_LAST]
    n = head[H_EVIDENCE_N]
    if n == EVIDENCE:
        n -= 1
    at = H_EVIDENCE + n * EVIDENCE_COLUMNS
    head[at + V_CHANNEL] = V_NUMBER
    head[at + V_START] = tok[row, T_START] - start
    head[at + V_END] = tok[row, T_END] - start
    head[at + V_BITS] = counting[2]
    head[at + V_SEEN] = cause + 8 * numbers[f, N_COUNTER] + 16 * (numbers[f, N_SHIFT] + 2048)
    head[at + V_OF] = a
    head[at + V_BEFORE] = b
    head[at + V_BEFORE_OF] = c
    head[H_EVIDENCE_N] = n + 1
