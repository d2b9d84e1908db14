"""What a file would have told at each named sensitivity, and what a month like it costs on each plan."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from billing.price import Rates, price
from detectors.detector import Controls
from pipeline.scan.offline import Scan, batches, findings, score_batch
from pipeline.scan.parse import Fields, parse
from pipeline.scan.read import Line

NAMED = {"strict": 0.25, "balanced": 0.5, "sensitive": 0.75}
"""Sensitivities by the names that the product gives them."""

MONTH_MS = 30 * 86_400_000
WARM_FROM = 1_000
LEAST_SPAN_MS = 3_600_000
"""A file of less than an hour says nothing of a month."""


@dataclass(frozen=True)
class Course:
    """What was read: events, streams, those of them that have ended their warm-up, and the time from first to last in ms (0: not known)."""

    events: int
    streams: int
    warm: int
    span: int


@dataclass(frozen=True)
class Cost:
    """A plan's bill in whole cents: `units` in a period, `over` of them not billed because of the cap."""

    plan: str
    units: int
    over: int
    cents: int


@dataclass(frozen=True)
class Forecast:
    """One sensitivity: episodes told, those of them that are billable, the units of a month like this file, the bill on each plan.

    `month` is None where the file does not say how long it took; then `costs` are of the file's own units.
    """

    name: str
    sensitivity: float
    episodes: int
    units: int
    month: int | None
    costs: tuple[Cost, ...]


def forecast(
    lines: Iterable[Line], fields: Fields, budget: int, rates: Mapping[str, Rates]
) -> tuple[Course, list[Forecast]]:
    """Scan lines once at each named sensitivity: exactly what workers would tell of these events, in this order.

    `budget`: expected false episodes a day and stream. `rates`: what units cost, by the name of the plan.
    """
    scans = {name: Scan(fields, Controls(at, budget)) for name, at in NAMED.items()}
    first, last = 1 << 62, 0
    for batch in batches(lines):
        for scan in scans.values():
            score_batch(scan, batch)
        if fields.time is not None:
            times = [parse(line, fields)[2] for line in batch]
            first, last = min(first, *times), max(last, *times)
    one = next(iter(scans.values()))
    span = max(0, last - first)
    course = Course(sum(one.seen.values()), len(one.seen), sum(n >= WARM_FROM for n in one.seen.values()), span)
    return course, [_of(name, scan, span, rates) for name, scan in scans.items()]


def _of(name: str, scan: Scan, span: int, rates: Mapping[str, Rates]) -> Forecast:
    found = findings(scan, None)
    units = sum(finding.update.calibrated for finding in found)
    month = (units * MONTH_MS + span // 2) // span if span >= LEAST_SPAN_MS else None
    billed = units if month is None else month
    return Forecast(name, NAMED[name], len(found), units, month, tuple(costs(rates, billed)))


def costs(rates: Mapping[str, Rates], units: int) -> Iterator[Cost]:
    """The bill of a period with so many units, up to the cap."""
    for name, of in rates.items():
        bill = price(of, units)
        yield Cost(name, units, units - bill.billable, bill.total_cents)
