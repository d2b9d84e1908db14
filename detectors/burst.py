"""Kernel of the burst channel: does a token have a larger share of the last 8, 128 or 2,048 events than ever before?

bits = W * KL(r || f), r the token's share of the window, f its share of all admitted events outside (one half added), where
r > f; the event's worst token counts. That is the saving, in bits, of a code fitted to the window over the baseline's code.
"""

from detectors.jit import Ints, Longs, Shorts, i64, inner
from detectors.layout import (
    BUCKETS,
    C_BURST,
    CONTEXTS,
    H_ADMITTED,
    H_CODE,
    H_EVENT_AT,
    H_EVENTS,
    H_IN,
    H_LONG,
    H_RING_AT,
    H_RING_USED,
    IN_MASKS,
    IN_SHIFTS,
    LONG_MAX,
    LONG_SHIFT,
    LOW24,
    N_WINDOWS,
    RING,
    RING_EVENTS,
    STAMP_SHIFT,
    WINDOWS,
)
from detectors.logs import log2
from detectors.scales import admit, scaled
from detectors.tokens import MASK


@inner
def unique(head: Longs, buckets: Longs, burst: Longs, c: Longs) -> None:
    """Turn hashes into buckets and drop those that repeat within the event; column 2 keeps the hash."""
    stamp = (head[H_EVENTS] & 0xFFFFFFFF) << STAMP_SHIFT
    n = 0
    for i in range(c[C_BURST]):
        bucket = burst[i, 0] & (BUCKETS - 1)
        word = buckets[bucket, 1]
        if word & ~LOW24 != stamp:
            buckets[bucket, 1] = (word & LOW24) | stamp
            burst[n, 2] = burst[i, 0]
            burst[n, 0] = bucket
            burst[n, 1] = burst[i, 1]
            n += 1
    c[C_BURST] = n


@inner
def is_category(contexts: Longs, context: int, value: int) -> bool:
    """Learn a number in its context (the word before it, or its path); whether its values were a category there before.

    A category returns to its few values: d different ones in at least d^2 changes, at most 32 of 64 hashed. A clock changes
    d times, and an identifier's values are many.
    """
    at = context & (CONTEXTS - 1)
    seen = contexts[at, 0]
    word = contexts[at, 1]
    changes = word & MASK
    different = 1 if seen < 0 else 0
    bits = seen & ((1 << 63) - 1)
    while bits != 0:
        bits &= bits - 1
        different += 1
    contexts[at, 0] = seen | (i64(1) << (value >> 8 & 63))
    if (word >> 32) != (value & 0x7FFFFFFF):
        contexts[at, 1] = ((value & 0x7FFFFFFF) << 32) | min(changes + 1, i64(MASK))
    return different <= 32 and different * different <= changes


@inner
def choose(contexts: Longs, burst: Longs, c: Longs) -> None:
    """Drop the numbers that are no category in their context."""
    n = 0
    for i in range(c[C_BURST]):
        if burst[i, 2] < 0 or is_category(contexts, burst[i, 2], burst[i, 0]):
            burst[n, 0] = burst[i, 0]
            burst[n, 1] = burst[i, 1]
            n += 1
    c[C_BURST] = n


@inner
def leave(head: Longs, buckets: Longs, ring: Shorts, places: Ints, w: int) -> None:
    """The oldest event leaves window w."""
    oldest = head[H_EVENT_AT] - head[H_IN + w]
    place = i64(places[oldest & (RING_EVENTS - 1)])
    at = place & (RING - 1)
    length = (place >> 15) & 0xFF
    admitted = place >> 23
    for j in range(length):
        bucket = i64(ring[(at + j) & (RING - 1)])
        buckets[bucket, 0] -= i64(1) << IN_SHIFTS[w]
        if admitted:
            buckets[bucket, 1] -= i64(1) << IN_SHIFTS[w]
    head[H_IN + w] -= 1
    head[H_ADMITTED + w] -= admitted
    if w == N_WINDOWS - 1:
        head[H_RING_USED] -= length


@inner
def enter(head: Longs, buckets: Longs, ring: Shorts, places: Ints, burst: Longs, n: int) -> None:
    """The event enters every window; the windows' oldest leave. A ring without room shortens the windows."""
    for w in range(N_WINDOWS):
        while head[H_IN + w] >= WINDOWS[w]:
            leave(head, buckets, ring, places, w)
    while head[H_RING_USED] + n > RING:
        for w in range(N_WINDOWS - 1):
            if head[H_IN + w] == head[H_IN + N_WINDOWS - 1]:
                leave(head, buckets, ring, places, w)
        leave(head, buckets, ring, places, N_WINDOWS - 1)
    at = head[H_RING_AT]
    for j in range(n):
        bucket = burst[j, 0]
        ring[(at + j) & (RING - 1)] = bucket
        buckets[bucket, 0] += (1 << IN_SHIFTS[0]) + (1 << IN_SHIFTS[1]) + (1 << IN_SHIFTS[2])
    places[head[H_EVENT_AT] & (RING_EVENTS - 1)] = at | (n << 15)
    head[H_EVENT_AT] += 1
    head[H_RING_AT] = (at + n) & (RING - 1)
    head[H_RING_USED] += n
    for w in range(N_WINDOWS):
        head[H_IN + w] += 1


