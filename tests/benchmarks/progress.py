"""Processor time of real processes between two points of their own progress, so that start-up is left out.

A point is (what /metrics counts, user + system time of all threads from /proc), taken together. The first is taken when the
process has handled `warm` events: by then it has imported, compiled, joined its group and loaded its states.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from pipeline.embedded import process
from pipeline.embedded.ports import LOOPBACK
from pipeline.embedded.process import Child
from schemas.errors import ComponentFailed

EVERY_S = 0.1
LEAST_CPU = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Point:
    """Events handled so far, processor seconds used so far, and all counts of /metrics."""

    events: float
    cpu: float
    counts: dict[str, float]


@dataclass(frozen=True)
class Running:
    """A process of ours with its port for /metrics and the name there of the events it handled."""

    child: Child
    port: int
    events: str

    def point(self) -> Point:
        """How far it is."""
        if not self.child.alive():
            raise ComponentFailed(f"{self.child.name} ended: {process.tail(self.child.log, 3)}")
        counts = scrape(self.port)
        return Point(counts.get(self.events, 0.0), cpu_seconds(self.child.pid), counts)


@dataclass(frozen=True)
class Spent:
    """What one process did between its two points."""

    first: Point
    last: Point

    @property
    def events(self) -> float:
        """Events handled."""
        return self.last.events - self.first.events

    @property
    def cpu(self) -> float:
        """Processor seconds used."""
        return self.last.cpu - self.first.cpu


def rate(spent: Sequence[Spent]) -> float:
    """Events per CPU-second of processes that each handle every event: the costs of an event are added up."""
    return 1 / sum(s.cpu / s.events for s in spent)


def watch(
    running: Sequence[Running],
    *,
    warm: int,
    total: float,
    cpu: float,
    timeout_s: float = 600.0,
    look: Callable[[list[Point]], None] = lambda _: None,
) -> list[Spent]:
    """Follow processes from `warm` events each until each has handled `total`, or `cpu` seconds are used by all together.

    All last points are taken at the same time: a process that is done and waits for another is still paid for.
    `ComponentFailed` where one ends, or nothing comes of it in time.
    """
    firsts: dict[int, Point] = {}
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        points = [r.point() for r in running]
        look(points)
        for number, point in enumerate(points):
            if point.events >= warm:
                firsts.setdefault(number, point)
        spent = [Spent(firsts[n], p) for n, p in enumerate(points) if n in firsts]
        if len(spent) == len(running):
            done = all(p.events >= total for p in points)
            if done and any(s.cpu < LEAST_CPU for s in spent):
                raise ComponentFailed(f"{total:.0f} events are too few to measure: all done within {LEAST_CPU} CPU-s")
            if done or sum(s.cpu for s in spent) >= cpu:
                return spent
        time.sleep(EVERY_S)
    said = ", ".join(f"{r.child.name} {p.events:.0f}" for r, p in zip(running, points, strict=True))
    raise ComponentFailed(f"after {timeout_s:.0f} s of {total:.0f} events: {said}")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads and those that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def scrape(port: int) -> dict[str, float]:
    """What /metrics of a process says, by name with labels; nothing while it does not listen yet."""
    try:
        with urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except (URLError, ConnectionError, TimeoutError):
        return {}
    pairs = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}
