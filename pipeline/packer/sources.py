"""Source partitions: where reading goes on after a restart, and when that can't be known."""

import json
from dataclasses import dataclass

from schemas.errors import OffsetLost, TopicRecreated
from schemas.frames import Place, Range

GROUP = "driftlock-packer"


@dataclass(slots=True)
class Source:
    """A source partition at work.

    `start`: where the pending flush starts. (`offset`, `index`): the next place to read. `read_to`: append time in ms of the
    last record read. `through`: append time up to which the partition was read completely, as last told.
    """

    topic: str
    topic_id: str
    partition: int
    number: int
    organization_id: str | None
    start: Place
    offset: int
    index: int
    read_to: int = 0
    through: int = 0
    at_end: bool = False

    def range(self, now_ms: int) -> Range:
        """What the pending flush covers of it; at the log's end it was read up to `now_ms`."""
        self.through = max(self.through, now_ms if self.at_end else self.read_to)
        return Range(self.topic, self.topic_id, self.partition, self.start, (self.offset, self.index), self.through)


@dataclass(frozen=True, slots=True)
class Stored:
    """A committed place: Kafka keeps the offset, the metadata of the commit keep the rest."""

    offset: int
    index: int
    topic_id: str | None


def metadata(topic_id: str, index: int) -> str:
    """What is committed beside an offset."""
    return json.dumps({"topic_id": topic_id, "index": index}, separators=(",", ":"))


def stored(offset: int, said: str | None) -> Stored | None:
    """The committed place, or None where none is. A broker that keeps no metadata forgets the index: the record is read
    again from its first event, and the agents leave out what they have."""
    if offset < 0:
        return None
    try:
        kept = json.loads(said or "{}")
        return Stored(offset, int(kept.get("index", 0)), kept.get("topic_id"))
    except (ValueError, AttributeError, TypeError, OverflowError):
        return Stored(offset, 0, None)


def life(topic_id: str, epoch: int) -> str:
    """What ranges call a topic: Kafka's id, and how often a person accepted lost offsets of it."""
    return f"{topic_id}#{epoch}" if epoch else topic_id


def resume(topic: str, partition: int, topic_id: str, last: Stored | None, low: int, high: int | None) -> Place:
    """The place to read on from: the stored one, or the log's start (`low`) where none is stored for this topic id.

    `OffsetLost` where the log no longer has it, `high` being the log's end (None: the broker does not tell it truly).
    """
    if last is None or (last.topic_id is not None and last.topic_id != topic_id):
        return (low, 0)
    where = f"{topic}/{partition}: the stored offset is {last.offset}"
    if last.offset < low:
        raise OffsetLost(
            f"{where} and the log starts at {low}: records were removed before they were read; "
            f"to go on without them stop every packer and run `driftlock packer --accept-new-topic {topic}`"
        )
    if high is not None and last.offset > high:
        raise OffsetLost(
            f"{where} and the log ends at {high}: the log was cut; "
            f"to go on from its end stop every packer and run `driftlock packer --accept-new-topic {topic}`"
        )
    return (last.offset, last.index)


def require_same(topic: str, known: str | None, found: str) -> None:
    """`TopicRecreated` unless the name still means the topic it meant (or is new)."""
    if known is not None and known != found:
        raise TopicRecreated(
            f"the topic {topic} was deleted and made again (id {known}, now {found}): what was not read of the old one is lost; "
            f"to read the new one from its start run `driftlock packer --accept-new-topic {topic}`"
        )
