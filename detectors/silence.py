# ruff: noqa: C901 (one pass with its state in locals: split further, a kernel reads worse)
"""Kernel of silence: how surprising is it that no event came for so long?

Gaps between events, in exposure (weekly.py), are ranked among all earlier ones (tails.py), less two bits because one of four kinds
of evidence looks. That is the p-value of the gap itself, so a silence needs no reference.

All times at which a silence changes follow from the state at the stream's last event: it opens at the gap of p = 1/100, is reported
at that of the organization's level, told again whenever it has lasted twice as long, and taken as normal after a week. So what is
found does not depend on when somebody looks: a tick, or the next event, only has to lie beyond that time.
"""

from detectors.jit import Bytes, Longs, i64, inner
from detectors.layout import (
    BASELINE_SAMPLES,
    CALIBRATED_FROM,
    CH_SILENCE,
    DONE,
    EMIT_ADOPTED,
    EMIT_CLOSED,
    EMIT_DOUBLED,
    EMIT_REPORTED,
    G_AGAIN,
    G_AT,
    G_EPISODE,
    G_JSON,
    G_LONGEST,
    G_OPEN,
    G_STAGE,
    G_SURPRISAL,
    G_TAIL,
    G_TOLD,
    G_TOLD_AT,
    H_CALIBRATED,
    H_CONFIRMED,
    H_COUNT,
    H_EPISODE,
    H_EVENTS,
    H_EVIDENCE,
    H_EVIDENCE_N,
    H_JSON,
    H_LAST,
    H_OPEN,
    H_OPENED_AT,
    H_PATTERN_N,
    H_PEAK_CHANNEL,
    H_PEAK_EXTRAPOLATED,
    H_PEAK_KIND,
    H_PEAK_REFERENCE,
    H_PEAK_SCORE,
    H_PEAK_SHOWN,
    H_PEAK_SIZE,
    H_PEAK_SURPRISAL,
    H_QUIET,
    H_RATE_BITS,
    H_REPORTED,
    H_REVISION,
    H_SILENT,
    H_SIZES,
    H_SPAN,
    H_STARTED,
    H_TAUGHT_N,
    H_TIME,
    H_WINDOW_N,
    KIND_SHARE,
    MIN_EFFECT,
    N_CHANNELS,
    NEVER,
    OPEN_SURPRISAL,
    OUTAGE_SURPRISAL,
    PEAK_BYTES,
    QUIET_EVENTS,
    SAMPLE,
    SILENCE_ADOPT_MS,
    SILENCE_LEAST_MS,
    TAILS_BINS,
    TIME_SCALE,
    V_BEFORE,
    V_BEFORE_OF,
    V_BITS,
    V_CHANNEL,
    V_END,
    V_OF,
    V_SEEN,
    V_SILENCE,
    V_START,
    WINDOW_SAMPLES,
    X_COUNTS,
    X_N,
)
from detectors.logs import log2
from detectors.patterns import key_of, note_pattern, usual_silence
from detectors.tables import POWERS
from detectors.tails import count, fit, least, surprisal
from detectors.weekly import exposure, reach

QUIET, OPENED, TOLD, ENDED, CLOSED, UNKNOWN = 0, 1, 2, 60, 61, 62
"""Stages of the running gap: usual; beyond p = 1/100; beyond the organization's level (and one more at each doubling); taken as
normal; ended by the event at hand; not known to be one."""


@inner
def learn_gap(timing: Longs, gap: int) -> None:
    """Count a gap, ms of exposure."""
    count(timing, G_TAIL, log2(gap + 1))


@inner
def fit_gaps(timing: Longs) -> None:
    """A learning point: the tail, and the gap that opens a silence."""
    fit(timing, G_TAIL)
    timing[G_OPEN] = gap_of(timing, OPEN_SURPRISAL)


@inner
def usual_gap(timing: Longs) -> int:
    """The median gap, ms of exposure."""
    seen = i64(0)
    for b in range(TAILS_BINS):
        seen += timing[G_TAIL + X_COUNTS + b]
        if 2 * seen >= timing[G_TAIL + X_N]:
            return i64((POWERS[(8 * b + 4) & 31] << ((8 * b + 4) >> 5)) >> 16)
    return i64(0)


