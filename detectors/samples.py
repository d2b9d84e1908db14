# ruff: noqa: C901, PLR0912 (one pass with its state in locals: split further, a kernel reads worse)
"""Kernel that keeps a few raw events, cut short, for the explanation: of the baseline, of the window, and an episode's peak."""

import numpy as np

from detectors.burst import saving
from detectors.jit import Bytes, Ints, Longs, i64, inner
from detectors.layout import (
    BASELINE_EVERY,
    BASELINE_SAMPLES,
    C_BURST,
    C_JSON,
    C_TOKENS,
    EVIDENCE,
    EVIDENCE_COLUMNS,
    H_ADMITTED,
    H_BASELINE_N,
    H_CODE,
    H_CODES,
    H_EVENTS,
    H_EVIDENCE,
    H_EVIDENCE_N,
    H_IN,
    H_LONG,
    H_OPEN,
    H_PEAK_SIZE,
    H_SESSIONS,
    H_SIZES,
    H_WINDOW_N,
    IN_MASKS,
    IN_SHIFTS,
    IS_STRUCTURE,
    KINDS,
    LINE_END,
    LINE_START,
    LONG_SHIFT,
    MAX_TOKENS,
    PEAK_BYTES,
    S_DISTINCT,
    S_N,
    SAMPLE,
    SESSION_BITS,
    SESSION_ORDER,
    SLOT_COLUMNS,
    T_END,
    T_FIELD,
    T_NUMBER,
    T_SLOT,
    T_START,
    V_BEFORE,
    V_BEFORE_OF,
    V_BITS,
    V_BURST,
    V_CHANNEL,
    V_END,
    V_FORM,
    V_MISSING,
    V_OF,
    V_ORDER,
    V_PAIR,
    V_SEEN,
    V_START,
    V_VALUE,
    WINDOW_SAMPLES,
)
from detectors.logs import log2
from detectors.novelty import find_slot
from detectors.tables import BIT


@inner
def keep(head: Longs, samples: Bytes, body: Bytes, start: int, end: int, which: int) -> None:
    """Copy the event's first bytes into sample `which`."""
    size = min(end - start, SAMPLE)
    for i in range(size):
        samples[which * SAMPLE + i] = body[start + i]
    head[H_SIZES + which] = size
    head[H_CODES + which] = head[H_CODE]


@inner
def sample(head: Longs, samples: Bytes, body: Bytes, start: int, end: int, member: bool) -> None:
    """Into the window's ring, where a quiet event of an open episode is left out; every eighth quiet one into the baseline's."""
    if member or not head[H_OPEN]:
        keep(head, samples, body, start, end, BASELINE_SAMPLES + head[H_WINDOW_N] % WINDOW_SAMPLES)
        head[H_WINDOW_N] += 1
    if not head[H_OPEN] and head[H_EVENTS] % BASELINE_EVERY == 0:
        keep(head, samples, body, start, end, head[H_BASELINE_N] % BASELINE_SAMPLES)
        head[H_BASELINE_N] += 1


@inner
def note(head: Longs, i: int, channel: int, start: int, end: int, bits: int, seen: int, of: int) -> None:
    """One row of evidence."""
    at = H_EVIDENCE + i * EVIDENCE_COLUMNS
    head[at + V_CHANNEL] = channel
    head[at + V_START] = start
    head[at + V_END] = end
    head[at + V_BITS] = bits
    head[at + V_SEEN] = seen
    head[at + V_OF] = of
    head[at + V_BEFORE] = 0
    head[at + V_BEFORE_OF] = 0


@inner
def note_burst(
    head: Longs, buckets: Longs, tok: Longs, burst: Longs, c: Longs, start: int, size: int, bursting: Longs
) -> None:
    """The longest run of neighbouring words that save nearly as much as the event's worst token, in the window that leads.

    Of JSON, the whole field of the strongest token. Where no word does (the form of the event alone is in a burst), -1.
    """
    w = bursting[0]
    events = head[H_IN + w]
    outside = head[H_LONG] - head[H_ADMITTED + w]
    log_events = log2(events)
    log_outside = log2(2 * outside + 2)
    enough = bursting[1] - bursting[1] // 8
    strength = np.zeros(MAX_TOKENS, np.int64)
    token = np.full(MAX_TOKENS, -1)
    form = i64(-1)
    for j in range(c[C_BURST]):
        bucket = burst[j, 0]
        k = (buckets[bucket, 0] >> IN_SHIFTS[w]) & IN_MASKS[w]
        a = (buckets[bucket, 0] >> LONG_SHIFT) - ((buckets[bucket, 1] >> IN_SHIFTS[w]) & IN_MASKS[w])
        if k < 2 or 2 * k * (outside + 1) <= (2 * a + 1) * events:
            continue
        bits = saving(k, events, log_events, a, outside, log_outside)
        row = burst[j, 1]
        if bits >= enough and row < 0:
            form = j
        elif bits >= enough and tok[row, T_END] - start <= size and bits > strength[row]:
            strength[row] = bits
            token[row] = j
    first = i64(-1)
    last = i64(-1)
    from_ = i64(0)
    for row in range(c[C_TOKENS]):
        if strength[row] == 0:
            from_ = row + 1
        elif first < 0 or row - from_ > last - first:
            first = from_
            last = row
    leading = form
    if first >= 0:
        leading = token[first]
        for row in range(first, last + 1):
            if strength[row] > strength[burst[leading, 1]]:
                leading = token[row]
        if c[C_JSON]:
            first = burst[leading, 1]
            last = first
            while last + 1 < c[C_TOKENS] and tok[last + 1, T_FIELD] == tok[first, T_FIELD]:
                last += 1
        bucket = burst[leading, 0]
        note(head, 0, V_BURST, tok[first, T_START] - start, min(tok[last, T_END] - start, size), bursting[1], 0, events)
    else:
        bucket = burst[max(form, 0), 0]
        note(head, 0, V_BURST, -1, -1, bursting[1], 0, events)
    at = H_EVIDENCE
    head[at + V_SEEN] = (buckets[bucket, 0] >> IN_SHIFTS[w]) & IN_MASKS[w]
    head[at + V_BEFORE] = (buckets[bucket, 0] >> LONG_SHIFT) - ((buckets[bucket, 1] >> IN_SHIFTS[w]) & IN_MASKS[w])
    head[at + V_BEFORE_OF] = outside


