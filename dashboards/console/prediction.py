"""What another sensitivity would report and cost in a month, from the histogram of opened episodes by -log2 p.

Sensitivity s reports episodes with p at most 10^(-6 + 4s). The histogram counts whole bits, so the bin in which the level
lies counts in part. Integers in 2^-16 bit; an estimate: the daily bound of a stream and the least effect can only lessen it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.preview import lines
from billing.terms import Terms
from detectors.detector import BIT, Controls, levels

MONTH_DAYS = 30
SETTINGS = (0, 25, 50, 75, 100)


@dataclass(frozen=True)
class Predicted:
    """A sensitivity in percent: false episodes at most one in `one_in` events, anomalies and cents a month.

    `billed` anomalies are those up to the cap; `over` are not billed while the cap stays.
    """

    percent: int
    one_in: int
    anomalies: int
    billed: int
    over: int
    cents: int


def level(percent: int) -> int:
    """Least surprisal that is reported, 2^-16 bit."""
    return levels(Controls(percent / 100))[0]


def episodes(opened: Sequence[int], percent: int) -> int:
    """Episodes of a histogram that a sensitivity reports, rounded half up.

    >>> episodes([0] * 13 + [100, 10], 50)   # -log2 p of the level is 13.29: 71 of the 100, and all 10
    81
    """
    least = level(percent)
    bin_, within = divmod(least, BIT)
    whole = sum(opened[bin_ + 1 :]) * BIT
    part = (opened[bin_] if bin_ < len(opened) else 0) * (BIT - within)
    return (whole + part + BIT // 2) // BIT


def predict(opened: Sequence[int], days: int, terms: Terms, percent: int) -> Predicted:
    """A month at a sensitivity, after `days` whole or begun days that gave the histogram."""
    found = (episodes(opened, percent) * MONTH_DAYS + max(days, 1) // 2) // max(days, 1)
    billed = found if terms.cap is None else min(found, terms.cap)
    cents = sum(line.cents for line in lines(terms, billed))
    return Predicted(percent, round(10 ** (6 - 4 * percent / 100)), found, billed, found - billed, cents)
