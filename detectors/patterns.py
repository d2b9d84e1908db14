"""Kernel that names what an event is told for, so that a person's word on it can be kept: a key and, where there is one, a size.

A key is the kind and a hash of what leads it: the bursting token, the template, the dearest slot with its coarse symbol (or the pair,
or the structure), the leading line of a session, a field and its cause, a span and its direction. A size is how far it went: the
logarithm of a number's distance or of a rate's ratio, the length of a silence. What was said of a key holds up to its size.
"""

from detectors.burst import saving
from detectors.fields import find_field
from detectors.jit import Ints, Longs, i64, inner
from detectors.layout import (
    C_BURST,
    C_STRUCTURE,
    C_TEMPLATE,
    C_TOKENS,
    CH_RATE,
    CH_SILENCE,
    H_ADMITTED,
    H_IN,
    H_LONG,
    H_PATTERN_N,
    H_PATTERNS,
    H_TAUGHT,
    H_TAUGHT_N,
    HALF_HOUR_MS,
    HALF_HOURS,
    IN_MASKS,
    IN_SHIFTS,
    KEY_MASK,
    LINE_KIND,
    LONG_SHIFT,
    N_DAILY,
    N_DAY,
    N_FAST,
    N_LAST,
    N_LATE,
    N_MIDDLE,
    N_RUN,
    N_SLOW,
    N_SPREAD,
    NO_NUMBER,
    NORMAL,
    PATTERNS,
    SESSION_BITS,
    SESSION_ORDER,
    SIZE_SLACK,
    T_COARSE,
    T_NUMBER,
    T_RAW,
    T_SLOT,
    VERDICT_SHIFT,
    W_DAILY,
    W_DRIFT,
    W_MOVE,
    W_SPREAD,
    W_STUCK,
    W_VALUE,
    Y_SHOWN,
    Y_UNIT,
)
from detectors.logs import log2
from detectors.tokens import MASK, mix


@inner
def key_of(kind: int, a: int, b: int) -> int:
    """The key of what leads a kind."""
    return i64((i64(kind + 1) << 32) | mix(mix(i64(a) & MASK, 7), i64(b) & MASK))


@inner
def said_of(head: Longs, key: int, size: int) -> int:
    """What a person said of a pattern: NORMAL, CONFIRMED, or 0."""
    for i in range(head[H_TAUGHT_N]):
        word = i64(head[H_TAUGHT + 2 * i])
        said = word >> VERDICT_SHIFT
        if word & KEY_MASK == key and (said != NORMAL or size <= head[H_TAUGHT + 2 * i + 1] + SIZE_SLACK):
            return said
    return i64(0)


@inner
def usual_silence(head: Longs) -> int:
    """The longest silence that a person called normal, and a quarter more, ms of exposure; 0 for none."""
    normal = key_of(CH_SILENCE, 0, 0) | (NORMAL << VERDICT_SHIFT)
    for i in range(head[H_TAUGHT_N]):
        if head[H_TAUGHT + 2 * i] == normal:
            size = i64(head[H_TAUGHT + 2 * i + 1])
            return size + (size >> 2)
    return i64(0)


@inner
def note_pattern(head: Longs, key: int, size: int) -> None:
    """Keep what the open episode was told for: the first few, each with its largest size."""
    n = head[H_PATTERN_N]
    for i in range(n):
        if head[H_PATTERNS + 2 * i] == key:
            head[H_PATTERNS + 2 * i + 1] = max(head[H_PATTERNS + 2 * i + 1], size)
            return
    if n < PATTERNS:
        head[H_PATTERNS + 2 * n] = key
        head[H_PATTERNS + 2 * n + 1] = size
        head[H_PATTERN_N] = n + 1


@inner
def of_burst(head: Longs, buckets: Longs, burst: Longs, c: Longs, bursting: Longs, pattern: Longs) -> int:
    """The strongest token of the leading window; what was said of any that is nearly as strong."""
    w = bursting[0]
    if w < 0:
        return i64(0)
    events = head[H_IN + w]
    outside = head[H_LONG] - head[H_ADMITTED + w]
    log_events = log2(events)
    log_outside = log2(2 * outside + 2)
    enough = bursting[1] - bursting[1] // 8
    best = i64(-1)
    said = i64(0)
    for j in range(c[C_BURST]):
        word = buckets[burst[j, 0], 0]
        k = (word >> IN_SHIFTS[w]) & IN_MASKS[w]
        a = (word >> LONG_SHIFT) - ((buckets[burst[j, 0], 1] >> IN_SHIFTS[w]) & IN_MASKS[w])
        if k < 2 or 2 * k * (outside + 1) <= (2 * a + 1) * events:
            continue
        bits = saving(k, events, log_events, a, outside, log_outside)
        if bits < enough:
            continue
        key = key_of(0, burst[j, 2], 0)
        said = max(said, said_of(head, key, 0))
        if bits > best:
            best = bits
            pattern[0] = key
    return said


