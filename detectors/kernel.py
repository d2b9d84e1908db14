# ruff: noqa: C901, PLR0911, PLR0912, PLR0915 (one pass with its state in locals: split further, a kernel reads worse)
"""The entry kernel: events of one stream in, rows of results out; it comes back early when an episode is to be told."""

from collections.abc import Callable

import numpy as np

from detectors.anchor import note_form
from detectors.burst import learn_burst, score_burst
from detectors.episodes import adopt_counts, follow, learn_rate
from detectors.fields import is_metric
from detectors.habits import habitual, note_habit
from detectors.identity import find_id, index_ids, put_id
from detectors.jit import SOURCES, Bytes, Hashes, Indexes, Ints, Longs, Shorts, entry, i64
from detectors.layout import (
    ADOPT_AFTER,
    AGAIN,
    BURST_TOKENS,
    C_BURST,
    C_JSON,
    C_LINES,
    C_TEMPLATE,
    C_TOKENS,
    CH_RATE,
    CH_SILENCE,
    COLUMNS,
    CONFIRMED,
    COUNTS,
    DISORDER,
    DONE,
    F_DUPLICATE,
    F_EXTRAPOLATED,
    F_REPORTED,
    FILTER_MAX,
    FRESH_BINS,
    G_AGAIN,
    G_AT,
    G_BURST,
    G_EPISODE,
    G_JSON,
    G_NOVELTY,
    G_NUMBER,
    G_SESSION,
    G_STAGE,
    G_SURPRISAL,
    G_TOLD,
    GROUPS,
    GROW_PAIRS,
    GROW_SLOTS,
    GROW_SYMBOLS,
    GUARD_AFTER,
    GUARD_ONE_IN,
    GUARD_Z,
    H_BOUND,
    H_DUE,
    H_EPISODE,
    H_EVENTS,
    H_FREE_UNTIL,
    H_GUARDED,
    H_MID_T,
    H_OPEN,
    H_PEAK_CHANNEL,
    H_PEAK_KIND,
    H_RATE_T,
    H_REF_N,
    H_REPORTED,
    H_SCORED_AT,
    H_SESSIONS,
    H_SLOTS,
    H_SPAN,
    H_SYMBOLS,
    H_TIME,
    KIND_OF_GROUP,
    KINDS,
    LATE_MS,
    LEARN_EVERY,
    MAX_LINES,
    MAX_TOKENS,
    MIN_EFFECT,
    MOST_JOINED,
    NEVER,
    NORMAL,
    OPEN_SURPRISAL,
    OUTAGE_SURPRISAL,
    PEAK_BYTES,
    Q_NUMBER,
    Q_SESSION,
    Q_TEMPLATE,
    Q_VALUE,
    R_CHANNEL,
    R_EPISODE,
    R_FLAGS,
    R_OPENED,
    R_REFERENCE,
    R_SCORE,
    R_SILENCE,
    R_SURPRISAL,
    RESCALE_EVERY,
    SESSION_BITS,
    SILENCE_LEAST_MS,
    SLOT_COLUMNS,
    SLOTS_MAX,
    SYMBOLS_MAX,
    TIME_SCALE,
    TOKEN_COLUMNS,
)
from detectors.logs import log2
from detectors.novelty import grow_slots, grow_symbols, score_novelty
from detectors.number import note_number, score_numbers
from detectors.pairs import grow_pairs, is_full, next_generation, score_pairs
from detectors.patterns import recognise
from detectors.rate import note_rate, pass_over, score_rate, tell_time
from detectors.reading import read_event
from detectors.reference import learn_reference, smallest_p
from detectors.samples import keep_peak, sample
from detectors.scales import admit, rescale, scaled, steepened
from detectors.sessions import score_session
from detectors.silence import CLOSED, QUIET, end_silence, fit_gaps, learn_gap, next_at, silent
from detectors.weekly import exposure


