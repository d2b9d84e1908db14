"""What every provider of a broker or of PostgreSQL must do: containers, processes, each version of PostgreSQL."""

import os
import time
from collections.abc import Iterator

import psycopg
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from psycopg import sql

from pipeline.embedded import postgres as embedded_postgres
from pipeline.embedded import postgres_programs
from pipeline.embedded.broker import Broker
from tests.stack import providers
from tests.stack.fixtures import fresh_database, running, scratch
from tests.stack.providers import Server

LONG_AGO_MS = 1_000_000_000_000


def test_a_topic_stamps_its_records_with_the_time_of_the_append(broker: Broker, topic_prefix: str) -> None:
    topic = _topic(broker, topic_prefix, {"message.timestamp.type": "LogAppendTime"})
    before = time.time_ns() // 1_000_000
    _produce(broker, topic, [b"0", b"1"])
    records = _consume(broker, topic, 2)
    assert [record.value() for record in records] == [b"0", b"1"]
    for kind, at in (record.timestamp() for record in records):
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert before <= at <= time.time_ns() // 1_000_000


def test_a_topic_may_keep_the_producers_time(broker: Broker, topic_prefix: str) -> None:
    topic = _topic(broker, topic_prefix, {"message.timestamp.type": "CreateTime"})
    _produce(broker, topic, [b"0"])
    assert _consume(broker, topic, 1)[0].timestamp()[1] == LONG_AGO_MS


def test_a_missing_topic_is_not_made_by_a_client(broker: Broker, topic_prefix: str) -> None:
    name = f"{topic_prefix}missing"
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    assert client.list_topics(name, timeout=10).topics[name].error is not None
    assert name not in client.list_topics(timeout=10).topics


def test_records_of_ten_megabytes_pass_where_the_topic_allows_them(broker: Broker, topic_prefix: str) -> None:
    topic = _topic(broker, topic_prefix, {"max.message.bytes": str(16 << 20)})
    value = b"x" * (10 << 20)
    _produce(broker, topic, [value])
    assert _consume(broker, topic, 1)[0].value() == value


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_acknowledged_records_outlive_the_broker(own_broker: Broker, topic_prefix: str, end: str) -> None:
    topic = _topic(own_broker, topic_prefix, {})
    values = [str(number).encode() for number in range(1000)]
    _produce(own_broker, topic, values)
    bootstrap = own_broker.bootstrap
    getattr(own_broker, end)()
    own_broker.start()
    assert own_broker.bootstrap == bootstrap
    assert [record.value() for record in _consume(own_broker, topic, 1000)] == values


# As root there are two ways not to be root: a user namespace, and where that is refused another user for good.
SERVERS = ["shared", "debian", *(["dropped"] if os.geteuid() == 0 else [])]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The PostgreSQL that all tests share, a second version of it, and one that runs as a user without rights."""
    if request.param == "shared":
        yield request.getfixturevalue("postgres")
        return
    programs = providers.needed(getattr(postgres_programs, request.param))
    with scratch() as folder:
        yield from running(embedded_postgres.new(folder / "postgres", programs=programs, fast=True))


def test_only_the_password_opens_it(server: Server) -> None:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute("SELECT current_user, current_setting('password_encryption')").fetchone()
    assert row == ("postgres", "scram-sha-256")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url(password="wrong"))  # pragma: allowlist secret


def test_databases_are_fresh_utf8_and_gone_afterwards(server: Server) -> None:
    with fresh_database(server) as database:
        with psycopg.connect(database.url()) as connection:
            assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
            connection.execute("CREATE TABLE only_here (a int)")
        with fresh_database(server) as other, psycopg.connect(other.url()) as connection:
            assert connection.execute("SELECT to_regclass('only_here')").fetchone() == (None,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(database.url())


def test_forced_row_level_security_holds_for_whoever_does_not_own_and_who_does(server: Server) -> None:
    with fresh_database(server) as database, psycopg.connect(database.url(), autocommit=True) as admin:
        owner, reader = f"{database.name}_owner", f"{database.name}_reader"
        for role in (owner, reader):
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'p'").format(sql.Identifier(role)))
        try:
            admin.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(owner)))
            with psycopg.connect(database.url(owner, "p"), autocommit=True) as connection:
                connection.execute("CREATE TABLE kept (tenant text, a int)")
                connection.execute("INSERT INTO kept VALUES ('one', 1), ('two', 2)")
                connection.execute("ALTER TABLE kept ENABLE ROW LEVEL SECURITY")
                connection.execute("ALTER TABLE kept FORCE ROW LEVEL SECURITY")
                connection.execute("CREATE POLICY mine ON kept USING (tenant = current_setting('app.tenant', true))")
                connection.execute(sql.SQL("GRANT SELECT ON kept TO {}").format(sql.Identifier(reader)))
            for role in (owner, reader):
                with psycopg.connect(database.url(role, "p")) as connection:
                    assert connection.execute("SELECT a FROM kept").fetchall() == []
                    connection.execute("SELECT set_config('app.tenant', 'two', true)")
                    assert connection.execute("SELECT a FROM kept").fetchall() == [(2,)]
        finally:
            for role in (owner, reader):
                admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_committed_rows_outlive_the_server(own_postgres: Server, end: str) -> None:
    url = own_postgres.url()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS a")
    unfinished = psycopg.connect(url)
    unfinished.execute("INSERT INTO kept VALUES (0)")
    getattr(own_postgres, end)()
    unfinished.close()
    own_postgres.start()
    assert own_postgres.url() == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*), min(a) FROM kept").fetchone() == (1000, 1)


def _topic(broker: Broker, prefix: str, config: dict[str, str]) -> str:
    topic = NewTopic(f"{prefix}topic", num_partitions=1, replication_factor=1, config=config)
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    client.create_topics([topic])[topic.topic].result(30)
    return str(topic.topic)


def _produce(broker: Broker, topic: str, values: list[bytes]) -> None:
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "message.max.bytes": 16 << 20})
    for value in values:
        producer.produce(topic, value, partition=0, timestamp=LONG_AGO_MS, on_delivery=delivered)
    assert producer.flush(30) == 0
    assert failed == []


def _consume(broker: Broker, topic: str, count: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": topic, "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        records: list[Message] = []
        deadline = time.monotonic() + 30
        while len(records) < count and time.monotonic() < deadline:
            records += consumer.consume(count - len(records), timeout=1)
        assert [record.error() for record in records if record.error()] == []
        return records
    finally:
        consumer.close()
