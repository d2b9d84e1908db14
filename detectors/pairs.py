"""Kernel of pairs: two symbols, each common in its slot, that never stood in one event before.

An unseen pair of a (n events held it, with m different partners in the other slot) and b costs the smaller of
log2((n + 1) / (m + 1/2)) of both: a new partner is dear where partners are few (the escape
of PPM's method C; Moffat, 1990), and only what both sides find surprising counts, since a rare symbol meets many for the first time. The cost is
capped by how often that pair of slots gave as many bits before. A symbol that was seen once could only say two bits, and most of such
symbols never come back: they join from the third time on, so the filters hold what can speak. Which pairs were seen is kept in two generations of one-bit
filters; a collision can only hide a new pair.
"""

from detectors.jit import Bytes, Longs, Shorts, i64, inner
from detectors.layout import (
    H_PAIR_N,
    J_COUNT,
    J_ROW,
    J_SLOT,
    J_SYMBOL,
    PAIR_BINS,
    PAIR_COLUMNS,
    PAIR_LEAST,
    PAIR_ROWS,
    PARTNERS,
)
from detectors.logs import log2
from detectors.tables import BIT
from detectors.tokens import mix


@inner
def surprise(partners: Bytes, symbol: int, slot: int, count: int) -> int:
    """log2((n + 1) / (m + 1/2)), 2^-16 bit, of a symbol that meets a new partner in another slot; the partner is counted.

    m is the smaller of two hashed counters (count-min with conservative update; Estan, Varghese, 2002), at most 255.
    """
    h = mix(symbol, slot)
    at = h & (PARTNERS - 1)
    too = (h >> 16) & (PARTNERS - 1)
    met = min(i64(partners[at]), i64(partners[too]))
    if met < 0xFF:
        if partners[at] == met:
            partners[at] = met + 1
        if partners[too] == met:
            partners[too] = met + 1
    return log2(2 * count + 2) - log2(2 * met + 1)


@inner
def capped(tails: Shorts, row: int, bits: int, n: int) -> int:
    """At most log2((n + 1) / (t + 1/2)), t the times this pair of slots gave as many bits; this time is counted."""
    bin_ = min(bits >> 16, PAIR_BINS - 1)
    seen = i64(0)
    for k in range(bin_, PAIR_BINS):
        seen += i64(tails[row * PAIR_COLUMNS + k])
    if tails[row * PAIR_COLUMNS + bin_] < 0xFFFF:
        tails[row * PAIR_COLUMNS + bin_] += 1
    return min(bits, log2(2 * n + 2) - log2(2 * seen + 1))


@inner
def score_pairs(
    head: Longs, seen: Longs, partners: Bytes, tails: Shorts, joined: Longs, n: int, events: int, leading: Longs
) -> int:
    """Bits (2^-16) of the dearest of the pairs of `n` symbols; `leading` gets the two rows of the event, or -1.

    `seen` is two filters of equal size, the present generation first; the caller changes generations (`next_generation`).
    """
    half = len(seen) >> 1
    where = (half << 6) - 1
    largest = i64(0)
    leading[0] = -1
    for i in range(n):
        if joined[i, J_COUNT] < PAIR_LEAST:
            continue
        a = joined[i, J_SYMBOL]
        for j in range(i + 1, n):
            if joined[j, J_COUNT] < PAIR_LEAST:
                continue
            b = joined[j, J_SYMBOL]
            h = mix(a, b) | (((a ^ b) & 0xFF) << 32)
            word = (h & where) >> 6
            bit = i64(1) << (h & 63)
            if seen[word] & bit != 0:
                continue
            seen[word] |= bit
            head[H_PAIR_N] += 1
            if seen[half + word] & bit != 0:
                continue
            bits = min(
                surprise(partners, a, joined[j, J_SLOT], joined[i, J_COUNT]),
                surprise(partners, b, joined[i, J_SLOT], joined[j, J_COUNT]),
            )
            if bits >= BIT:
                row = mix(joined[i, J_SLOT], joined[j, J_SLOT]) & (PAIR_ROWS - 1)
                bits = capped(tails, row, bits, events)
                if bits > largest:
                    largest = bits
                    leading[0] = joined[i, J_ROW]
                    leading[1] = joined[j, J_ROW]
                    leading[2] = joined[i, J_COUNT]
                    leading[3] = joined[j, J_COUNT]
    return largest


@inner
def is_full(head: Longs, seen: Longs) -> bool:
    """Whether a third of the present generation's bits are set: then one pair in nine would be taken for seen."""
    return bool(3 * head[H_PAIR_N] > len(seen) << 5)


@inner
def next_generation(head: Longs, seen: Longs) -> None:
    """The present generation becomes the former one, and a new one begins."""
    half = len(seen) >> 1
    for i in range(half):
        seen[half + i] = seen[i]
        seen[i] = 0
    head[H_PAIR_N] = 0


@inner
def grow_pairs(old: Longs, new: Longs) -> None:
    """A larger filter: what the present generation saw becomes the former one, its bits repeated for the longer hash."""
    half = len(old) >> 1
    for i in range(len(new) >> 1):
        new[(len(new) >> 1) + i] = old[i & (half - 1)]
