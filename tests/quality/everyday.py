"""The streams that `make quality` measures every time: the shipped recording, and made ones whose labels we know.

Made with other base texts and other seeds than the injected streams (`inject.py`), which are looked at only at the end.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from tests.quality import bases, inject
from tests.quality.bases import Rng
from tests.quality.labelled import Event, Labelled, Row, shipped

SEED = 4_001
BURSTS = 6


def bursts(name: str, events: Sequence[Event], rng: Rng) -> Labelled:
    """BURSTS floods of 60 to 300 events of a record that is new each time, each among usual events that go on."""
    at = iter(bases.times(rng, len(events) + BURSTS * 300))
    begins = {len(events) * (i + 2) // (BURSTS + 3): int(rng.integers(60, 300)) for i in range(BURSTS)}
    rows: list[Row] = []
    left, record = 0, events[0]
    for i, event in enumerate(events):
        if i in begins:
            left, record = begins[i], inject.new(rng, event)
        while left and rng.random() < 0.7:
            left -= 1
            rows.append(Row(next(at), record, 1, name, "burst"))
        rows.append(Row(next(at), event, series=name))
    return Labelled(name, tuple(rows))


def gauges(name: str, rng: Rng, n: int = 6000, series: int = 4) -> Labelled:
    """Numeric series with a daily wave; in each a spike, a level that stays 200 events, a value that is stuck 200 events."""
    rows: list[tuple[int, Row]] = []
    for s in range(series):
        wave = 40 + 10 * np.sin(np.arange(n) * 2 * np.pi / 288 + s)
        value = wave + rng.normal(0, 1.5, n)
        kinds = [""] * n
        spike, level, stuck = (int(n * part + rng.integers(300)) for part in (0.4, 0.6, 0.8))
        value[spike : spike + 3] += 45
        value[level : level + 200] += 25
        value[stuck : stuck + 200] = value[stuck]
        for first, length, kind in ((spike, 3, "spike"), (level, 200, "level"), (stuck, 200, "stuck")):
            kinds[first : first + length] = [kind] * length
        for i in range(n):
            event: Event = {"metric": f"gauge{s}", "value": round(float(value[i]), 2)}
            rows.append((i, Row(bases.START + 300.0 * i, event, int(bool(kinds[i])), f"gauge{s}", kinds[i])))
    return Labelled(name, tuple(row for _, row in sorted(rows, key=lambda pair: pair[0])))


def _singles(base: bases.Base, number: int, name: str) -> Labelled:
    rng = np.random.default_rng([SEED, number])
    return inject.singles(name, base(rng, inject.EVENTS), rng)


def _bursts(name: str) -> Labelled:
    rng = np.random.default_rng([SEED, 10])
    return bursts(name, bases.web(rng, inject.EVENTS), rng)


STREAMS: dict[str, Callable[[str], Labelled]] = {
    "recording_demo": lambda _: shipped("demo"),
    "made_bursts": _bursts,
    "made_gauges": lambda name: gauges(name, np.random.default_rng([SEED, 11])),
    "made_web": partial(_singles, bases.web, 0),
    "made_orders": partial(_singles, bases.orders, 1),
    "made_batches": partial(_singles, bases.batches, 2),
}
SMALL = ("made_bursts", "made_orders")
"""Those that a test measures."""


def stream(name: str) -> Labelled:
    """A stream of the list, by name."""
    return STREAMS[name](name)
