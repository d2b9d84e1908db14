"""kill -9 of every process at every named crash point, in the middle of 50,000 events: nothing lost, nothing twice."""

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest

from pipeline import kafka
from pipeline.stack import components, processes, seed
from pipeline.stack.components import Components
from schemas.settings import load
from tests.scenarios import fleet as fleets
from tests.scenarios import traffic, truth
from tests.scenarios.fleet import Fleet
from tests.scenarios.traffic import Published
from tests.stack.fixtures import scratch

EVENTS = 50_000
PACE = 1_000
WORKER = ("after-score:20", "after-send:20", "after-ack:20", "mid-save:10", "after-states:3", "after-save:3")
PACKER = ("mid-flush:5", "after-send:10", "after-ack-before-commit:4", "after-commit:4")


SINK = ("assigned", "locked:2", "written:2", "before-commit:2", "after-commit:2", "after-kafka-commit:1")


def crash_points(process: str, points: tuple[str, ...]) -> list[str]:
    """Full names of a process's crash points."""
    return [f"{process}:{point}" for point in points]


def until(done: Callable[[], bool], fleet: Fleet, deadline_s: float, what: str) -> None:
    """Tend the fleet until something holds; fails with `what` after `deadline_s`."""
    end = time.monotonic() + deadline_s
    while not done():
        waiting = {member.program.name: member.pending for member in fleet.members if member.pending}
        assert time.monotonic() < end, f"{what}; still to die: {waiting}"
        fleets.tend(fleet)
        time.sleep(0.3)


def feed(parts: Components, organization_id: UUID, fleet: Fleet, events: int, seed_: int) -> Published:
    """Publish events in portions of PACE while the fleet is tended."""
    published = Published()
    producer = kafka.producer(load(parts.environ))
    batch: list[traffic.Record] = []
    for record in traffic.records(str(organization_id), events, seed_):
        batch.append(record)
        if len(batch) == PACE:
            traffic.publish(producer, batch, published)
            fleets.tend(fleet)
            batch = []
    traffic.publish(producer, batch, published)
    return published


@pytest.mark.timeout(900)
def test_every_crash_point_once() -> None:
    with scratch() as folder:
        parts = components.start(folder, "kafka", print)
        fleet = Fleet(parts)
        try:
            story(parts, fleet)
        finally:
            fleets.disband(fleet)
            components.stop(parts)


def story(parts: Components, fleet: Fleet) -> None:
    parts.environ.update(
        {
            "WORKER_CHECKPOINT_SECONDS": "2",
            "WORKER_CHECKPOINT_BYTES": "262144",
            "PACKER_FLUSH_BYTES": "65536",
            "PACKER_TICK_MS": "500",
        }
    )
    organization_id = seed.organization(parts, "kills", datetime.now(UTC)).organization_id
    fleets.enlist(fleet, processes.PACKER, crash_points("packer", PACKER))
    fleets.enlist(fleet, processes.WORKER, crash_points("worker", WORKER))
    fleets.enlist(fleet, processes.SINK_ANOMALIES, crash_points("sink-anomalies", SINK))
    fleets.enlist(fleet, processes.SINK_USAGE, crash_points("sink-usage", SINK))
    published = feed(parts, organization_id, fleet, EVENTS, 7)
    producer = kafka.producer(load(parts.environ))
    more = itertools.count(100)

    def every_crash() -> bool:
        """More events while a crash point waits to be reached."""
        if fleets.all_died(fleet):
            return True
        traffic.publish(
            producer, list(traffic.records(str(organization_id), 500, next(more), quiet=0, burst_rate=0.02)), published
        )
        return False

    until(every_crash, fleet, 300, "a crash point was never reached")
    until(lambda: truth.complete(parts, organization_id, published), fleet, 120, "events are missing")
    outcome = truth.prove(parts, organization_id, published)
    assert outcome.billable > 0
