"""Which broker is chosen, and what the one in memory can do."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pipeline.embedded import broker, tansu


def test_without_java_it_is_tansu_and_says_that_it_is_not_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    said: list[str] = []
    chosen = broker.choose(tmp_path, warn=said.append)
    assert (chosen.name, chosen.durable) == ("tansu", False)
    assert len(said) == 1
    assert "NOT DURABLE" in said[0]


def test_tansu_carries_records_and_forgets_them_when_it_ends(tmp_path: Path) -> None:
    memory = tansu.new(tmp_path / "tansu")
    memory.start()
    try:
        client = AdminClient({"bootstrap.servers": memory.bootstrap})
        client.create_topics([NewTopic("t", num_partitions=1, replication_factor=1)])["t"].result(10)
        producer = Producer({"bootstrap.servers": memory.bootstrap, "acks": "1"})
        producer.produce("t", b"value")
        assert producer.flush(10) == 0
        consumer = Consumer({"bootstrap.servers": memory.bootstrap, "group.id": "g"})
        consumer.assign([TopicPartition("t", 0, 0)])
        record = consumer.poll(10)
        consumer.close()
        assert record is not None
        assert record.value() == b"value"
        memory.restart()
        client = AdminClient({"bootstrap.servers": memory.bootstrap})
        assert "t" not in client.list_topics(timeout=10).topics
    finally:
        memory.remove()
