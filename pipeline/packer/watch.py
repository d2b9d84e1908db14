"""The sources watched while they are read: the same topics still, and how far behind."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.packer.assignment import SHARED
from pipeline.packer.metrics import LAG
from pipeline.packer.sources import Source, require_same
from schemas.errors import MissingTopic
from schemas.topics import TOPICS

_LOG = structlog.get_logger("pipeline.packer")
_SECONDS = 5.0
_OURS = frozenset(topic.name for topic in TOPICS)
ORGANIZATIONS = "organizations"
"""The label of all topics that organizations own: there may be as many as organizations."""


class Watch:
    """Asks Kafka for the topics' ids without waiting, and judges the answer the next time."""

    def __init__(self, client: AdminClient, consumer: Consumer) -> None:
        self._client = client
        self._consumer = consumer
        self._next = 0.0
        self._asked: dict[str, Future[Any]] = {}
        self._shown: set[str] = set()

    def due(self, clock: float) -> bool:
        """Whether it is time to look."""
        return clock >= self._next

    def look(self, clock: float, sources: Sequence[Source]) -> None:
        """`TopicRecreated` if a name means another topic now, `MissingTopic` if one that must be there is gone."""
        self._next = clock + _SECONDS
        known = {source.topic: source.topic_id.partition("#")[0] for source in sources}
        for topic, future in self._asked.items():
            if topic in known and future.done():
                self._judge(topic, known[topic], future)
        self._asked = self._client.describe_topics(TopicCollection(list(known)), request_timeout=4) if known else {}
        self._measure(sources)

    def _judge(self, topic: str, known: str, future: Future[Any]) -> None:
        try:
            require_same(topic, known, str(future.result().topic_id))
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                return  # not answered: asked again
            if topic in SHARED:
                raise MissingTopic(
                    f"the topic {topic} was deleted: create it with `driftlock topics apply`, then accept it with "
                    f"`driftlock packer --accept-new-topic {topic}`"
                ) from error
            _LOG.warning("an organization's topic is gone", topic=topic)

    def _measure(self, sources: Sequence[Source]) -> None:
        behind: Counter[str] = Counter()
        for source in sources:
            try:
                ends = self._consumer.get_watermark_offsets(TopicPartition(source.topic, source.partition), cached=True)
            except KafkaException:
                continue
            label = source.topic if source.topic in _OURS else ORGANIZATIONS
            behind[label] += max(0, ends[1] - source.offset)
        for label in self._shown - behind.keys():  # another packer's now
            LAG.remove(label)
        self._shown = set(behind)
        for label, records in behind.items():
            LAG.labels(label).set(records)
