"""Kernel that keeps a few raw events, cut short, for the explanation: of the baseline, of the window, and an episode's peak."""

from detectors.jit import Bytes, Ints, Longs, i64, inner
from detectors.layout import (
    BASELINE_EVERY,
    BASELINE_SAMPLES,
    C_TOKENS,
    EVIDENCE,
    EVIDENCE_COLUMNS,
    H_BASELINE_N,
    H_CODE,
    H_CODES,
    H_EVENTS,
    H_EVIDENCE,
    H_EVIDENCE_N,
    H_OPEN,
    H_PEAK_SIZE,
    H_SIZES,
    H_WINDOW_N,
    PEAK_BYTES,
    S_DISTINCT,
    S_N,
    SAMPLE,
    SLOT_COLUMNS,
    T_END,
    T_SLOT,
    T_START,
    V_BITS,
    V_CHANNEL,
    V_END,
    V_EXPECTED,
    V_OF,
    V_SEEN,
    V_START,
    WINDOW_SAMPLES,
)
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
def note(head: Longs, i: int, channel: int, start: int, end: int, bits: int, seen: int, of: int, expected: int) -> None:
    """One row of evidence."""
    at = H_EVIDENCE + i * EVIDENCE_COLUMNS
    head[at + V_CHANNEL] = channel
    head[at + V_START] = start
    head[at + V_END] = end
    head[at + V_BITS] = bits
    head[at + V_SEEN] = seen
    head[at + V_OF] = of
    head[at + V_EXPECTED] = expected


@inner
def keep_peak(
    head: Longs,
    samples: Bytes,
    slots: Ints,
    body: Bytes,
    start: int,
    end: int,
    tok: Longs,
    c: Longs,
    costs: Longs,
    bursting: Longs,
) -> None:
    """Keep the episode's strongest event and its evidence: the bursting token, then the most surprising slots."""
    size = min(end - start, PEAK_BYTES)
    at = (BASELINE_SAMPLES + WINDOW_SAMPLES) * SAMPLE
    for i in range(size):
        samples[at + i] = body[start + i]
    head[H_PEAK_SIZE] = size
    n = 0
    if bursting[1] >= BIT:
        row = bursting[0]
        first = i64(-1)
        last = i64(-1)
        if row >= 0:
            first = tok[row, T_START] - start
            last = tok[row, T_END] - start
        note(head, n, 0, first, last, bursting[1], bursting[2], bursting[3], bursting[4])
        n += 1
    for k in range(2):
        if costs[len(costs) - 2 + k] >= 2 << 16:
            note(head, n, 1, -1 - k, -1 - k, costs[len(costs) - 2 + k], 0, head[H_EVENTS], 0)
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
            2,
            tok[best, T_START] - start,
            tok[best, T_END] - start,
            costs[best],
            i64(slots[base + S_DISTINCT[0]]),
            i64(slots[base + S_N]),
            0,
        )
        costs[best] = -1
        n += 1
    head[H_EVIDENCE_N] = n
