"""Laws of the arithmetic: what a size is loaded with, and what it costs."""

from copy import deepcopy
from typing import Any

import pytest

from tests.simulate import plan
from tests.simulate.__main__ import SCENARIOS, told
from tests.simulate.plan import Scenario, Size

COSTS: Any = plan.costs()


def _ratios(scenario: Scenario, size: Size, given: Any = COSTS) -> dict[str, float]:
    return {load.name: load.ratio for load in plan.loads(given, scenario, size)}


def test_utilisation_is_rate_times_cost() -> None:
    ratios = _ratios(Scenario(100, 50_000, 10), Size(packers=2, workers=4))
    assert ratios["packers' cores"] == pytest.approx(50_000 * COSTS["packer"]["cpu_us_per_event"] / 1e6 / 2)
    assert ratios["workers' cores"] == pytest.approx(
        50_000 * plan.worker_us(COSTS, Scenario(100, 50_000, 10), Size(packers=2, workers=4)) / 1e6 / 4
    )


def test_more_of_anything_never_loads_its_own_limit_more() -> None:
    scenario = Scenario(100_000, 100_000, 100)
    for small, large, name in (
        (Size(workers=2), Size(workers=3), "workers' cores"),
        (Size(workers=2), Size(workers=3), "states in memory"),
        (Size(brokers=3), Size(brokers=4), "brokers' bytes"),
        (Size(postgres=1), Size(postgres=2), "PostgreSQL's rows"),
    ):
        assert _ratios(scenario, large)[name] < _ratios(scenario, small)[name]


def test_a_block_holds_one_event_at_least_and_all_of_a_flush_at_most() -> None:
    assert plan.events_per_block(COSTS, Scenario(10**6, 100, 1), Size()) == pytest.approx(1, abs=1e-3)
    assert plan.events_per_block(COSTS, Scenario(1, 10_000, 1), Size()) == pytest.approx(2_000)
    longer = plan.events_per_block(COSTS, Scenario(10_000, 10_000, 1), Size(flush_factor=4))
    assert longer > plan.events_per_block(COSTS, Scenario(10_000, 10_000, 1), Size())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.streams}-{scenario.events_per_s}")
def test_steps_end_where_nothing_is_over_the_mark_and_each_was_the_worst(scenario: Scenario) -> None:
    size = Size()
    for step in plan.steps(COSTS, scenario, size):
        assert step.broke == plan.worst(COSTS, scenario, size)
        size = step.size
    assert plan.worst(COSTS, scenario, size).ratio <= COSTS["marks"]["utilisation"]


def test_dearer_events_never_need_less() -> None:
    dearer = deepcopy(COSTS)
    dearer["worker"]["cpu_us_per_event"] *= 3
    scenario = SCENARIOS[1]
    size, larger = (plan.steps(given, scenario, Size())[-1].size for given in (COSTS, dearer))
    assert larger.workers >= size.workers
    assert plan.dollars_per_billion(dearer, scenario, larger) >= plan.dollars_per_billion(COSTS, scenario, size)


def test_what_is_told_follows_from_the_seed() -> None:
    assert told(COSTS, SCENARIOS[0], 1) == told(COSTS, SCENARIOS[0], 1)
    assert told(COSTS, SCENARIOS[0], 1)["latency_p99_ms"] != told(COSTS, SCENARIOS[0], 2)["latency_p99_ms"]