@inner
def of_value(head: Longs, tok: Longs, c: Longs, costs: Longs, pairing: Longs, pattern: Longs) -> int:
    """The dearest slot with its coarse symbol, or the pair or structure where that is dearer; what was said of any nearly as dear."""
    dearest = i64(0)
    for i in range(c[C_TOKENS]):
        dearest = max(dearest, costs[i])
    structure = 2 * costs[len(costs) - 1]
    if structure >= dearest and structure >= pairing[4]:
        pattern[0] = key_of(2, c[C_STRUCTURE], 1)
        return said_of(head, pattern[0], 0)
    if pairing[4] > dearest:
        a = mix(tok[pairing[0], T_SLOT], tok[pairing[0], T_COARSE])
        b = mix(tok[pairing[1], T_SLOT], tok[pairing[1], T_COARSE])
        pattern[0] = key_of(2, a, b)
        return said_of(head, pattern[0], 0)
    said = i64(0)
    for i in range(c[C_TOKENS]):
        if costs[i] < dearest - dearest // 8:
            continue
        key = key_of(2, tok[i, T_SLOT], tok[i, T_RAW] if tok[i, T_NUMBER] > NO_NUMBER else tok[i, T_COARSE])
        said = max(said, said_of(head, key, 0))
        if pattern[0] == 0:
            pattern[0] = key
    return said


@inner
def of_session(head: Longs, kinds: Longs, lines: Longs, session: Longs, pattern: Longs) -> int:
    """The kind of line that leads, and how: missing, often, or out of order."""
    leading = i64(0)
    for which in range(SESSION_BITS):
        if session[which + SESSION_BITS] > session[leading + SESSION_BITS]:
            leading = i64(which)
    k = session[leading]
    line = i64(0)
    if k >= 0:
        line = lines[k, LINE_KIND] if leading == SESSION_ORDER else kinds[k]
    pattern[0] = key_of(3, line, leading)
    return said_of(head, pattern[0], 0)


@inner
def of_number(
    head: Longs, numbers: Longs, histograms: Ints, tok: Longs, counting: Longs, time: int, pattern: Longs
) -> int:
    """The field, its cause and direction; the logarithm of how far it is from where it is compared with."""
    row = counting[0]
    if row < 0:
        return i64(0)
    cause = counting[1]
    f = find_field(numbers, histograms, tok[row, T_SLOT] | 8, False)
    if f < 0:
        return i64(0)
    far = numbers[f, N_LAST] - numbers[f, N_FAST]
    if cause == W_VALUE:
        far = numbers[f, N_LAST] - numbers[f, N_SLOW]
    elif cause == W_MOVE:
        far = numbers[f, N_FAST] - numbers[f, N_MIDDLE]
    elif cause == W_DRIFT:
        far = numbers[f, N_MIDDLE] - numbers[f, N_LATE]
    elif cause == W_SPREAD:
        far = numbers[f, N_SPREAD]
    elif cause == W_DAILY:
        far = numbers[f, N_DAILY] - numbers[f, N_DAY + (time // HALF_HOUR_MS) % HALF_HOURS]
    elif cause == W_STUCK:
        far = numbers[f, N_RUN]
    pattern[0] = key_of(4, tok[row, T_SLOT], 2 * cause + (1 if far < 0 else 0))
    pattern[1] = log2(abs(far) + 1)
    return said_of(head, pattern[0], pattern[1])


@inner
def of_rate(head: Longs, timing: Longs, pattern: Longs) -> int:
    """The length of the span, too many or too few; the logarithm of the ratio of count and mean."""
    ratio = log2((timing[Y_SHOWN + 1] << 8) + 1) - log2(timing[Y_SHOWN + 2] + 1)
    pattern[0] = key_of(CH_RATE, timing[Y_UNIT] + timing[Y_SHOWN], 1 if ratio < 0 else 0)
    pattern[1] = abs(ratio)
    return said_of(head, pattern[0], pattern[1])


@inner
def recognise(
    head: Longs,
    kind: int,
    buckets: Longs,
    numbers: Longs,
    histograms: Ints,
    kinds: Longs,
    timing: Longs,
    tok: Longs,
    lines: Longs,
    burst: Longs,
    c: Longs,
    costs: Longs,
    bursting: Longs,
    pairing: Longs,
    session: Longs,
    counting: Longs,
    time: int,
    pattern: Longs,
) -> int:
    """What was said of what an event is told for, if it is told; `pattern` gets its key (0: none) and its size."""
    pattern[0] = 0
    pattern[1] = 0
    if kind == 0:
        return of_burst(head, buckets, burst, c, bursting, pattern)
    if kind == 1:
        pattern[0] = key_of(1, c[C_TEMPLATE], 0)
        return said_of(head, pattern[0], 0)
    if kind == 2:
        return of_value(head, tok, c, costs, pairing, pattern)
    if kind == 3:
        return of_session(head, kinds, lines, session, pattern)
    if kind == 4:
        return of_number(head, numbers, histograms, tok, counting, time, pattern)
    return of_rate(head, timing, pattern)
