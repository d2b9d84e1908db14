"""`make simulate`: what breaks first at each step from a small installation on, then the size, its latency and its price; one JSON object a scenario."""

import json
import sys
from dataclasses import asdict

from tests.simulate import flow, plan
from tests.simulate.plan import Costs, Scenario, Size

SCENARIOS = (
    Scenario(10_000, 10_000, 100),
    Scenario(10_000, 1_000_000, 100),
    Scenario(1_000_000, 100_000, 10_000),
    Scenario(1_000_000, 1_000_000, 10_000),
)
PART = 8
"""Workers that are simulated: parts of an installation share nothing but PostgreSQL."""
SECONDS = 20.0
BATCH = 50


def part(given: Costs, scenario: Scenario, size: Size) -> flow.Flow:
    """The flow through a few workers of an installation and their share of packers, as its means say."""
    workers = min(PART, size.workers)
    share = workers / size.workers
    packers = max(1, round(size.packers * share))
    return flow.Flow(
        batches_per_s=scenario.events_per_s * share / BATCH,
        events_a_batch=BATCH,
        packers=packers,
        workers=workers,
        partitions=max(workers, size.partitions * workers // size.workers),
        packer_s=given["packer"]["cpu_us_per_event"] * 1e-6 * packers / (size.packers * share),
        worker_s=plan.worker_us(given, scenario, size) * 1e-6,
        wait_s=given["packer"]["flush_ms"] / 1_000 * size.flush_factor,
    )


def told(given: Costs, scenario: Scenario, seed: int) -> dict[str, object]:
    """All that is said of a scenario."""
    done = plan.steps(given, scenario, Size())
    size = done[-1].size if done else Size()
    seen = flow.run(part(given, scenario, size), SECONDS, seed)
    worst = plan.worst(given, scenario, size)
    return {
        "name": scenario.name,
        "size": asdict(size),
        "steps": [
            f"{step.broke.name} at {step.broke.ratio:.2f} of their limit ({step.broke.demand:,.1f} of "
            f"{step.broke.limit:,.1f} {step.broke.unit}): {step.broke.change}"
            for step in done
        ],
        "next to break": f"{worst.name} at {worst.ratio:.2f}",
        "worker_us_per_event": round(plan.worker_us(given, scenario, size), 2),
        "events_per_block": round(plan.events_per_block(given, scenario, size), 2),
        "broker_bytes_per_s": round(plan.broker_bytes(given, scenario, size)),
        "postgres_rows_per_day": round(plan.anomalies_per_s(given, scenario) * 86_400),
        "postgres_bytes_per_day": round(
            plan.anomalies_per_s(given, scenario) * 86_400 * given["postgres"]["bytes_per_anomaly"]
        ),
        "stripe_calls_per_day": round(24 * scenario.organizations * given["stripe"]["calls_per_organization_hour"]),
        "latency_p50_ms": round(1_000 * seen.quantile(0.5), 1),
        "latency_p99_ms": round(1_000 * seen.quantile(0.99), 1),
        "utilisation_of_workers": round(seen.workers, 3),
        "dollars_per_billion_events": round(plan.dollars_per_billion(given, scenario, size), 3),
        "dollars_per_hour": {
            name: round(dollars, 3) for name, dollars in plan.dollars_per_hour(given, scenario, size).items()
        },
        "prices": given["prices"]["name"],
        "seed": seed,
    }


def main(seed: int) -> int:
    """Print the steps on standard error, the objects on standard output."""
    given = plan.costs()
    for scenario in SCENARIOS:
        said = told(given, scenario, seed)
        steps = said["steps"]
        assert isinstance(steps, list)
        sys.stderr.write(f"{said['name']}\n" + "".join(f"  {number}. {step}\n" for number, step in enumerate(steps, 1)))
        sys.stderr.write(f"  then {said['next to break']}; {said['size']}\n")
        sys.stdout.write(json.dumps(said) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
