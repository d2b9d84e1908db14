# ruff: noqa: C901, PLR0911, PLR0912, PLR0915 (one pass with its state in locals: split further, a kernel reads worse)
"""The entry kernel: events of one stream in, rows of results out; it comes back early when an episode is to be told."""

from collections.abc import Callable

import numpy as np

from detectors.burst import learn_burst, score_burst
from detectors.episodes import adopt_counts, follow, learn_rate
from detectors.identity import find_id, index_ids, put_id
from detectors.jit import SOURCES, Bytes, Hashes, Indexes, Ints, Longs, Shorts, entry, i64
from detectors.layout import (
    ADOPT_AFTER,
    BURST_TOKENS,
    C_BURST,
    C_JSON,
    C_TOKENS,
    CH_RATE,
    CH_SILENCE,
    COLUMNS,
    DISORDER,
    DONE,
    F_DUPLICATE,
    F_EXTRAPOLATED,
    F_REPORTED,
    G_AGAIN,
    G_AT,
    G_EPISODE,
    G_JSON,
    G_STAGE,
    G_SURPRISAL,
    G_TOLD,
    GROW_SLOTS,
    GROW_SYMBOLS,
    GUARD_AFTER,
    GUARD_ONE_IN,
    GUARD_Z,
    H_DUE,
    H_EPISODE,
    H_EVENTS,
    H_FREE_UNTIL,
    H_GUARDED,
    H_MID_T,
    H_OPEN,
    H_PEAK_CHANNEL,
    H_RATE_T,
    H_REF_N,
    H_REPORTED,
    H_SCORED_AT,
    H_SLOTS,
    H_SPAN,
    H_SYMBOLS,
    H_TIME,
    LATE_MS,
    LEARN_EVERY,
    MAX_TOKENS,
    OUTAGE_SURPRISAL,
    Q_BREADTH,
    Q_SLOT,
    R_CHANNEL,
    R_EPISODE,
    R_FLAGS,
    R_OPENED,
    R_REFERENCE,
    R_SCORE,
    R_SILENCE,
    R_SURPRISAL,
    RESCALE_EVERY,
    SILENCE_LEAST_MS,
    SLOT_COLUMNS,
    SLOTS_MAX,
    SYMBOLS_MAX,
    TIME_SCALE,
    TOKEN_COLUMNS,
)
from detectors.novelty import grow_slots, grow_symbols, score_novelty
from detectors.rate import note_rate, pass_over, score_rate, tell_time
from detectors.reading import read_event
from detectors.reference import learn_reference, surprisal_of
from detectors.samples import keep_peak, sample
from detectors.scales import admit, rescale, scaled
from detectors.silence import CLOSED, QUIET, end_silence, fit_gaps, learn_gap, next_at, silent
from detectors.weekly import exposure