def _kernels(
    sources: int,
) -> tuple[
    Callable[..., tuple[int, int]], Callable[..., None], Callable[..., None]
]:  # the closure names all sources: see jit.py
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
        numbers: Longs,
        histograms: Ints,
        ids: Longs,
        index: Indexes,
        seen: Longs,
        partners: Bytes,
        tails: Shorts,
        kinds: Longs,
        texts: Bytes,
        timing: Longs,
        habits: Longs,
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
        c = np.zeros(COUNTS, np.int64)
        costs = np.zeros(MAX_TOKENS + 2, np.int64)
        bursting = np.zeros(3, np.int64)
        counting = np.zeros(3, np.int64)
        joined = np.zeros((MOST_JOINED, 4), np.int64)
        fresh = np.zeros(FRESH_BINS, np.int64)
        pairing = np.zeros(5, np.int64)
        lines = np.zeros((MAX_LINES, 3), np.int64)
        scores = np.zeros(GROUPS, np.int64)
        session = np.zeros(2 * SESSION_BITS, np.int64)
        pattern = np.zeros(2, np.int64)
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
            read_event(body, start, end, tok, lines, burst, c)
            n = c[C_TOKENS]
            room = len(slots) // SLOT_COLUMNS
            all_sessions = c[C_LINES] > 0 and 2 * head[H_SESSIONS] > head[H_EVENTS]
            is_session = c[C_LINES] > 1 or all_sessions
            more = 2 * c[C_LINES] + KINDS if is_session else 0
            if room < SLOTS_MAX and 4 * (head[H_SLOTS] + n + more + 5) > 3 * room:
                return i64(i), i64(GROW_SLOTS)
            if len(symbols) < SYMBOLS_MAX and 2 * (head[H_SYMBOLS] + 2 * n + more + 4) > len(symbols):
                return i64(i), i64(GROW_SYMBOLS)
            if is_full(head, seen):
                if len(seen) < 2 * FILTER_MAX:
                    return i64(i), i64(GROW_PAIRS)
                next_generation(head, seen)
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
            if is_metric(head):
                bursts = i64(0)  # a stream of numbers of one form: what a repeated value means, number.py says
            bound = i64(0)
            z_template = i64(0)
            z_value = i64(0)
            z_session = i64(0)
            session[:] = -1
            if all_sessions:  # the words of their first line say nothing that the kinds of line don't
                costs[:] = 0
                pairing[4] = 0
            else:
                template, largest, structure, joins, bound = score_novelty(
                    head, slots, symbols, tok, c, costs, joined, fresh
                )
                pair = score_pairs(head, seen, partners, tails, joined, joins, head[H_EVENTS], pairing)
                pairing[4] = pair
                if pair > 0:
                    pair = max(pair - log2(joins), i64(0))
                value = largest + pair + 2 * structure
                bound = max(bound, pair)
                z_template = scaled(head, Q_TEMPLATE, template)
                z_value = scaled(head, Q_VALUE, value)
                admit(head, Q_TEMPLATE, template, z_template)
                admit(head, Q_VALUE, value, z_value)
                z_value = steepened(z_value)
            if is_session:
                lacking = score_session(head, slots, symbols, kinds, texts, body, lines, c, session)
                z_session = scaled(head, Q_SESSION, lacking)
                admit(head, Q_SESSION, lacking, z_session)
                z_session = steepened(z_session)
            number = score_numbers(head, numbers, histograms, tok, c, times[i], counting)
            z_number = scaled(head, Q_NUMBER, number)
            admit(head, Q_NUMBER, number, z_number)
            numeric = z_number + (z_number >> 2)
            score = max(bursts, z_template, z_value, z_session, numeric)
            score = min(score, i64(0x7FFFFFFF))
            scores[G_BURST] = min(bursts, i64(0x7FFFFFFF))
            scores[G_NOVELTY] = min(max(z_template, z_value), i64(0x7FFFFFFF))
            scores[G_SESSION] = min(z_session, i64(0x7FFFFFFF))
            scores[G_NUMBER] = min(numeric, i64(0x7FFFFFFF))
            # what is new again within an episode adds to what was new before, less the choice of where among its quiet events
            allowed = head[H_BOUND] + max(bound - AGAIN, i64(0)) if head[H_OPEN] == 1 else bound
            usual = habitual(head, habits, bursting[2], bursting[1]) if bursts >= MIN_EFFECT else i64(NEVER)
            surprisal, shown, extrapolated, effect, group = smallest_p(head, reference, scores, allowed, usual)
            kind = KIND_OF_GROUP[group]
            if group == G_NOVELTY and z_template > z_value:
                kind = 1
            n_reference = head[H_REF_N]
            said = i64(0)
            if shown >= OPEN_SURPRISAL or rate >= OPEN_SURPRISAL:
                lead = i64(CH_RATE) if rate > surprisal else i64(kind)
                said = recognise(
                    head, lead, buckets, numbers, histograms, kinds, timing, tok, lines, burst, c, costs, bursting, pairing, session, counting,
                    times[i], pattern,
                )  # fmt: skip
            emit, member, opened, peak = follow(
                head, reference, scores, score, effect, shown, surprisal, extrapolated, rate, timing, c[C_JSON], i, level, budget, pattern, said,
            )  # fmt: skip
            of_event = surprisal
            if member:
                head[H_BOUND] = allowed
                if bursts >= MIN_EFFECT:
                    note_habit(head, habits, bursting[2], bursting[1])
            surprisal = max(surprisal, rate)
            free = head[H_EVENTS] <= GUARD_AFTER or head[H_EVENTS] <= head[H_FREE_UNTIL]
            if bursts <= GUARD_Z or free or said == NORMAL:
                learn_burst(head, buckets, ring, places, c[C_BURST])
            elif said != CONFIRMED:
                head[H_GUARDED] += 1
                if head[H_GUARDED] % GUARD_ONE_IN == 0:
                    learn_burst(head, buckets, ring, places, c[C_BURST])
            if peak:
                head[H_PEAK_CHANNEL] = bursts
                head[H_PEAK_CHANNEL + 1] = z_template
                head[H_PEAK_CHANNEL + 2] = z_value
                head[H_PEAK_CHANNEL + 3] = z_session
                head[H_PEAK_CHANNEL + 4] = numeric
                head[H_PEAK_CHANNEL + CH_RATE] = rate // TIME_SCALE
                head[H_PEAK_CHANNEL + CH_SILENCE] = 0
                head[H_PEAK_KIND] = kind if rate <= max(of_event, shown) else CH_RATE
                keep_peak(
                    head, samples, slots, buckets, body, start, end, tok, burst, c, costs, bursting, pairing, kinds, lines, session
                )  # fmt: skip
                if rate > 0:
                    note_rate(head, timing)
                note_number(head, numbers, histograms, tok, counting, times[i], start, min(end - start, PEAK_BYTES))
            note_form(head, c[C_TEMPLATE], member)
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
            results[i, R_CHANNEL + 1] = z_template
            results[i, R_CHANNEL + 2] = z_value
            results[i, R_CHANNEL + 3] = z_session
            results[i, R_CHANNEL + 4] = numeric
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

    @entry
    def grow(old_slots: Ints, slots: Ints, old_symbols: Longs, symbols: Longs, old_seen: Longs, seen: Longs) -> None:
        if sources != 0:
            if len(slots) > len(old_slots):
                grow_slots(old_slots, slots)
            if len(symbols) > len(old_symbols):
                grow_symbols(old_symbols, symbols)
            if len(seen) > len(old_seen):
                grow_pairs(old_seen, seen)

    @entry
    def reindex(head: Longs, ids: Longs, index: Indexes) -> None:
        if sources != 0:
            index_ids(head, ids, index)

    return run, grow, reindex


run, grow, reindex = _kernels(SOURCES)
"""`run` scores events until one needs room or an episode is to be told; `grow` moves slots, symbols and pairs to larger tables,
where they are larger; `reindex` builds the index of ids, which a dump leaves out."""
