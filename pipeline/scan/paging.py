"""Scores as an operator would be paged for them: repeats inside an episode are held back."""

from collections.abc import Sequence
from dataclasses import dataclass

QUIET_EVENTS = 64
"""An episode is over once so many events in a row stayed below half of what was paged last; as the detector's own episodes."""


@dataclass
class Paged:
    """What was paged last in a stream (a score), and how many events since then stayed below half of it."""

    last: int = 0
    quiet: int = QUIET_EVENTS


def held_back(scores: Sequence[int], paged: Paged) -> list[int]:
    """The scores that would page anew, 0 for the others; `paged` is brought up to date.

    A score pages when no episode is open, or when it is a quarter above the last one paged; so the largest that is returned of an
    episode lies at most a fifth below its largest score. It depends on this and earlier scores only.
    """
    peaks = []
    last, quiet = paged.last, paged.quiet
    for score in scores:
        if score > 0 and (quiet >= QUIET_EVENTS or 4 * score > 5 * last):
            last, quiet = score, 0
            peaks.append(score)
            continue
        quiet = 0 if 2 * score >= last else quiet + 1
        peaks.append(0)
    paged.last, paged.quiet = last, quiet
    return peaks
