"""What a size of DriftLock is loaded with by a scenario, what breaks first, and what it costs. Arithmetic on means; pure."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Costs = Mapping[str, Any]
COSTS = Path(__file__).with_name("costs.toml")
MOST_FLUSHES = 4
"""Flushes may become so much longer: an event then waits 800 ms."""

_MICRO = 1e-6
_MONTH_H = 730.0


@dataclass(frozen=True)
class Scenario:
    """What arrives. Streams are equal, and spread over organizations evenly."""

    streams: int
    events_per_s: float
    organizations: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.streams:,} streams, {self.events_per_s:,.0f} events/s, {self.organizations:,} organizations"


@dataclass(frozen=True)
class Size:
    """An installation. Packers and workers are processes of one core."""

    packers: int = 1
    workers: int = 1
    partitions: int = 12
    brokers: int = 3
    postgres: int = 1
    flush_factor: int = 1
    stripe_batch: int = 1


@dataclass(frozen=True)
class Load:
    """Demand over limit: over 1 it breaks. `change` is what to do."""

    name: str
    demand: float
    limit: float
    unit: str
    change: str

    @property
    def ratio(self) -> float:
        """demand / limit."""
        return self.demand / self.limit


@dataclass(frozen=True)
class Step:
    """What was first over the mark, at which size, and the size after the change."""

    broke: Load
    size: Size


def costs() -> Costs:
    """The committed inputs."""
    return tomllib.loads(COSTS.read_text(encoding="utf-8"))


def events_per_block(given: Costs, scenario: Scenario, size: Size) -> float:
    """Mean events of a block: those of a flush over the streams that have any in it (streams equal, arrivals independent)."""
    flushed = scenario.events_per_s / size.packers * given["packer"]["flush_ms"] / 1_000
    flushed = max(1.0, min(flushed, given["packer"]["flush_bytes"] / given["events"]["bytes"]) * size.flush_factor)
    streams = max(1.0, scenario.streams / size.packers)
    seen = streams * -math.expm1(-flushed / streams)
    return float(flushed / seen)


def frames_per_s(given: Costs, scenario: Scenario, size: Size) -> float:
    """Messages of `blocks`: each flush writes to each partition (an empty frame where no event went)."""
    per_packer = scenario.events_per_s / size.packers
    by_bytes = per_packer * given["events"]["bytes"] / given["packer"]["flush_bytes"]
    flushes = max(1_000 / given["packer"]["flush_ms"], by_bytes) / size.flush_factor
    return float(size.packers * flushes * size.partitions)


def worker_us(given: Costs, scenario: Scenario, size: Size) -> float:
    """CPU microseconds of workers for an event, blocks and frames included."""
    worker = given["worker"]
    blocks = worker["cpu_us_per_block"] / events_per_block(given, scenario, size)
    frames = worker["cpu_us_per_frame"] * frames_per_s(given, scenario, size) / scenario.events_per_s
    return float(worker["cpu_us_per_event"] + blocks + frames)


def broker_bytes(given: Costs, scenario: Scenario, size: Size) -> float:
    """Bytes/s that brokers write: events and blocks (compressed) and states, each as often as it has replicas."""
    of = given["events"]
    telemetry = 2 * scenario.events_per_s * of["bytes"] * of["compressed"]
    dirty = min(scenario.streams / given["worker"]["save_every_s"], scenario.events_per_s)
    return float(given["broker"]["replicas"] * (telemetry + dirty * given["worker"]["state_bytes_saved"]))


def anomalies_per_s(given: Costs, scenario: Scenario) -> float:
    """Episodes told."""
    return float(scenario.events_per_s * given["events"]["anomalies_per_million"] / 1e6)


def loads(given: Costs, scenario: Scenario, size: Size) -> list[Load]:
    """Every limit, in no order."""
    worker, broker, base = given["worker"], given["broker"], given["postgres"]
    rate = scenario.events_per_s
    busy = rate * worker_us(given, scenario, size) * _MICRO
    totals = scenario.organizations * given["events"]["usage_rows_per_organization_minute"] / 60
    rows = 2 * anomalies_per_s(given, scenario) + totals  # an anomaly and its entry in the ledger
    kept = anomalies_per_s(given, scenario) * 86_400 * base["retention_days"] * base["bytes_per_anomaly"]
    calls = scenario.organizations * given["stripe"]["calls_per_organization_hour"] / 3_600 / size.stripe_batch
    saved = scenario.streams / size.workers * worker["state_bytes_saved"]
    return [
        Load("packers' cores", rate * given["packer"]["cpu_us_per_event"] * _MICRO, size.packers, "cores", "more packers"),
        Load("workers' cores", busy, size.workers, "cores", "longer flushes where blocks are short, then more workers"),
        Load("workers for each partition", size.workers, size.partitions, "processes", "more partitions (a migration)"),
        Load(
            "states in memory",
            scenario.streams * worker["state_bytes_memory"],
            size.workers * worker["memory_bytes"],
            "bytes",
            "more workers, or park idle states",
        ),
        Load(
            "recovery of a worker",
            saved / worker["recover_bytes_per_s"],
            worker["recover_s"],
            "s",
            "more workers, so that each holds less",
        ),
        Load("brokers' bytes", broker_bytes(given, scenario, size), size.brokers * broker["bytes_per_s"], "bytes/s", "more brokers; where most are states, save them less often"),
        Load(
            "brokers' partitions",
            3 * size.partitions * broker["replicas"],
            size.brokers * broker["partitions"],
            "replicas",
            "more brokers",
        ),
        Load("PostgreSQL's rows", rows, size.postgres * base["rows_per_s"], "rows/s", "another PostgreSQL (by organization)"),
        Load("PostgreSQL's disk", kept, size.postgres * base["bytes"], "bytes", "another PostgreSQL (by organization)"),
        Load("Stripe's calls", calls, given["stripe"]["calls_per_s"], "calls/s", "hour totals less often"),
    ]  # fmt: skip


def worst(given: Costs, scenario: Scenario, size: Size) -> Load:
    """What breaks first."""
    return max(loads(given, scenario, size), key=lambda load: load.ratio)


def steps(given: Costs, scenario: Scenario, size: Size) -> list[Step]:
    """What breaks first, changed, again and again until nothing is over the mark. Raises ArithmeticError where that does not end."""
    mark = given["marks"]["utilisation"]
    done: list[Step] = []
    for _ in range(200):
        broke = worst(given, scenario, size)
        if broke.ratio <= mark:
            return done
        size = _changed(given, scenario, broke, size)
        done.append(Step(broke, size))
    raise ArithmeticError(f"no size is enough for {scenario.name}")


def _changed(given: Costs, scenario: Scenario, broke: Load, size: Size) -> Size:
    mark = given["marks"]["utilisation"]
    blocks = given["worker"]["cpu_us_per_block"] / events_per_block(given, scenario, size)

    def grown(count: int) -> int:
        return max(count + 1, math.ceil(count * min(broke.ratio / float(mark), 4.0)))

    if (
        broke.name == "workers' cores"
        and size.flush_factor < MOST_FLUSHES
        and blocks > worker_us(given, scenario, size) / 2
    ):
        return replace(size, flush_factor=2 * size.flush_factor)
    grows: dict[str, Size] = {
        "packers' cores": replace(size, packers=grown(size.packers)),
        "workers for each partition": replace(size, partitions=2 * size.partitions),
        "brokers' bytes": replace(size, brokers=grown(size.brokers)),
        "brokers' partitions": replace(size, brokers=grown(size.brokers)),
        "PostgreSQL's rows": replace(size, postgres=grown(size.postgres)),
        "PostgreSQL's disk": replace(size, postgres=grown(size.postgres)),
        "Stripe's calls": replace(size, stripe_batch=size.stripe_batch + 1),
    }
    return grows.get(broke.name) or replace(size, workers=grown(size.workers))


def dollars_per_hour(given: Costs, scenario: Scenario, size: Size) -> dict[str, float]:
    """What an installation costs by the price list, part by part."""
    price, broker, base = given["prices"], given["broker"], given["postgres"]
    written = broker_bytes(given, scenario, size)
    telemetry = (
        2 * scenario.events_per_s * given["events"]["bytes"] * given["events"]["compressed"] * broker["replicas"]
    )
    disk = telemetry * 86_400 * broker["retention_days"]
    rows = anomalies_per_s(given, scenario) * 86_400 * base["retention_days"] * base["bytes_per_anomaly"]
    return {
        "packers and workers": (size.packers + size.workers) * price["core_hour"],
        "brokers": size.brokers * price["broker_hour"],
        "PostgreSQL": size.postgres * price["postgres_hour"],
        "disks": (disk + rows) / 1e9 * price["disk_gb_month"] / _MONTH_H,
        "between zones": written * 3_600 / 1e9 * price["crossing_gb"] * 2 / 3,
    }


def dollars_per_billion(given: Costs, scenario: Scenario, size: Size) -> float:
    """Dollars for a billion events."""
    return sum(dollars_per_hour(given, scenario, size).values()) / (scenario.events_per_s * 3_600) * 1e9
