"""What happens around our processes: a zombie packer, workers that come and go, Kafka and PostgreSQL killed."""

import signal

import pytest
from confluent_kafka import KafkaException

from pipeline import kafka, topics
from pipeline.embedded import process
from pipeline.stack import processes
from schemas.settings import load
from schemas.topics import BLOCKS
from tests.scenarios import fleet as fleets
from tests.scenarios import stories
from tests.scenarios.stories import Story


def await_members(story: Story, group: str, count: int, what: str) -> None:
    """Until so many members of a consumer group have partitions; else fails with `what`."""
    client = kafka.admin(load(story.parts.environ))

    def there() -> bool:
        try:
            described = client.describe_consumer_groups([group], request_timeout=20)[group].result(25)
        except KafkaException:
            return False  # the group moves right now
        return len({m.member_id for m in described.members if m.assignment and m.assignment.topic_partitions}) == count

    stories.until(story, there, 120, what)


@pytest.mark.timeout(900)
def test_a_zombie_packer_two_workers_and_both_servers_killed() -> None:
    with stories.running() as story:
        first_packer = fleets.enlist(story.fleet, processes.PACKER)
        first_worker = fleets.enlist(story.fleet, processes.WORKER)
        fleets.enlist(story.fleet, processes.SINK_ANOMALIES)
        fleets.enlist(story.fleet, processes.SINK_USAGE)
        stories.feed(story, 14_000)
        stories.settle(story)

        # A packer is stopped in the middle of its work, another takes over, the first comes back and goes on sending.
        group = "driftlock-packer"
        stories.feed(story, 4_000)
        process.signal_group(first_packer.child, signal.SIGSTOP)
        second_packer = fleets.enlist(story.fleet, processes.PACKER)
        stories.feed(story, 4_000)
        await_members(story, group, 1, "the stopped packer keeps its partitions")
        stories.feed(story, 4_000)
        process.signal_group(first_packer.child, signal.SIGCONT)
        stories.feed(story, 4_000)
        await_members(story, group, 2, "the first packer does not come back")
        stories.settle(story)
        assert second_packer.child.alive()

        # A second worker joins while events flow; the first one leaves.
        fleets.enlist(story.fleet, processes.WORKER)
        stories.feed(story, 6_000)
        await_members(story, "driftlock-worker", 2, "the second worker has no partition")
        stories.feed(story, 4_000)
        story.fleet.members.remove(first_worker)
        process.stop(first_worker.child)
        stories.feed(story, 4_000)
        stories.settle(story)

        # Kafka, then PostgreSQL, are killed and come back.
        stories.feed(story, 2_000)
        story.parts.broker.kill()
        story.parts.broker.start()
        stories.feed(story, 4_000)
        story.parts.postgres.kill()
        stories.feed(story, 2_000)
        story.parts.postgres.start()
        stories.feed(story, 4_000, burst_rate=0.01)
        stories.settle(story)
        assert stories.prove(story).billable > 0


@pytest.mark.timeout(300)
def test_a_worker_stops_when_blocks_was_made_again() -> None:
    with stories.running() as story:
        fleets.enlist(story.fleet, processes.PACKER)
        worker = fleets.enlist(story.fleet, processes.WORKER)
        fleets.enlist(story.fleet, processes.SINK_ANOMALIES)
        fleets.enlist(story.fleet, processes.SINK_USAGE)
        stories.feed(story, 6_000)
        stories.settle(story)
        fleets.disband(story.fleet)

        settings = load(story.parts.environ)
        client = kafka.admin(settings)
        before = kafka.topic_ids(client, [BLOCKS.name])
        client.delete_topics([BLOCKS.name])[BLOCKS.name].result(30)
        stories.until(story, lambda: BLOCKS.name not in kafka.topics(client), 30, "the topic is not deleted")
        topics.apply(settings)
        assert kafka.topic_ids(client, [BLOCKS.name]) != before

        fleets.enlist(story.fleet, processes.PACKER)
        traffic_goes_on = story.fleet
        stories.feed(story, 1_000)
        assert traffic_goes_on.members[0].child.alive()
        worker.child = fleets.launch(story.fleet, processes.WORKER)
        assert worker.child.popen.wait(120) == 2
        assert "was made again" in process.tail(worker.child.log)
        assert "--accept-new-topic blocks" in process.tail(worker.child.log)
