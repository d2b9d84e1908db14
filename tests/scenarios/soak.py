"""`make soak MINUTES=60 SHARE=.5`: the whole stack at a share of the most that it does here, for long. Nothing may grow, nothing may be lost.

One JSON object a line: what was measured as the most; of each process its memory and slope; of each consumer its lag and slope; the account.
Exit code 1 where a slope is over its bound, a process ended, or the account differs. What it does meanwhile goes to standard error.
"""

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
from confluent_kafka import Producer

from pipeline import kafka, telemetry
from pipeline.embedded import process
from pipeline.embedded.process import Child
from pipeline.stack import account, components, processes, seed
from pipeline.stack.components import Components
from pipeline.stack.processes import PACKER, PROGRAMS, SINK_ANOMALIES, SINK_USAGE, WORKER
from schemas.errors import ComponentFailed
from schemas.settings import Settings, load
from tests.benchmarks.progress import scrape
from tests.scenarios import traffic, truth
from tests.scenarios.traffic import Published, Record
from tests.stack.fixtures import scratch

WARM, MEASURED = 20_000, 100_000
"""Events before the most is measured, and those on which it is."""
EVERY_S, TICK_S = 5.0, 0.5
BURST_RATE = 0.000_01
GROWTH_PER_MINUTE = 0.001
LEAST_KIB_PER_MINUTE = 64.0
"""A process may grow by so much of its memory in a minute (6 % in an hour), or by so much: an allocator's own noise."""
LAG_S = 1.0
"""A lag may grow, over the second half, by what comes in so long."""


@dataclass
class Soak:
    """A running stack, what was sent to it, and what was seen: of each name (seconds, value)."""

    parts: Components
    children: dict[str, Child]
    organization_id: UUID
    producer: Producer
    settings: Settings
    records: Iterator[Record]
    published: Published = field(default_factory=Published)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    lags: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def feed(self, events: int) -> None:
        """Send so many records, acknowledged."""
        traffic.publish(self.producer, list(itertools.islice(self.records, events)), self.published)

    def check(self) -> None:
        """`ComponentFailed` where a process ended: here none is started again."""
        for name, child in self.children.items():
            if not child.alive():
                raise ComponentFailed(f"{name} ended with {child.popen.returncode}: {process.tail(child.log)}")

    def accounted(self) -> bool:
        """Whether every event that was sent is in PostgreSQL, scored, a duplicate or dead."""
        self.check()
        with psycopg.connect(self.parts.postgres.url()) as connection:
            found = account.read(self.settings, connection, self.organization_id)
        return found.scored + found.duplicates >= self.published.events