@inner
def surprisal_of_gap(timing: Longs, gap: int) -> tuple[int, bool]:
    """(-log2 p, 2^-16, whether extrapolated) of a gap, ms of exposure."""
    bits, extrapolated = surprisal(timing, G_TAIL, log2(gap + 1))
    return max(bits - KIND_SHARE, i64(0)), extrapolated


@inner
def gap_of(timing: Longs, wanted: int) -> int:
    """The least gap, ms of exposure, of at least this surprisal; `NEVER` where no gap has it."""
    log = least(timing, G_TAIL, wanted + KIND_SHARE)
    if log >= NEVER:
        return i64(NEVER)
    log = (log >> 11) + 1
    return i64((POWERS[log & 31] << min(log >> 5, i64(42))) >> 16) + 1


@inner
def opens_at(head: Longs, timing: Longs) -> int:
    """When the running gap opens a silence, ms."""
    if timing[G_OPEN] >= NEVER or timing[G_OPEN] == 0:
        return i64(NEVER)
    return i64(max(reach(timing, head[H_TIME], timing[G_OPEN]), head[H_TIME] + SILENCE_LEAST_MS))


@inner
def told_at(head: Longs, timing: Longs, level: int, budget: int) -> int:
    """When the running gap reaches the organization's level, ms; `NEVER` where it can't."""
    wanted = max(level, head[H_RATE_BITS] - budget, i64(MIN_EFFECT * TIME_SCALE))
    gap = gap_of(timing, wanted)
    if gap >= NEVER:
        return i64(NEVER)
    if head[H_EVENTS] < timing[G_AGAIN]:
        gap = max(gap, 2 * timing[G_LONGEST])  # a stream that comes back haltingly is not told again and again
    if head[H_TAUGHT_N] > 0:
        gap = max(gap, usual_silence(head))
    return max(reach(timing, head[H_TIME], gap), opens_at(head, timing))


@inner
def next_at(head: Longs, timing: Longs, level: int, budget: int) -> int:
    """When the running gap changes something next, ms; it does so once time lies beyond."""
    stage = timing[G_STAGE]
    if head[H_TIME] == 0 or stage >= ENDED:
        return i64(NEVER)
    if stage == QUIET:
        return opens_at(head, timing)
    if stage == OPENED:
        return told_at(head, timing, level, budget)
    first = timing[G_TOLD_AT] - head[H_TIME]
    again = head[H_TIME] + (first << min(stage - TOLD + 1, 20))
    return i64(min(again, head[H_TIME] + max(i64(SILENCE_ADOPT_MS), 8 * first)))


@inner
def silent(head: Longs, timing: Longs, samples: Bytes, now: int, level: int, budget: int) -> int:
    """Take the running gap's next step if time has passed it; returns what to emit. To be called until nothing is emitted."""
    while True:
        at = next_at(head, timing, level, budget)
        if now <= at:
            return DONE
        stage = timing[G_STAGE]
        timing[G_AT] = at
        if stage == QUIET:
            if head[H_OPEN] and head[H_PEAK_SURPRISAL] < OUTAGE_SURPRISAL:
                head[H_OPEN] = 0  # weak chance events of hours ago are no beginning of a silence
                if head[H_REPORTED]:
                    head[H_REVISION] += 1
                    return EMIT_CLOSED
            timing[G_STAGE] = OPENED
            if head[H_OPEN] == 0:
                open_silence(head, timing, samples, at)
            continue
        if stage == OPENED:
            timing[G_TOLD_AT] = at
            timing[G_STAGE] = TOLD
        elif at >= head[H_TIME] + max(i64(SILENCE_ADOPT_MS), 8 * (timing[G_TOLD_AT] - head[H_TIME])):
            timing[G_STAGE] = ENDED
            if head[H_OPEN] != 2:
                continue
            head[H_OPEN] = 0
            head[H_REVISION] += 1
            strengthen(head, timing, at)
            return EMIT_ADOPTED
        else:
            timing[G_STAGE] += 1
        if not strengthen(head, timing, at) and head[H_REPORTED] and timing[G_STAGE] > TOLD:
            continue  # an episode of events that is stronger by itself tells only once that its stream stopped
        emit = EMIT_DOUBLED
        if not head[H_REPORTED]:
            head[H_REPORTED] = 1
            head[H_CALIBRATED] = timing[G_TAIL + X_N] >= CALIBRATED_FROM
            emit = EMIT_REPORTED
        head[H_REVISION] += 1
        return emit


