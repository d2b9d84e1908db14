"""Kernels that keep a numeric field's row: found by its path, in a unit of its own, as a series of values or of a counter's steps."""

import numpy as np

from detectors.jit import Ints, Longs, i64, inner
from detectors.layout import (
    COUNTER_DIGITS,
    DIGITS,
    DIGITS_MAX,
    FIELD_LIFE,
    FIELD_SET,
    FIELDS,
    FINER,
    H_EVENTS,
    H_STEADY,
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
    N_SEEN,
    N_SHIFT,
    N_SLOW,
    N_SPREAD,
    N_STEP,
    N_UPS,
    N_VISIT_MEAN,
    N_WIDTH,
    NO_SHIFT,
    NUMBER_SETTLED,
    STEADY_AFTER,
    WIDTH_DIGITS,
)
from detectors.tokens import mix

TENS = np.array([10**k for k in range(19)], np.int64)
N_LINEAR = (N_RAW, N_LAST, N_SLOW, N_WIDTH, N_FAST, N_MIDDLE, N_LATE, N_ERROR, N_SPREAD, N_STEP, N_DAILY, N_VISIT_MEAN)
LINEAR = np.array([*N_LINEAR, *range(N_DAY, N_COLUMNS)], np.int64)
"""Columns in the field's own unit, 10^-shift."""


@inner
def is_metric(head: Longs) -> bool:
    """Whether seven of eight events had the form of the one before, ever since the stream began: no flood makes a log a metric."""
    return bool(head[H_EVENTS] > STEADY_AFTER and 8 * head[H_STEADY] >= 7 * head[H_EVENTS])


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
def refine(numbers: Longs, histograms: Ints, f: int) -> None:
    """A finer unit, every 64 numbers, where all is small; after the first 64 the series begins anew if only its start was large."""
    if numbers[f, N_SEEN] & 63 != 63:
        return
    small = TENS[DIGITS - FINER]
    largest = i64(0)
    for k in range(len(LINEAR)):
        largest = max(largest, abs(numbers[f, LINEAR[k]]))
    if 0 < largest < small:
        rescaled(numbers, f, FINER)
    elif (
        numbers[f, N_SEEN] == 63
        and max(abs(numbers[f, N_FAST]), abs(numbers[f, N_LAST])) < small
        and numbers[f, N_WIDTH] >= 100 * small
    ):
        numbers[f, N_SHIFT] = NO_SHIFT
        forget_series(numbers, histograms, f)


@inner
def floor_of(numbers: Longs, f: int) -> int:
    """The least width that is told from none: 2^-30 of the slow mean, 256 units."""
    return i64(max(numbers[f, N_WIDTH], abs(numbers[f, N_SLOW]) >> 30, i64(256)))


@inner
def in_unit(numbers: Longs, f: int, mantissa: int, exponent: int) -> int:
    """mantissa * 10^exponent in the field's unit.

    The first value that is not 0 sets the unit, a larger one makes it coarser. But the slow width (of a counter's steps) keeps some
    digits, and what is too large then is cut: one freak value cannot make the field blind.
    """
    if mantissa == 0:
        return i64(0)
    magnitude = abs(mantissa)
    digits = digits_of(magnitude)
    if numbers[f, N_SHIFT] == NO_SHIFT:
        numbers[f, N_SHIFT] = DIGITS - digits - exponent
    power = exponent + numbers[f, N_SHIFT]
    if digits + power > DIGITS_MAX:
        coarser = digits + power - DIGITS
        if numbers[f, N_COUNT] >= NUMBER_SETTLED:
            keep = COUNTER_DIGITS if numbers[f, N_COUNTER] else WIDTH_DIGITS
            coarser = min(coarser, digits_of(floor_of(numbers, f)) - keep)
        if coarser > 0:
            rescaled(numbers, f, -coarser)
            power = exponent + numbers[f, N_SHIFT]
        if digits + power > DIGITS_MAX:
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
