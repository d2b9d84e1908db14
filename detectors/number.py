# ruff: noqa: C901, PLR0912, PLR0915 (one pass with its state in locals: split further, a kernel reads worse)
"""Kernel of the number channel: how many bits a numeric field costs against its own past, as a series.

Each field is a series of scaled integers (14 digits of its first value). Its symbols are the value, the fast mean's distance from
a slower one (twice), the spread around the fast mean and the distance from the same half hour of earlier days, each in half octaves
of the field's slow width; a symbol costs log2((n + 1) / (M + 1/2)), M the mass of symbols at most as frequent. Beside them the
error of the fast mean as predictor (Student's code with 3 degrees of freedom over its usual length) and the run of equal values.
The field's evidence is the root of the mean square of the largest over 32 numbers, plus a quarter of the newest; the event's largest
field counts.
"""

import numpy as np

from detectors.jit import Ints, Longs, i64, inner
from detectors.layout import (
    C_JSON,
    C_TEMPLATE,
    C_TOKENS,
    COUNTS_MAX,
    DIGITS,
    DIGITS_MAX,
    ERROR,
    FIELD_LIFE,
    FIELD_SET,
    FIELDS,
    FINER,
    H_EVENTS,
    H_STEADY,
    H_TEMPLATE,
    HALF_BINS,
    HALF_HOUR_MS,
    HALF_HOURS,
    N_CODE,
    N_COLUMNS,
    N_COUNT,
    N_COUNTER,
    N_DAILY,
    N_DAY,
    N_DOWNS,
    N_ERROR,
    N_FAST,
    N_KEY,
    N_LAST,
    N_LATE,
    N_LIFE,
    N_MIDDLE,
    N_RAW,
    N_RECENT,
    N_RUN,
    N_SAME,
    N_SEEN,
    N_SHIFT,
    N_SLOW,
    N_SPREAD,
    N_STEP,
    N_UPS,
    N_VISIT,
    N_VISIT_COUNT,
    N_VISIT_MEAN,
    N_WIDTH,
    NO_NUMBER,
    NO_SHIFT,
    NUMBER_BINS,
    NUMBER_SETTLED,
    NUMBER_WARM,
    RUN_AT,
    RUN_BINS,
    SLOW,
    STEADY,
    T_EXPONENT,
    T_MANTISSA,
    T_MOVES,
    T_NUMBER,
    T_SLOT,
    TYPICAL,
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
from detectors.tokens import mix

TENS = np.array([10**k for k in range(19)], np.int64)
N_LINEAR = (N_RAW, N_LAST, N_SLOW, N_WIDTH, N_FAST, N_MIDDLE, N_LATE, N_ERROR, N_SPREAD, N_STEP, N_DAILY, N_VISIT_MEAN)
LINEAR = np.array([*N_LINEAR, *range(N_DAY, N_COLUMNS)], np.int64)
"""Columns in the field's own unit, 10^-shift."""


@inner
def digits_of(magnitude: int) -> int:
    """Decimal digits of an int64 >= 0; 0 has none."""
    k = 0
    while k < 19 and magnitude >= TENS[k]:
        k += 1
        if k == 19:
            break
    return k


@inner
def rescaled(numbers: Longs, f: int, power: int) -> None:
    """Multiply (power > 0) or divide the unit's columns by a power of ten."""
    numbers[f, N_SHIFT] += power
    for k in range(len(LINEAR)):
        column = LINEAR[k]
        value = numbers[f, column]
        if power >= 0:
            numbers[f, column] = value * TENS[min(power, 18)]
        elif power <= -18:
            numbers[f, column] = 0
        elif value < 0:
            numbers[f, column] = -(-value // TENS[-power])
        else:
            numbers[f, column] = value // TENS[-power]


@inner
def refine(numbers: Longs, f: int) -> None:
    """A finer unit where the first values were far larger than those that came after."""
    largest = i64(0)
    for k in range(len(LINEAR)):
        largest = max(largest, abs(numbers[f, LINEAR[k]]))
    if 0 < largest < TENS[DIGITS - FINER]:
        rescaled(numbers, f, FINER)


@inner
def floor_of(numbers: Longs, f: int) -> int:
    """The least width that is told from none: 2^-30 of the slow mean, 256 units."""
    return max(numbers[f, N_WIDTH], abs(numbers[f, N_SLOW]) >> 30, i64(256))


@inner
def in_unit(numbers: Longs, f: int, mantissa: int, exponent: int) -> int:
    """mantissa * 10^exponent in the field's unit.

    The first value that is not 0 sets the unit. While the field is new, a larger value makes it coarser; later, what is too large
    is cut to a million widths, so that one freak value cannot make the field blind.
    """
    if mantissa == 0:
        return i64(0)
    magnitude = abs(mantissa)
    digits = digits_of(magnitude)
    if numbers[f, N_SHIFT] == NO_SHIFT:
        numbers[f, N_SHIFT] = DIGITS - digits - exponent
    power = exponent + numbers[f, N_SHIFT]
    if digits + power > DIGITS_MAX:
        if numbers[f, N_COUNT] < NUMBER_SETTLED:
            rescaled(numbers, f, DIGITS - digits - power)
            power = exponent + numbers[f, N_SHIFT]
        else:
            magnitude = TENS[DIGITS_MAX]
            power = i64(0)
    if power >= 0:
        magnitude = magnitude * TENS[min(power, 18)]
    elif power <= -18:
        magnitude = i64(0)
    else:
        magnitude = magnitude // TENS[-power]
    return -magnitude if mantissa < 0 else magnitude


@inner
def find_field(numbers: Longs, histograms: Ints, key: int, make: bool) -> int:
    """Row of a field, -1 if it has none. A new field wears down the least used of its set of 8 and takes its place at 0."""
    first = (mix(key, 17) & (FIELDS // FIELD_SET - 1)) * FIELD_SET
    least = first
    for f in range(first, first + FIELD_SET):
        if numbers[f, N_KEY] == key:
            numbers[f, N_LIFE] = min(numbers[f, N_LIFE] + 1, i64(FIELD_LIFE))
            return f
        if numbers[f, N_LIFE] < numbers[least, N_LIFE]:
            least = f
    if not make:
        return -1
    if numbers[least, N_LIFE] > 0:
        numbers[least, N_LIFE] -= 1
        return -1
    for column in range(N_COLUMNS):
        numbers[least, column] = 0
    numbers[least, N_KEY] = key
    numbers[least, N_LIFE] = 1
    numbers[least, N_SHIFT] = NO_SHIFT
    forget_series(numbers, histograms, least)
    return least


@inner
def forget_series(numbers: Longs, histograms: Ints, f: int) -> None:
    """Begin the field's series anew; its unit and its raw value stay."""
    for column in range(N_COUNT, N_COLUMNS):
        numbers[f, column] = 0
    for j in range(histograms.shape[1]):
        histograms[f, j] = 0


@inner
def step_of(numbers: Longs, histograms: Ints, f: int, raw: int) -> int:
    """What the series is made of: the value, or its steps where the field is a counter, which only grows but for resets.

    Decided after 64, 512 and 4,096 numbers: at least half of the steps up, and no more than one in 32 of them down.
    """
    seen = numbers[f, N_SEEN]
    step = raw - numbers[f, N_RAW] if seen > 0 else i64(0)
    numbers[f, N_SEEN] += 1
    numbers[f, N_RAW] = raw
    if step > 0:
        numbers[f, N_UPS] += 1
    elif step < 0:
        numbers[f, N_DOWNS] += 1
        step = raw if raw > 0 else i64(0)  # a counter that was reset began at 0
    if seen == 64 or seen == 512 or seen == 4096:  # noqa: PLR1714 (numba compiles comparisons better than tuples)
        counter = 1 if 2 * numbers[f, N_UPS] >= seen and 32 * numbers[f, N_DOWNS] <= numbers[f, N_UPS] else 0
        if counter != numbers[f, N_COUNTER]:
            numbers[f, N_COUNTER] = counter
            forget_series(numbers, histograms, f)
    return step if numbers[f, N_COUNTER] else raw


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
    return min(bits, everything)


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
def learn_means(numbers: Longs, f: int, x: int, n: int) -> None:
    """Slow mean and width, the means over 4, 8, 16 and 64 numbers, and the spread; n numbers with this one."""
    slow = min(n, i64(SLOW))
    distance = abs(x - numbers[f, N_SLOW])
    numbers[f, N_SLOW] += (x - numbers[f, N_SLOW]) // slow
    numbers[f, N_WIDTH] += (distance - numbers[f, N_WIDTH]) // slow
    numbers[f, N_SPREAD] += (abs(x - numbers[f, N_MIDDLE]) - numbers[f, N_SPREAD]) // min(n, i64(16))
    numbers[f, N_FAST] += (x - numbers[f, N_FAST]) // min(n, i64(4))
    numbers[f, N_DAILY] += (x - numbers[f, N_DAILY]) // min(n, i64(8))
    numbers[f, N_MIDDLE] += (x - numbers[f, N_MIDDLE]) // min(n, i64(16))
    numbers[f, N_LATE] += (x - numbers[f, N_LATE]) // min(n, i64(64))


@inner
def score_field(numbers: Longs, histograms: Ints, f: int, x: int, time: int, out: Longs) -> int:
    """Evidence of the field's next number, 2^-16 bit; out gets the leading cause and its bits."""
    n = numbers[f, N_COUNT] + 1
    settled = n > NUMBER_SETTLED
    if settled:
        reach = floor_of(numbers, f) << 20 if floor_of(numbers, f) < 1 << 34 else i64(1) << 54
        x = min(max(x, numbers[f, N_SLOW] - reach), numbers[f, N_SLOW] + reach)
    same = n > 1 and x == numbers[f, N_LAST]
    error = abs(x - numbers[f, N_FAST])
    out[0] = -1
    out[1] = 0
    if n > 1:
        code = code_length(error, max(numbers[f, N_ERROR] + (numbers[f, N_STEP] >> 2), floor_of(numbers, f) >> 8))
        if n > NUMBER_WARM and code > numbers[f, N_CODE]:
            out[0] = W_ERROR
            out[1] = code - numbers[f, N_CODE]
        numbers[f, N_CODE] += (code - numbers[f, N_CODE]) // min(n, i64(TYPICAL))
        numbers[f, N_ERROR] += (error - numbers[f, N_ERROR]) // min(n, i64(ERROR))
        numbers[f, N_STEP] += (abs(x - numbers[f, N_LAST]) - numbers[f, N_STEP]) // min(n, i64(ERROR))
    learn_means(numbers, f, x, n)
    numbers[f, N_LAST] = x
    width = floor_of(numbers, f)
    log_width = log2(width)
    bits = symbol_cost(histograms, f, W_VALUE, half_octaves(x - numbers[f, N_SLOW], log_width, width))
    if bits > out[1]:
        out[0] = W_VALUE
        out[1] = bits
    bits = symbol_cost(
        histograms, f, W_MOVE, half_octaves(numbers[f, N_FAST] - numbers[f, N_MIDDLE], log_width, width)
    )
    if bits > out[1]:
        out[0] = W_MOVE
        out[1] = bits
    bits = symbol_cost(
        histograms, f, W_DRIFT, half_octaves(numbers[f, N_MIDDLE] - numbers[f, N_LATE], log_width, width)
    )
    if bits > out[1]:
        out[0] = W_DRIFT
        out[1] = bits
    spread = (log2(numbers[f, N_SPREAD] + (width >> 10) + 1) - log_width + (10 << 16)) >> 15
    bits = symbol_cost(histograms, f, W_SPREAD, min(max(spread, i64(0)), i64(NUMBER_BINS - 1))) - VARIES_MORE
    if bits > out[1]:
        out[0] = W_SPREAD
        out[1] = bits
    bits = daily_cost(numbers, histograms, f, time, log_width, width)
    if bits > out[1]:
        out[0] = W_DAILY
        out[1] = bits
    bits = run_cost(numbers, histograms, f, same)
    if bits > out[1]:
        out[0] = W_STUCK
        out[1] = bits
    numbers[f, N_COUNT] = n
    numbers[f, N_RECENT] += (out[1] * out[1] - numbers[f, N_RECENT]) >> 5
    return square_root(numbers[f, N_RECENT]) + (out[1] >> 2)


@inner
def score_numbers(
    head: Longs, numbers: Longs, histograms: Ints, tok: Longs, c: Longs, time: int, counting: Longs
) -> int:
    """Evidence of the event's largest field, 2^-16 bit; counting gets its row in `tok` or -1, the cause and the bits.

    In an event with words a number counts where the stream's form hardly ever changes (a metric) or the field moves like a series;
    a field gets its row when that is first so.
    """
    counting[0] = -1
    counting[1] = -1
    counting[2] = 0
    if not c[C_JSON]:
        return i64(0)
    same = 1 << 16 if c[C_TEMPLATE] == head[H_TEMPLATE] else 0
    head[H_STEADY] += (same - head[H_STEADY]) // min(head[H_EVENTS], i64(64))
    head[H_TEMPLATE] = c[C_TEMPLATE]
    steady = head[H_EVENTS] > 8 and head[H_STEADY] >= STEADY
    largest = i64(0)
    out = np.zeros(2, np.int64)
    for i in range(c[C_TOKENS]):
        if tok[i, T_NUMBER] == NO_NUMBER:
            continue
        counts = steady or tok[i, T_MOVES] != 0
        f = find_field(numbers, histograms, tok[i, T_SLOT] | 8, counts)
        if f < 0:
            continue
        if numbers[f, N_SEEN] & 63 == 63:
            refine(numbers, f)
        raw = in_unit(numbers, f, tok[i, T_MANTISSA], tok[i, T_EXPONENT])
        x = step_of(numbers, histograms, f, raw)
        evidence = score_field(numbers, histograms, f, x, time, out)
        if counts and evidence > largest:
            largest = evidence
            counting[0] = i
            counting[1] = out[0]
            counting[2] = out[1]
    return largest