def main(words: Sequence[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="make soak", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=0.5, help="of the most that was measured, over 0 to 1")
    given = parser.parse_args(words)
    if given.minutes <= 0 or not 0 < given.share <= 1:
        parser.error("minutes are over 0, the share is over 0 and at most 1")
    telemetry.configure_logging(load({"LOG_LEVEL": "error"}), "soak")
    with scratch() as folder:
        parts = components.start(folder, "kafka", _tell)
        children: dict[str, Child] = {}
        try:
            organization_id = seed.organization(parts, "Soak", datetime.now(UTC)).organization_id
            for program in PROGRAMS:
                children[program.name] = processes.start(program, parts.environ_of(program), parts.logs)
            settings = load(parts.environ)
            records = traffic.records(str(organization_id), 1 << 60, 1, burst_rate=BURST_RATE)
            soak = Soak(parts, children, organization_id, kafka.producer(settings), settings, records)
            return _run(soak, given.minutes * 60, given.share)
        except (ComponentFailed, AssertionError) as error:
            _say({"name": "failed", "why": str(error)[:2_000]})
            return 1
        finally:
            for child in children.values():
                process.stop(child, grace_s=5.0)
            components.stop(parts)


def _run(soak: Soak, seconds: float, share: float) -> int:
    most = _most(soak)
    rate = most * share
    _say(
        {
            "name": "most",
            "value": round(most),
            "unit": "events/s, from Kafka to the ledger",
            "share": share,
            "rate": round(rate),
        }
    )
    _feed_for(soak, seconds, rate)
    wrong = _slopes(soak, seconds, rate)
    _until(soak, soak.accounted, 120, "events are not accounted for after the last was sent")
    _until(soak, lambda: truth.complete(soak.parts, soak.organization_id, soak.published), 120, "events are missing")
    process.stop(soak.children.pop(PACKER.name))
    expected = truth.clean(soak.settings)
    _until(soak, lambda: truth.emitted(soak.settings)[0].keys() >= expected[0].keys(), 120, "anomalies are missing")
    _until(soak, lambda: truth.complete(soak.parts, soak.organization_id, soak.published), 120, "events are missing")
    found = truth.prove(soak.parts, soak.organization_id, soak.published, expected)
    lost = soak.published.events - found.scored - found.duplicates
    counts = {"sent": soak.published.events, "scored": found.scored, "repeated": found.duplicates}
    units = {"dead_letters": soak.published.dead, "anomalies": found.anomalies, "units": found.billable}
    _say({"name": "account", **counts, **units, "difference": lost, "minutes": round(seconds / 60, 1)})
    _say({"name": "machine", "cores": os.cpu_count(), "load_1_5_15": [round(one, 1) for one in os.getloadavg()]})
    return 1 if wrong or lost else 0


def _most(soak: Soak) -> float:
    """Events a second from the first that is sent to the last that is booked, all processes at work, the generator's time left out."""
    soak.feed(WARM)
    _until(soak, soak.accounted, 180, "the first events do not come out")
    batch = list(itertools.islice(soak.records, MEASURED))
    before, began = soak.published.events, time.monotonic()
    traffic.publish(soak.producer, batch, soak.published)
    _until(soak, soak.accounted, 300, "the measured events do not come out", every_s=0.2)
    return (soak.published.events - before) / (time.monotonic() - began)


def _feed_for(soak: Soak, seconds: float, rate: float) -> None:
    began = last = time.monotonic()
    sent, first = 0, soak.published.events
    while (now := time.monotonic()) - began < seconds:
        due = int((now - began) * rate) - (soak.published.events - first)
        if due > 0:
            soak.feed(due)
        if now - last >= EVERY_S:
            last = now
            soak.check()
            _sample(soak, now - began)
            sent += 1
            if sent % 12 == 0:
                _tell(f"{(now - began) / 60:.0f} min: {soak.published.events - first:,} events")
        time.sleep(max(0.0, TICK_S - (time.monotonic() - now)))
    behind = (time.monotonic() - began) * rate - (soak.published.events - first)
    if behind > rate * 2:
        raise ComponentFailed(
            f"the generator itself is {behind:.0f} events behind: this machine is too busy for the rate"
        )


def _sample(soak: Soak, at: float) -> None:
    pids = {name: child.pid for name, child in soak.children.items()}
    for name, pid in pids.items():
        soak.memory.setdefault(name, []).append((at, _resident_kib(pid)))
    seen = {one.name: scrape(soak.parts.ports[one.name]) for one in (PACKER, WORKER, SINK_ANOMALIES, SINK_USAGE)}
    packed = _sum(seen[PACKER.name], "driftlock_packer_events_total")
    lags = {
        "packer, records": _sum(seen[PACKER.name], "driftlock_packer_lag_records"),
        "worker, events": packed - _sum(seen[WORKER.name], "driftlock_worker_events_total"),
        "sink-anomalies, records": _sum(seen[SINK_ANOMALIES.name], "driftlock_sink_lag_records"),
        "sink-usage, records": _sum(seen[SINK_USAGE.name], "driftlock_sink_lag_records"),
    }
    for name, lag in lags.items():
        soak.lags.setdefault(name, []).append((at, lag))


def _sum(counts: dict[str, float], name: str) -> float:
    return sum(value for key, value in counts.items() if key.partition("{")[0] == name)


def _resident_kib(pid: int) -> float:
    """VmRSS of /proc."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    raise ComponentFailed(f"process {pid} ended")


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much the value grows in a second; 0 of fewer than two points."""
    n = len(points)
    mean_at, mean = (sum(one[i] for one in points) / max(n, 1) for i in (0, 1))
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    return sum((at - mean_at) * (value - mean) for at, value in points) / spread if spread else 0.0


def _slopes(soak: Soak, seconds: float, rate: float) -> int:
    """Say the slopes over the second half; how many are over their bound."""
    wrong = 0
    for name, points in soak.memory.items():
        later = [one for one in points if one[0] >= seconds / 2]
        mean = sum(value for _, value in later) / len(later)
        grows, bound = 60 * slope(later), max(LEAST_KIB_PER_MINUTE, GROWTH_PER_MINUTE * mean)
        wrong += grows > bound
        said = {"mib_at_half": round(later[0][1] / 1024, 1), "mib_at_end": round(later[-1][1] / 1024, 1)}
        _say({"name": f"memory, {name}", **said, **_judged("KiB a minute", grows, bound)})
    for name, points in soak.lags.items():
        later = [one for one in points if one[0] >= seconds / 2]
        grows, bound = 60 * slope(later), 60 * LAG_S * rate / (seconds / 2)
        wrong += grows > bound
        _say({"name": f"lag, {name}", "most": round(max(lag for _, lag in later)), **_judged("a minute", grows, bound)})
    return wrong


def _judged(unit: str, grows: float, bound: float) -> dict[str, object]:
    return {"slope": round(grows, 1), "bound": round(bound, 1), "unit": unit, "ok": grows <= bound}


def _until(soak: Soak, done: Callable[[], bool], patience_s: float, what: str, every_s: float = 1.0) -> None:
    end = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > end:
            raise ComponentFailed(f"{what} ({soak.published.events:,} sent)")
        time.sleep(every_s)


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