@inner
def saving(k: int, size: int, log_size: int, a: int, outside: int, log_outside: int) -> int:
    """size * KL in bits, 2^-16, for k of `size` events against a of `outside`; logs are log2 size and log2 (2 * outside + 2)."""
    bits = k * (log2(k) - log_size - log2(2 * a + 1) + log_outside)
    if k < size:
        bits += (size - k) * (log2(size - k) - log_size - log2(2 * (outside - a) + 1) + log_outside)
    return bits


@inner
def score_burst(
    head: Longs, buckets: Longs, contexts: Longs, ring: Shorts, places: Ints, burst: Longs, c: Longs, evidence: Longs
) -> int:
    """z of the event (the larger of mean and median of the windows), 2^-16; `evidence` gets the leading window, or -1, its bits and token."""
    choose(contexts, burst, c)
    unique(head, buckets, burst, c)
    n = c[C_BURST]
    enter(head, buckets, ring, places, burst, n)
    total = i64(0)
    old_enough = 0
    largest = i64(0)
    least = i64(1) << 40
    evidence[0] = -1
    evidence[1] = 0
    evidence[2] = 0
    code = i64(0)
    everything = log2(2 * head[H_LONG] + 2)
    for j in range(n):
        code += everything - log2(2 * (buckets[burst[j, 0], 0] >> LONG_SHIFT) + 1)
    head[H_CODE] = code
    for w in range(N_WINDOWS):
        size = head[H_IN + w]
        outside = head[H_LONG] - head[H_ADMITTED + w]
        if outside < size or size < WINDOWS[0]:
            continue
        old_enough += 1
        worst = i64(0)
        leading = i64(0)
        log_size = log2(size)
        log_outside = log2(2 * outside + 2)
        for j in range(n):
            bucket = burst[j, 0]
            k = (buckets[bucket, 0] >> IN_SHIFTS[w]) & IN_MASKS[w]
            a = (buckets[bucket, 0] >> LONG_SHIFT) - ((buckets[bucket, 1] >> IN_SHIFTS[w]) & IN_MASKS[w])
            if k < 2 or 2 * k * (outside + 1) <= (2 * a + 1) * size:
                continue
            bits = saving(k, size, log_size, a, outside, log_outside)
            if bits > worst:
                worst = bits
                leading = bucket + 1
        z = scaled(head, w, worst)
        admit(head, w, worst, z)
        total += z
        if z > largest:
            largest = z
            evidence[0] = w
            evidence[1] = worst
            evidence[2] = leading
        least = min(least, z)
    if old_enough == N_WINDOWS:
        return max(total // old_enough, total - largest - least)  # seen by two windows it counts whole, by one a third
    return total // old_enough if old_enough else total


@inner
def learn_burst(head: Longs, buckets: Longs, ring: Shorts, places: Ints, n: int) -> None:
    """The newest event, of n tokens, counts in the baseline."""
    at = head[H_RING_AT] - n
    for j in range(n):
        bucket = i64(ring[(at + j) & (RING - 1)])
        buckets[bucket, 0] += i64(1) << LONG_SHIFT
        buckets[bucket, 1] += (1 << IN_SHIFTS[0]) + (1 << IN_SHIFTS[1]) + (1 << IN_SHIFTS[2])
    places[(head[H_EVENT_AT] - 1) & (RING_EVENTS - 1)] |= 1 << 23
    head[H_LONG] += 1
    for w in range(N_WINDOWS):
        head[H_ADMITTED + w] += 1
    if head[H_LONG] >= LONG_MAX:
        fade(head, buckets, 1)


@inner
def fade(head: Longs, buckets: Longs, halvings: int) -> None:
    """Halve the baseline's counts outside the largest window, so that newer events weigh more."""
    last = N_WINDOWS - 1
    for bucket in range(BUCKETS):
        word = buckets[bucket, 0]
        inside = (buckets[bucket, 1] >> IN_SHIFTS[last]) & IN_MASKS[last]
        outside = (word >> LONG_SHIFT) - inside
        buckets[bucket, 0] = (word & LOW24) | (((outside >> halvings) + inside) << LONG_SHIFT)
    outside = head[H_LONG] - head[H_ADMITTED + last]
    head[H_LONG] = (outside >> halvings) + head[H_ADMITTED + last]
