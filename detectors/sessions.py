"""Kernel of sessions: an event of many lines, by how often each kind of line comes in it, which are missing, and their order.

A kind of line is its words, those with a digit as one symbol. Bits, each as a symbol's cost in its slot (novelty.py): missing,
the sum over kinds that half of the sessions have and this one lacks; many, the dearest kind that comes at least as often as on
average; order, the dearest successor of a kind; and the set of kinds and the multiset of kinds, each as one symbol.
The sum of bits of five views of one session: evidence, not a code length.
"""

import numpy as np

from detectors.jit import Bytes, Ints, Longs, i64, inner
from detectors.layout import (
    C_LINES,
    H_KINDS,
    H_SESSIONS,
    KEY_MULTISET,
    KEY_SET,
    KIND_COUNT,
    KIND_NEXT,
    KIND_TEXT,
    KINDS,
    LINE_END,
    LINE_KIND,
    LINE_START,
    MOST_REPEATS,
    S_N,
    SESSION_BITS,
    SESSION_MANY,
    SESSION_MISSING,
    SESSION_ORDER,
    SLOT_COLUMNS,
)
from detectors.novelty import cost, find_slot, learn_slot, plant
from detectors.tokens import MASK, SEED, mix

FIRST, LAST = 0x5F3759DF, 0x1B873593  # the kinds before the first and after the last line


@inner
def kind_at(head: Longs, kinds: Longs, kind: int) -> int:
    """Number of a known kind, or -1."""
    for k in range(head[H_KINDS]):
        if kinds[k] == kind:
            return k
    return -1


@inner
def add_kind(head: Longs, kinds: Longs, texts: Bytes, body: Bytes, start: int, end: int, kind: int) -> None:
    """Know a kind from now on, with the first bytes of its line; every session so far had none of it."""
    k = head[H_KINDS]
    kinds[k] = kind
    for i in range(KIND_TEXT):
        texts[k * KIND_TEXT + i] = body[start + i] if start + i < end else 0
    head[H_KINDS] = k + 1


@inner
def score_counts(
    head: Longs, slots: Ints, symbols: Longs, kinds: Longs, counts: Longs, evidence: Longs
) -> tuple[int, int]:
    """(missing, many) in bits, 2^-16, of the known kinds' counts in this session; `evidence` gets the kind that leads each."""
    missing = i64(0)
    many = i64(0)
    worst = i64(0)
    sessions = head[H_SESSIONS]
    for k in range(head[H_KINDS]):
        row = find_slot(head, slots, mix(kinds[k], KIND_COUNT) >> 1 | 8)
        base = row * SLOT_COLUMNS
        if slots[base + S_N] == 0 and sessions > 0:
            plant(head, slots, symbols, row, 0, sessions)
        had = kinds[KINDS + k]  # sessions that had it
        lines = kinds[2 * KINDS + k]  # lines of it in all
        count = counts[k]
        bits, _, _ = cost(head, slots, symbols, row, 0, min(count, MOST_REPEATS))
        learn_slot(slots, base)
        if count == 0:
            if 2 * had > sessions:
                missing += bits
                if bits > worst:
                    worst = bits
                    evidence[SESSION_MISSING] = k
                    evidence[SESSION_MISSING + SESSION_BITS] = bits
        elif count * sessions >= lines and bits > many:
            many = bits
            evidence[SESSION_MANY] = k
            evidence[SESSION_MANY + SESSION_BITS] = bits
        if count > 0:
            kinds[KINDS + k] = had + 1
            kinds[2 * KINDS + k] = lines + count
    return missing, many


@inner
def score_session(
    head: Longs,
    slots: Ints,
    symbols: Longs,
    kinds: Longs,
    texts: Bytes,
    body: Bytes,
    lines: Longs,
    c: Longs,
    evidence: Longs,
) -> int:
    """Evidence of a session in bits, 2^-16, learned at once; `evidence` int64[6]: the leading missing kind, kind and line, or -1,
    and the bits of each.
    """
    n = c[C_LINES]
    counts = np.zeros(KINDS, np.int64)
    evidence[:] = -1
    before = i64(FIRST)
    order = i64(0)
    multiset = i64(SEED)
    for i in range(n + 1):
        kind = lines[i, LINE_KIND] if i < n else i64(LAST)
        row = find_slot(head, slots, mix(before, KIND_NEXT) >> 1 | 8)
        bits, _, _ = cost(head, slots, symbols, row, 0, kind)
        learn_slot(slots, row * SLOT_COLUMNS)
        if bits > order:
            order = bits
            evidence[SESSION_ORDER] = min(i, n - 1)
            evidence[SESSION_ORDER + SESSION_BITS] = bits
        before = kind
        if i == n:
            break
        k = kind_at(head, kinds, kind)
        if k < 0 and head[H_KINDS] < KINDS:
            add_kind(head, kinds, texts, body, lines[i, LINE_START], lines[i, LINE_END], kind)
            k = head[H_KINDS] - 1
        if k >= 0:
            counts[k] += 1
        else:
            multiset = (multiset + mix(kind, 1)) & MASK
    missing, many = score_counts(head, slots, symbols, kinds, counts, evidence)
    kind_set = i64(SEED)
    for k in range(head[H_KINDS]):
        if counts[k] > 0:
            kind_set = (kind_set + mix(kinds[k], 2)) & MASK
            multiset = (multiset + mix(mix(kinds[k], 3), min(counts[k], MOST_REPEATS))) & MASK
    row = find_slot(head, slots, KEY_SET)
    of_set, _, _ = cost(head, slots, symbols, row, 0, kind_set)
    learn_slot(slots, row * SLOT_COLUMNS)
    row = find_slot(head, slots, KEY_MULTISET)
    of_multiset, _, _ = cost(head, slots, symbols, row, 0, multiset)
    learn_slot(slots, row * SLOT_COLUMNS)
    head[H_SESSIONS] += 1
    return missing + many + order + of_set + of_multiset
