"""What stories share: a stack with settings that make things happen often, traffic at a pace, waiting while tending."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from confluent_kafka import Producer

from pipeline import kafka
from pipeline.embedded import process
from pipeline.stack import account, components, processes, seed, status
from pipeline.stack.components import Components
from schemas.settings import load
from tests.scenarios import fleet as fleets
from tests.scenarios import traffic, truth
from tests.scenarios.fleet import Fleet, Member
from tests.scenarios.traffic import Published
from tests.stack.fixtures import scratch

BUSY = {
    "WORKER_CHECKPOINT_SECONDS": "2",
    "WORKER_CHECKPOINT_BYTES": "262144",
    "PACKER_FLUSH_BYTES": "65536",
    "PACKER_TICK_MS": "500",
}

PARTITIONS = 4

WARM = 12_000
"""Events after which each of the eight streams has seen its first 1,000."""


@dataclass
class Story:
    """A running stack, an organization, a producer, and what was published."""

    parts: Components
    fleet: Fleet
    organization_id: UUID
    producer: Producer
    published: Published = field(default_factory=Published)
    seeds: Iterator[int] = field(default_factory=lambda: itertools.count(100))


@contextmanager
def running() -> Iterator[Story]:
    """A stack of its own for one story, with nothing of ours started yet."""
    with scratch() as folder:
        parts = components.start(folder, "kafka", print)
        parts.environ.update(BUSY)
        fleet = Fleet(parts)
        try:
            organization_id = seed.organization(parts, "story", datetime.now(UTC)).organization_id
            yield Story(parts, fleet, organization_id, kafka.producer(load(parts.environ)))
        finally:
            fleets.disband(fleet)
            components.stop(parts)


def feed(story: Story, events: int, portion: int = 1_000, burst_rate: float = 0.001) -> None:
    """Publish about so many events in portions, the fleet tended in between; bursts come once the streams are warm."""
    organization = str(story.organization_id)
    quiet = 0 if story.published.events > WARM else 1_500
    records = traffic.records(organization, events, next(story.seeds), quiet=quiet, burst_rate=burst_rate)
    while batch := list(itertools.islice(records, portion)):
        traffic.publish(story.producer, batch, story.published)
        fleets.tend(story.fleet)


def until(story: Story, done: Callable[[], bool], deadline_s: float, what: str) -> None:
    """Tend the fleet until something holds; fails with `what` after `deadline_s`."""
    end = time.monotonic() + deadline_s
    while not done():
        waiting = {member.program.name: member.pending for member in story.fleet.members if member.pending}
        assert time.monotonic() < end, f"{what}; still to die: {waiting}\n{_last_words(story)}"
        fleets.tend(story.fleet)
        time.sleep(0.3)


def obeyed(worker: Member) -> float:
    """Control messages that a worker has taken since it started: each one once per partition."""
    lines = [json.loads(line) for line in worker.child.log.read_text().splitlines() if '"serving"' in line]
    return status.read(lines[-1]["port"]).get("driftlock_worker_controls_total", 0.0) if lines else 0.0


def _last_words(story: Story) -> str:
    """The end of each member's log: a story's folder is gone once it has failed."""
    logs = {member.program.name: member.child.log for member in story.fleet.members}
    return "\n".join(f"== {name}\n{process.tail(log, 15)}" for name, log in logs.items())


def settle(story: Story, deadline_s: float = 180) -> None:
    """Wait until all that was published is accounted for."""
    until(
        story,
        lambda: truth.complete(story.parts, story.organization_id, story.published),
        deadline_s,
        "events are missing",
    )


def hold(story: Story) -> tuple[truth.Revisions, truth.Units]:
    """Stop time, and wait until all is written; returns what a clean scoring of the blocks says.

    A silent stream goes on being told for as long as packers tick: no packer, and the worker has said all that a clean
    scoring says, in topics and in the database.
    """
    for member in [member for member in story.fleet.members if member.program == processes.PACKER]:
        story.fleet.members.remove(member)
        process.stop(member.child)
    settings = load(story.parts.environ)
    expected = truth.clean(settings)
    until(story, lambda: truth.emitted(settings)[0].keys() >= expected[0].keys(), 60, "anomalies are missing")
    settle(story)
    return expected


def prove(story: Story) -> account.Account:
    """End the story and assert the whole account; returns it."""
    return truth.prove(story.parts, story.organization_id, story.published, hold(story))
