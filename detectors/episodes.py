# ruff: noqa: C901, PLR0912, PLR0915 (one pass with its state in locals: split further, a kernel reads worse)
"""Kernel of episodes: opened and closed at one fixed level, reported by the organization's level, adopted when they last."""

from detectors.burst import fade
from detectors.jit import Ints, Longs, i64, inner
from detectors.layout import (
    ADOPT_AFTER,
    ADOPT_FREE,
    CALIBRATED_FROM,
    CONFIRMED,
    DAY_MS,
    DONE,
    EMIT_ADOPTED,
    EMIT_CLOSED,
    EMIT_DOUBLED,
    EMIT_REPORTED,
    GROUPS,
    H_CALIBRATED,
    H_CONFIRMED,
    H_COUNT,
    H_EPISODE,
    H_EVENTS,
    H_FREE_UNTIL,
    H_GROUP_PEAK,
    H_IN,
    H_JSON,
    H_LAST,
    H_LONG,
    H_MID_N,
    H_MID_T,
    H_NEXT,
    H_OPEN,
    H_OPENED_AT,
    H_PATTERN_N,
    H_PEAK_EXTRAPOLATED,
    H_PEAK_REFERENCE,
    H_PEAK_SCORE,
    H_PEAK_SHOWN,
    H_PEAK_SURPRISAL,
    H_QUIET,
    H_RATE_BITS,
    H_RATE_N,
    H_RATE_T,
    H_REF_N,
    H_REPORTED,
    H_REVISION,
    H_SILENT,
    H_SPAN,
    H_STARTED,
    H_TIME,
    MIN_EFFECT,
    N_WINDOWS,
    NORMAL,
    OPEN_EFFECT,
    OPEN_SURPRISAL,
    QUIET_EVENTS,
    SHOW_FROM,
    START_EVENTS,
    TIME_SCALE,
    Y_SHOWN,
)
from detectors.logs import log2
from detectors.patterns import note_pattern
from detectors.reference import forget_reference, wait


@inner
def learn_rate(head: Longs) -> None:
    """log2 of events a day, 2^-16, over the last one to two days; a stream younger than a day counts as one day old."""
    if head[H_TIME] - head[H_MID_T] >= DAY_MS:
        head[H_RATE_T] = head[H_MID_T]
        head[H_RATE_N] = head[H_MID_N]
        head[H_MID_T] = head[H_TIME]
        head[H_MID_N] = head[H_EVENTS]
    elapsed = max(head[H_TIME] - head[H_RATE_T], i64(DAY_MS))
    events = head[H_EVENTS] - head[H_RATE_N] + 1
    head[H_RATE_BITS] = max(log2(events) + log2(i64(DAY_MS)) - log2(elapsed), i64(0))


