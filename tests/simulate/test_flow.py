"""Laws of the queues."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulate.flow import Flow, run

FLOW = Flow(200, 50, 2, 4, 16, 4e-6, 200e-6, 0.2)


def test_utilisation_is_rate_times_cost() -> None:
    seen = run(FLOW, 30, 1)
    arrived = len(seen.latencies) / 30 * FLOW.events_a_batch
    assert seen.workers == pytest.approx(arrived * FLOW.worker_s / FLOW.workers, rel=0.02)
    assert seen.packers == pytest.approx(arrived * FLOW.packer_s / FLOW.packers, rel=0.02)


@settings(max_examples=20)
@given(st.integers(0, 1 << 30), st.sampled_from([1, 2, 4, 8]), st.floats(50e-6, 800e-6))
def test_twice_the_workers_are_never_slower(seed: int, workers: int, cost: float) -> None:
    """For no batch: the partitions of a worker are then shared by two (16 partitions, counts that divide them)."""
    flow = replace(FLOW, workers=workers, worker_s=cost)
    few, many = run(flow, 2, seed), run(replace(flow, workers=2 * workers), 2, seed)
    assert all(b <= a + 1e-9 for a, b in zip(few.latencies, many.latencies, strict=True))


def test_nothing_is_faster_than_its_own_work() -> None:
    seen = run(FLOW, 5, 3)
    assert min(seen.latencies) >= FLOW.events_a_batch * (FLOW.packer_s + FLOW.worker_s) - 1e-9


def test_over_its_capacity_the_queue_grows_with_time() -> None:
    over = replace(FLOW, worker_s=600e-6)
    assert run(over, 10, 1).quantile(0.99) > 1.5 * run(over, 5, 1).quantile(0.99)


def test_the_same_seed_gives_the_same() -> None:
    assert run(FLOW, 3, 5) == run(FLOW, 3, 5) != run(FLOW, 3, 6)