def _kernels(sources: int) -> Callable[..., tuple[int, int]]:  # the closure names all sources: see jit.py
    @entry
    def run(
        head: Longs,
        buckets: Longs,
        contexts: Longs,
        places: Ints,
        ring: Shorts,
        slots: Ints,
        symbols: Longs,
        reference: Ints,
        samples: Bytes,
        ids: Longs,
        index: Indexes,
        timing: Longs,
        body: Bytes,
        offsets: Longs,
        times: Longs,
        hashes: Hashes,
        first: int,
        results: Longs,
        level: int,
        budget: int,
        through: int,
    ) -> tuple[int, int]:
        if sources == 0:
            return i64(first), i64(DONE)
        if first == 0:
            last = i64(0)
            for i in range(len(offsets)):
                if offsets[i] < last or offsets[i] > len(body):
                    return i64(i), i64(DISORDER)
                last = offsets[i]
        tok = np.empty((MAX_TOKENS, TOKEN_COLUMNS), np.int64)
        burst = np.empty((BURST_TOKENS, 3), np.int64)
        c = np.zeros(8, np.int64)
        costs = np.zeros(MAX_TOKENS + 2, np.int64)
        bursting = np.zeros(2, np.int64)
        for i in range(first, len(times)):
            value = i64(hashes[i])
            place = 0
            if value != 0:
                place = find_id(ids, index, value)
                if index[place] != 0:
                    for column in range(COLUMNS):
                        results[i, column] = 0
                    results[i, R_FLAGS] = F_DUPLICATE
                    results[i, R_EPISODE] = -1
                    results[i, R_OPENED] = -1
                    results[i, R_SILENCE] = -1
                    continue
            # ---- silence: what began before this event is found before it
            last = head[H_TIME]
            now = max(last, times[i])
            if now - last >= SILENCE_LEAST_MS:
                emit = silent(head, timing, samples, now, level, budget)
                if emit != DONE:
                    return i64(i), i64(emit)
            if timing[G_STAGE] != QUIET:
                now = max(now, timing[G_AT])
                if timing[G_STAGE] != CLOSED:
                    emit = end_silence(head, timing, now)
                    if emit != DONE:
                        return i64(i), i64(emit)
            start = offsets[i]
            end = offsets[i + 1]
            read_event(body, start, end, tok, burst, c)
            n = c[C_TOKENS]
            room = len(slots) // SLOT_COLUMNS
            if room < SLOTS_MAX and 4 * (head[H_SLOTS] + n + 3) > 3 * room:
                return i64(i), i64(GROW_SLOTS)
            if len(symbols) < SYMBOLS_MAX and 2 * (head[H_SYMBOLS] + 2 * n) > len(symbols):
                return i64(i), i64(GROW_SYMBOLS)
            if value != 0:
                put_id(head, ids, index, place, value)
            if head[H_EVENTS] == 0:
                head[H_RATE_T] = times[i]
                head[H_MID_T] = times[i]
                rescale(head)
            head[H_EVENTS] += 1
            # ---- rate and gaps; an event that comes with a time long past tells nothing of time
            timely = times[i] >= last - LATE_MS
            if timely:
                if head[H_EVENTS] > 1:
                    learn_gap(timing, exposure(timing, last, now))
                if timing[G_STAGE] == CLOSED and timing[G_SURPRISAL] >= OUTAGE_SURPRISAL:
                    pass_over(timing, last, now)
                tell_time(timing, now)
            head[H_TIME] = now
            timing[G_JSON] = c[C_JSON]
            rate = score_rate(timing, head[H_EVENTS] < timing[G_AGAIN]) if timely else i64(0)
            bursts = score_burst(head, buckets, contexts, ring, places, burst, c, bursting)
            breadth, slot = score_novelty(head, slots, symbols, tok, c, costs)
            z_breadth = scaled(head, Q_BREADTH, breadth)
            z_slot = scaled(head, Q_SLOT, slot)
            admit(head, Q_BREADTH, breadth, z_breadth)
            admit(head, Q_SLOT, slot, z_slot)
            cube = min(z_slot, i64(1) << 24) >> 4
            cubed = ((cube * cube) >> 12) * cube >> 10
            score = max(bursts, z_breadth, cubed)
            score = min(score, i64(0x7FFFFFFF))
            surprisal, extrapolated = surprisal_of(head, reference, score)
            n_reference = head[H_REF_N]
            emit, member, opened, peak = follow(
                head, reference, score, surprisal, extrapolated, rate, timing, c[C_JSON], i, level, budget
            )
            surprisal = max(surprisal, rate)
            free = head[H_EVENTS] <= GUARD_AFTER or head[H_EVENTS] <= head[H_FREE_UNTIL]
            if bursts <= GUARD_Z or free:
                learn_burst(head, buckets, ring, places, c[C_BURST])
            else:
                head[H_GUARDED] += 1
                if head[H_GUARDED] % GUARD_ONE_IN == 0:
                    learn_burst(head, buckets, ring, places, c[C_BURST])
            if peak:
                head[H_PEAK_CHANNEL] = bursts
                head[H_PEAK_CHANNEL + 1] = z_breadth
                head[H_PEAK_CHANNEL + 2] = cubed
                head[H_PEAK_CHANNEL + CH_RATE] = rate // TIME_SCALE
                head[H_PEAK_CHANNEL + CH_SILENCE] = 0
                keep_peak(head, samples, slots, buckets, body, start, end, tok, burst, c, costs, bursting)
                if rate > 0:
                    note_rate(head, timing)
            sample(head, samples, body, start, end, member)
            if head[H_SPAN] >= ADOPT_AFTER and not head[H_OPEN]:
                adopt_counts(head, buckets)
                head[H_SPAN] = 0
            if head[H_EVENTS] % RESCALE_EVERY == 0:
                rescale(head)
                fit_gaps(timing)
            if head[H_EVENTS] % LEARN_EVERY == 0:
                learn_reference(head, reference)
                learn_rate(head)
            results[i, R_SCORE] = score
            results[i, R_SURPRISAL] = surprisal
            results[i, R_REFERENCE] = n_reference
            flags = F_EXTRAPOLATED if extrapolated else 0
            if member and head[H_REPORTED]:
                flags |= F_REPORTED
            results[i, R_FLAGS] = flags
            results[i, R_EPISODE] = head[H_EPISODE] if member else -1
            results[i, R_OPENED] = surprisal >> 16 if opened else -1
            results[i, R_CHANNEL] = bursts
            results[i, R_CHANNEL + 1] = z_breadth
            results[i, R_CHANNEL + 2] = cubed
            results[i, R_CHANNEL + CH_RATE] = rate // TIME_SCALE
            results[i, R_CHANNEL + CH_SILENCE] = 0
            results[i, R_SILENCE] = -1
            if timing[G_STAGE] == CLOSED and timing[G_EPISODE] >= 0:
                hushed = timing[G_SURPRISAL]
                results[i, R_CHANNEL + CH_SILENCE] = hushed // TIME_SCALE
                results[i, R_SURPRISAL] = max(surprisal, hushed)
                results[i, R_SILENCE] = hushed >> 16
                if not member:
                    results[i, R_EPISODE] = timing[G_EPISODE]
                    if timing[G_TOLD]:
                        results[i, R_FLAGS] |= F_REPORTED
            timing[G_STAGE] = QUIET
            head[H_SCORED_AT] = i
            if emit != DONE:
                return i64(i + 1), i64(emit)
        if through - head[H_TIME] >= SILENCE_LEAST_MS:
            emit = silent(head, timing, samples, through, level, budget)
            if emit != DONE:
                return i64(len(times)), i64(emit)
        head[H_DUE] = next_at(head, timing, level, budget)
        return i64(len(times)), i64(DONE)

    return run


run = _kernels(SOURCES)


@entry
def grow(old_slots: Ints, slots: Ints, old_symbols: Longs, symbols: Longs) -> None:
    """Move slots and symbols to larger tables, where they are larger."""
    if len(slots) > len(old_slots):
        grow_slots(old_slots, slots)
    if len(symbols) > len(old_symbols):
        grow_symbols(old_symbols, symbols)


@entry
def reindex(head: Longs, ids: Longs, index: Indexes) -> None:
    """Build the index of ids, which a dump leaves out."""
    index_ids(head, ids, index)
