"""The split of a usage record at the included units and at the cap: exact, whatever the batches.

| part | where its units lie | plan with an overage rate | free plan |
|---|---|---|---|
| 0 | within the included units | billable | billable |
| 1 | over them, up to the cap | billable | waived: delivered free |
| 2 | over the cap | capped | free_withheld: counted, shown as a number only |
"""

from typing import NamedTuple

from billing.ledger import Disposition
from billing.terms import Terms


class Slice(NamedTuple):
    """A part of a record."""

    part: int
    disposition: Disposition
    units: int


def split(count: int, delivered: int, terms: Terms) -> list[Slice]:
    """The parts of a record of `count` units, where `delivered` units of its period came before and were not over the cap.

    >>> from billing import plans, terms
    >>> standard = terms.terms(plans.latest("standard"), terms.NOTHING, 0, 0)
    >>> [tuple(part) for part in split(20_000, 49_000, standard)]
    [(0, 'billable', 1000), (1, 'billable', 10000), (2, 'capped', 9000)]
    """
    within = min(count, max(0, terms.included - delivered))
    rest = count - within
    cap = terms.cap
    over = rest if cap is None else min(rest, max(0, cap - delivered - within))
    parts = []
    if within:
        parts.append(Slice(0, "billable", within))
    if over:
        parts.append(Slice(1, "billable" if terms.metered else "waived", over))
    if rest > over:
        parts.append(Slice(2, "capped" if terms.metered else "free_withheld", rest - over))
    return parts