@inner
def open_silence(head: Longs, timing: Longs, samples: Bytes, at: int) -> None:
    """An episode that no event begins: the stream's last event stands for it."""
    head[H_OPEN] = 2
    head[H_SILENT] = 1
    head[H_PATTERN_N] = 0
    head[H_CONFIRMED] = 0
    head[H_EPISODE] += 1
    head[H_STARTED] = at
    head[H_COUNT] = 1
    head[H_QUIET] = 0
    head[H_SPAN] = 0
    head[H_REPORTED] = 0
    head[H_REVISION] = 0
    head[H_PEAK_SCORE] = -1
    head[H_PEAK_SURPRISAL] = 0
    head[H_JSON] = timing[G_JSON]
    head[H_OPENED_AT] = -2
    last = BASELINE_SAMPLES + (head[H_WINDOW_N] - 1) % WINDOW_SAMPLES
    size = head[H_SIZES + last]
    place = (BASELINE_SAMPLES + WINDOW_SAMPLES) * SAMPLE
    for i in range(min(size, i64(PEAK_BYTES))):
        samples[place + i] = samples[last * SAMPLE + i]
    head[H_PEAK_SIZE] = size
    strengthen(head, timing, at)


@inner
def strengthen(head: Longs, timing: Longs, at: int) -> bool:
    """The episode's strongest evidence is the gap up to `at`, if it is stronger than what is known; whether it is."""
    gap = exposure(timing, head[H_TIME], at)
    surprisal, extrapolated = surprisal_of_gap(timing, gap)
    timing[G_SURPRISAL] = surprisal
    if head[H_OPEN] == 2:
        note_pattern(head, key_of(CH_SILENCE, 0, 0), gap)
    score = surprisal // TIME_SCALE
    if head[H_OPEN] == 2 or timing[G_STAGE] == ENDED:
        head[H_LAST] = at
    if surprisal < head[H_PEAK_SURPRISAL]:
        return False
    head[H_PEAK_SCORE] = max(score, head[H_PEAK_SCORE])
    head[H_PEAK_SURPRISAL] = surprisal
    head[H_PEAK_SHOWN] = surprisal
    head[H_PEAK_EXTRAPOLATED] = extrapolated
    head[H_PEAK_REFERENCE] = timing[G_TAIL + X_N]
    for channel in range(N_CHANNELS):
        head[H_PEAK_CHANNEL + channel] = 0
    head[H_PEAK_KIND] = CH_SILENCE
    head[H_PEAK_CHANNEL + CH_SILENCE] = score
    row = H_EVIDENCE
    head[row + V_CHANNEL] = V_SILENCE
    head[row + V_START] = -1
    head[row + V_END] = -1
    head[row + V_BITS] = surprisal
    head[row + V_SEEN] = at - head[H_TIME]
    head[row + V_OF] = timing[G_TAIL + X_N]
    head[row + V_BEFORE] = usual_gap(timing)
    head[row + V_BEFORE_OF] = 0
    head[H_EVIDENCE_N] = 1
    return True


@inner
def end_silence(head: Longs, timing: Longs, now: int) -> int:
    """An event came: the silence is over and its episode closed; returns what to emit."""
    timing[G_SURPRISAL] = OUTAGE_SURPRISAL if timing[G_STAGE] == UNKNOWN else i64(0)
    timing[G_EPISODE] = -1
    unknown = timing[G_STAGE] == UNKNOWN
    timing[G_STAGE] = CLOSED
    if unknown:
        return DONE
    if head[H_OPEN] != 2:
        timing[G_SURPRISAL], _ = surprisal_of_gap(timing, exposure(timing, head[H_TIME], now))
        return DONE
    strengthen(head, timing, now)
    head[H_LAST] = now
    timing[G_EPISODE] = head[H_EPISODE]
    timing[G_TOLD] = head[H_REPORTED]
    head[H_OPEN] = 0
    if timing[G_SURPRISAL] >= OUTAGE_SURPRISAL:
        timing[G_LONGEST] = exposure(timing, head[H_TIME], now)
        timing[G_AGAIN] = head[H_EVENTS] + QUIET_EVENTS
    if not head[H_REPORTED]:
        return DONE
    head[H_REVISION] += 1
    return EMIT_CLOSED