@inner
def note_pair(head: Longs, at: int, tok: Longs, start: int, size: int, pairing: Longs) -> bool:
    """The two words that never came together: the second one's place in V_SEEN and V_OF, their counts in V_BEFORE and V_BEFORE_OF."""
    a = pairing[0]
    b = pairing[1]
    if pairing[4] < BIT or max(tok[a, T_END], tok[b, T_END]) - start > size:
        return False
    note(
        head,
        at,
        V_PAIR,
        tok[a, T_START] - start,
        tok[a, T_END] - start,
        pairing[4],
        tok[b, T_START] - start,
        tok[b, T_END] - start,
    )
    head[H_EVIDENCE + at * EVIDENCE_COLUMNS + V_BEFORE] = pairing[2]
    head[H_EVIDENCE + at * EVIDENCE_COLUMNS + V_BEFORE_OF] = pairing[3]
    return True


@inner
def note_session(head: Longs, at: int, kinds: Longs, lines: Longs, start: int, size: int, session: Longs) -> int:
    """What leads a session: the kind that is missing or comes often (its number in V_SEEN), the line out of order; how many rows."""
    n = at
    for which in range(SESSION_BITS):
        k = session[which]
        bits = session[which + SESSION_BITS]
        if k < 0 or bits < 2 * BIT:
            continue
        if which == SESSION_ORDER:
            if lines[k, LINE_START] - start >= size:
                continue
            note(
                head,
                n,
                V_ORDER,
                lines[k, LINE_START] - start,
                min(lines[k, LINE_END] - start, size),
                bits,
                0,
                head[H_SESSIONS],
            )
        else:
            note(head, n, V_MISSING + which, -1, -1, bits, k, head[H_SESSIONS])
            base = H_EVIDENCE + n * EVIDENCE_COLUMNS
            head[base + V_BEFORE] = kinds[KINDS + k]
            head[base + V_BEFORE_OF] = kinds[2 * KINDS + k]
        n += 1
    return n


@inner
def keep_peak(
    head: Longs,
    samples: Bytes,
    slots: Ints,
    buckets: Longs,
    body: Bytes,
    start: int,
    end: int,
    tok: Longs,
    burst: Longs,
    c: Longs,
    costs: Longs,
    bursting: Longs,
    pairing: Longs,
    kinds: Longs,
    lines: Longs,
    session: Longs,
) -> None:
    """Keep the episode's strongest event and its evidence: bursting words, form, session, pair, then the most surprising slots."""
    size = min(end - start, PEAK_BYTES)
    at = (BASELINE_SAMPLES + WINDOW_SAMPLES) * SAMPLE
    for i in range(size):
        samples[at + i] = body[start + i]
    head[H_PEAK_SIZE] = size
    n = 0
    if bursting[0] >= 0 and bursting[1] >= BIT:
        note_burst(head, buckets, tok, burst, c, start, size, bursting)
        n += 1
    for k in range(2):
        if costs[len(costs) - 2 + k] >= 2 << 16:
            note(head, n, V_FORM, -1 - k, -1 - k, costs[len(costs) - 2 + k], 0, head[H_EVENTS])
            n += 1
    n = note_session(head, n, kinds, lines, start, size, session)
    if note_pair(head, n, tok, start, size, pairing):
        n += 1
    while n < EVIDENCE:
        best = -1
        for i in range(c[C_TOKENS]):
            if costs[i] >= 1 << 16 and tok[i, T_END] - start <= size and (best < 0 or costs[i] > costs[best]):
                best = i
        if best < 0:
            break
        base = find_slot(head, slots, tok[best, T_SLOT] | 8) * SLOT_COLUMNS
        note(
            head,
            n,
            V_FORM if tok[best, T_NUMBER] == IS_STRUCTURE else V_VALUE,
            tok[best, T_START] - start,
            tok[best, T_END] - start,
            costs[best],
            i64(slots[base + S_DISTINCT[0]]),
            i64(slots[base + S_N]),
        )
        costs[best] = -1
        n += 1
    head[H_EVIDENCE_N] = n