@inner
def follow(
    head: Longs,
    reference: Ints,
    scores: Longs,
    score: int,
    effect: int,
    shown: int,
    surprisal: int,
    extrapolated: bool,
    rate: int,
    timing: Longs,
    json: int,
    index: int,
    level: int,
    budget: int,
    pattern: Longs,
    said: int,
) -> tuple[int, bool, bool, bool]:
    """Open, extend, report or close the stream's episode with one event: (what to emit, is a member, opened, is a new peak).

    `score` and its surprisal are the event's own and go by the reference; `rate` is a surprisal by itself, and not of the event.
    `pattern` is what the event is told for, and `said` what a person said of it: what is NORMAL tells nothing, what is CONFIRMED is
    never adopted.
    """
    told = head[H_REF_N] >= SHOW_FROM and effect >= OPEN_EFFECT
    anomalous = (told and surprisal >= OPEN_SURPRISAL) or rate >= OPEN_SURPRISAL
    opened = False
    if not head[H_OPEN]:
        if not anomalous:
            wait(head, reference, scores)
            return DONE, False, False, False
        for group in range(GROUPS):
            head[H_GROUP_PEAK + group] = 0
        opened = True
        head[H_OPEN] = 1
        head[H_EPISODE] += 1
        head[H_STARTED] = head[H_TIME]
        head[H_COUNT] = 0
        head[H_QUIET] = 0
        head[H_SPAN] = 0
        head[H_REPORTED] = 0
        head[H_REVISION] = 0
        head[H_PEAK_SCORE] = -1
        head[H_PEAK_SURPRISAL] = 0
        head[H_PEAK_SHOWN] = -1
        head[H_JSON] = json
        head[H_SILENT] = 0
        head[H_PATTERN_N] = 0
        head[H_CONFIRMED] = 0
        head[H_OPENED_AT] = index
    known = head[H_REF_N]
    if rate > surprisal:
        score = max(score, rate // TIME_SCALE)
        effect = rate // TIME_SCALE
        shown = rate if effect >= MIN_EFFECT else shown
        surprisal = rate
        extrapolated = timing[Y_SHOWN + 4] != 0
        known = timing[Y_SHOWN + 5]
    if rate < OPEN_SURPRISAL:
        head[H_SPAN] += 1  # what a changed rate needs to become normal is time, not events (rate.py)
    emit = DONE
    peak = False
    if anomalous:
        head[H_COUNT] += 1
        head[H_QUIET] = 0
        head[H_LAST] = head[H_TIME]
        for group in range(GROUPS):
            head[H_GROUP_PEAK + group] = max(head[H_GROUP_PEAK + group], scores[group])
        stronger = shown > head[H_PEAK_SHOWN]
        if head[H_PEAK_SHOWN] < 0 and shown < 0:
            stronger = surprisal > head[H_PEAK_SURPRISAL]
        if stronger and said != NORMAL:
            peak = True
            head[H_PEAK_SCORE] = score
            head[H_PEAK_SHOWN] = shown
            head[H_PEAK_SURPRISAL] = shown if shown >= 0 else surprisal
            head[H_PEAK_EXTRAPOLATED] = extrapolated
            head[H_PEAK_REFERENCE] = known
        if said == CONFIRMED:
            head[H_CONFIRMED] = 1
        telling = shown >= max(level, head[H_RATE_BITS] - budget) and said != NORMAL
        if telling and pattern[0] != 0:
            note_pattern(head, pattern[0], pattern[1])
        if not head[H_REPORTED]:
            if telling:
                head[H_REPORTED] = 1
                head[H_CALIBRATED] = known >= CALIBRATED_FROM
                emit = EMIT_REPORTED
        elif head[H_COUNT] >= head[H_NEXT]:
            emit = EMIT_DOUBLED
    else:
        head[H_QUIET] += 1
    if head[H_SPAN] == START_EVENTS:  # a score that climbs would be told rarer than it is by its first step alone
        wait(head, reference, head[H_GROUP_PEAK : H_GROUP_PEAK + GROUPS])
    if head[H_QUIET] >= QUIET_EVENTS:
        head[H_OPEN] = 0
        emit = EMIT_CLOSED if head[H_REPORTED] else DONE
    elif head[H_SPAN] >= ADOPT_AFTER and head[H_CONFIRMED]:
        head[H_SPAN] = START_EVENTS + 1
    elif head[H_SPAN] >= ADOPT_AFTER:
        head[H_OPEN] = 0
        emit = EMIT_ADOPTED if head[H_REPORTED] else DONE
        head[H_FREE_UNTIL] = head[H_EVENTS] + ADOPT_FREE
        forget_reference(head)
    if emit != DONE:
        head[H_REVISION] += 1
        head[H_NEXT] = 2 * head[H_COUNT]
    return emit, anomalous, opened, peak


@inner
def adopt_counts(head: Longs, buckets: Longs) -> None:
    """The baseline outside the largest window weighs no more than that window, so that a new normal is learned soon."""
    halvings = 0
    while head[H_LONG] >> halvings > head[H_IN + N_WINDOWS - 1]:
        halvings += 1
    if halvings:
        fade(head, buckets, halvings)
