"""Metrics made from the one list (schemas/metrics.py): a name that is not listed, or of another type, can't be counted."""

import asyncio
import time

from prometheus_client import Counter, Gauge, Histogram

from schemas.metrics import BY_NAME, Kind, Metric

LOOP_EVERY_S = 1.0


def counter(name: str) -> Counter:
    """The counter of that name."""
    metric = _listed(name, "counter")
    return Counter(name, metric.what, metric.labels)


def gauge(name: str) -> Gauge:
    """The gauge of that name."""
    metric = _listed(name, "gauge")
    return Gauge(name, metric.what, metric.labels)


def histogram(name: str) -> Histogram:
    """The histogram of that name."""
    metric = _listed(name, "histogram")
    return Histogram(name, metric.what, metric.labels, buckets=metric.buckets)


def _listed(name: str, kind: Kind) -> Metric:
    metric = BY_NAME.get(name)
    if metric is None or metric.kind != kind:
        raise AssertionError(f"{name} is no {kind} of schemas/metrics.py")
    return metric


LOOP_LAG = gauge("driftlock_event_loop_lag_seconds")


async def watch_loop() -> None:
    """Measure the event loop's lag until cancelled."""
    while True:
        asked = time.monotonic() + LOOP_EVERY_S
        await asyncio.sleep(LOOP_EVERY_S)
        LOOP_LAG.set(max(0.0, time.monotonic() - asked))
