"""How a stream stands: its warm-up, its rate, and how far its present is from its anchor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors import layout as at
from detectors.state import State
from detectors.tables import LOG2

PRESENT_LEAST = 500
"""Events of the present below which nothing is said of drift."""


@dataclass(frozen=True)
class Standing:
    """`events` scored; `reference_n` scores to compare with (calibrated from 1,000, 50: shown); `per_day` events, lately.

    `anchor_n` events of the anchor, which is frozen once it has 1,000; `drift` in 2^-16 bit an event, None while nothing can be said.
    """

    events: int
    reference_n: int
    per_day: int
    last_at: int
    anchor_n: int
    drift: int | None


def standing(state: State) -> Standing:
    """How a stream stands."""
    head = state.head
    elapsed = int(head[at.H_TIME] - head[at.H_RATE_T])
    events = int(head[at.H_EVENTS] - head[at.H_RATE_N])
    return Standing(
        int(head[at.H_EVENTS]),
        int(head[at.H_REF_N]),
        min(events * at.DAY_MS // max(elapsed, 1), 1 << 53) if events > 1 else events,
        int(head[at.H_TIME]),
        int(head[at.H_ANCHOR_N]),
        drift(state),
    )


def drift(state: State) -> int | None:
    """What an event of the present costs more by the anchor's frequencies of forms than by its own, 2^-16 bit (Kullback-Leibler)."""
    anchor, counts = _words(state) & at.FORM_MASK, _present(state)
    total, frozen = int(counts.sum()), int(anchor.sum())
    if frozen < at.ANCHOR_EVENTS or total < PRESENT_LEAST:
        return None
    # Fewer than 8,192 of everything: the table has each of these logarithms.
    costs = LOG2[2 * anchor + 1].astype(np.int64) - int(LOG2[2 * frozen + at.ANCHOR_BINS])
    own = LOG2[np.maximum(counts, 1)].astype(np.int64) - int(LOG2[total])
    return max(int((counts * (own - costs)).sum()) // total, 0)


def moment(state: State) -> tuple[int, int]:
    """Changes when there is something new to say of a stream's standing: with each minute of its time, each tenth of its warm-up."""
    reference = min(int(state.head[at.H_REF_N]), at.CALIBRATED_FROM)
    return int(state.head[at.H_TIME]) // 60_000, 10 * reference // at.CALIBRATED_FROM


def reset_anchor(state: State) -> None:
    """The present becomes the anchor; where too little of it is known the next events do."""
    counts = _present(state)
    if counts.sum() < at.ANCHOR_EVENTS:
        counts = np.zeros_like(counts)
    words = _words(state)
    words[:] = words & ~np.int64(at.FORM_MASK) | counts
    state.head[at.H_ANCHOR_N] = counts.sum()


def _words(state: State) -> NDArray[np.int64]:
    return state.head[at.H_ANCHOR : at.H_ANCHOR + at.ANCHOR_BINS]


def _present(state: State) -> NDArray[np.int64]:
    words = _words(state)
    return (words >> at.PRESENT_SHIFT & at.FORM_MASK) + (words >> at.BEFORE_SHIFT & at.FORM_MASK)
