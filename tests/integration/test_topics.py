"""The list of topics on real Kafka: made, checked, and every difference told in one line."""

import pytest
from pydantic import SecretStr

from pipeline import kafka, topics
from pipeline.embedded.broker import Broker
from pipeline.embedded.ports import free_ports
from schemas.errors import BrokerUnreachable, LiveKeyRefused, MissingTopic, TopicMismatch
from schemas.settings import Settings
from schemas.topics import TOPICS

ORGANIZATION = "00000000-0000-5000-8000-000000000001"


def test_topics_are_made_and_differences_are_told(own_broker: Broker) -> None:
    settings = Settings(kafka_brokers=own_broker.bootstrap, topic_partitions=2)
    with pytest.raises(MissingTopic, match=r"events.*driftlock topics apply"):
        topics.check(settings)
    assert topics.apply(settings, organizations=[ORGANIZATION]) == [
        *(t.name for t in TOPICS),
        f"events.{ORGANIZATION}",
    ]
    assert topics.apply(settings) == []
    topics.check(settings)
    there = kafka.topics(kafka.admin(settings))
    assert {t.name: t.partitions or 2 for t in TOPICS}.items() <= there.items()
    with pytest.raises(TopicMismatch, match="events has 2 partitions, should have 3"):
        topics.check(settings.model_copy(update={"topic_partitions": 3}))
    with pytest.raises(TopicMismatch, match=r"events has message\.timestamp\.type=LogAppendTime, should be CreateTime"):
        topics.check(settings, create_time=["events"])
    with pytest.raises(MissingTopic, match="nothing"):
        topics.check(settings, create_time=["nothing"])


def test_a_producers_times_are_refused_with_a_live_key() -> None:
    for key in ("sk_live_1", "rk_live_1"):
        with pytest.raises(LiveKeyRefused, match="CreateTime"):
            topics.apply(Settings(stripe_api_key=SecretStr(key)), create_time=["events"])


def test_a_broker_that_is_not_there_is_one_line() -> None:
    (port,) = free_ports(1)
    with pytest.raises(BrokerUnreachable, match=f"127.0.0.1:{port}") as told:
        kafka.require_broker(Settings(kafka_brokers=f"127.0.0.1:{port}"), timeout=2)
    assert "\n" not in str(told.value)
