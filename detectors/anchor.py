"""Kernel that counts forms of events: those of a warm-up's end, frozen, beside those of the present (standing.py compares them).

A form is an event's template, hashed into one of 64 bins.
"""

from detectors.jit import Longs, i64, inner
from detectors.layout import (
    ANCHOR_BINS,
    ANCHOR_EVENTS,
    BEFORE_SHIFT,
    FORM_MASK,
    H_ANCHOR,
    H_ANCHOR_N,
    H_PRESENT_N,
    PRESENT_EVENTS,
    PRESENT_SHIFT,
)


@inner
def note_form(head: Longs, form: int, member: bool) -> None:
    """Count an event; into the anchor only while it is not full, and no member of an episode."""
    at = form & (ANCHOR_BINS - 1)
    if head[H_ANCHOR_N] < ANCHOR_EVENTS and not member:
        head[H_ANCHOR + at] += 1
        head[H_ANCHOR_N] += 1
    if head[H_PRESENT_N] == PRESENT_EVENTS:
        for b in range(ANCHOR_BINS):
            word = head[H_ANCHOR + b]
            head[H_ANCHOR + b] = (word & FORM_MASK) | ((word >> PRESENT_SHIFT & FORM_MASK) << BEFORE_SHIFT)
        head[H_PRESENT_N] = 0
    head[H_ANCHOR + at] += i64(1) << PRESENT_SHIFT
    head[H_PRESENT_N] += 1
