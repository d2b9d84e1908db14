"""kill -9 of every process at every named crash point, in the middle of a seed and of 50,000 events: nothing lost, nothing twice."""

import random
import time

import pytest

from pipeline.embedded import process
from pipeline.stack import processes
from tests.scenarios import fleet as fleets
from tests.scenarios import operations, seeded, stories
from tests.scenarios.stories import Story
from tests.stack.fixtures import scratch

EVENTS = 50_000
WORKER = ("after-score:20", "after-send:20", "after-ack:20", "mid-save:10", "after-states:3", "after-save:3")
PACKER = ("mid-flush:5", "after-send:10", "after-ack-before-commit:4", "after-commit:4")
SINK = ("assigned", "locked:2", "written:2", "before-commit:2", "after-commit:2", "after-kafka-commit:1")


def crash_points(name: str, points: tuple[str, ...]) -> list[str]:
    """Full names of a process's crash points."""
    return [f"{name}:{point}" for point in points]


def every_crash(story: Story) -> bool:
    """More events, with more bursts, while a crash point waits to be reached."""
    if fleets.all_died(story.fleet):
        return True
    stories.feed(story, 500, burst_rate=0.02)
    return False


@pytest.mark.timeout(900)
def test_every_crash_point_once() -> None:
    with stories.running() as story, scratch() as folder:
        fleets.enlist(story.fleet, processes.PACKER, crash_points("packer", PACKER))
        fleets.enlist(story.fleet, processes.WORKER, crash_points("worker", WORKER))
        fleets.enlist(story.fleet, processes.SINK_ANOMALIES, crash_points("sink-anomalies", SINK))
        fleets.enlist(story.fleet, processes.SINK_USAGE, crash_points("sink-usage", SINK))
        began = seeded.seed(story, folder)
        stories.feed(story, EVENTS)
        stories.until(story, lambda: every_crash(story), 400, "a crash point was never reached")
        stories.settle(story)
        seeded.strange_lines_of_today(story, folder)
        stories.settle(story)
        outcome = stories.prove(story)
        assert outcome.billable > 0
        seeded.told_of_today_alone(story, began)
        operations.nothing_differs(story)


@pytest.mark.kills
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(3))
def test_random_kills(seed: int) -> None:
    rng = random.Random(seed)
    with stories.running() as story:
        for program in (processes.PACKER, processes.WORKER, processes.SINK_ANOMALIES, processes.SINK_USAGE):
            fleets.enlist(story.fleet, program)
        for _ in range(20):
            stories.feed(story, EVENTS // 20)
            process.kill(rng.choice(story.fleet.members).child)
            time.sleep(rng.random() * 3)  # when the next kill falls is what is random here
        stories.settle(story, 300)
        assert stories.prove(story).billable > 0
