"""`driftlock sink anomalies|usage`: a topic to PostgreSQL; `driftlock sink accept`: what a person accepts as lost."""

import os
import signal
import sys
import threading
from datetime import UTC, datetime

import psycopg
from confluent_kafka import KafkaException, TopicPartition

from pipeline import kafka, telemetry
from pipeline.sinks import offsets
from pipeline.sinks.loop import Status, run
from pipeline.sinks.sink import Sink
from schemas.errors import BrokerUnreachable, DatabaseUnreachable, MissingTopic, SettingsError
from schemas.settings import load
from schemas.topics import ANOMALIES, BLOCKS, USAGE


def anomalies() -> None:
    """Write the topic anomalies to PostgreSQL, until SIGTERM or Ctrl-C."""
    from pipeline.sinks.anomalies import SINK

    _sink(SINK)


def usage() -> None:
    """Book the topic usage in the ledger, until SIGTERM or Ctrl-C."""
    from pipeline.sinks.usage import SINK

    _sink(SINK)


def _sink(sink: Sink) -> None:
    settings = load(os.environ)
    url = settings.database_url_sink.get_secret_value()
    if not url:
        raise SettingsError("DATABASE_URL_SINK is not set: role driftlock_sink")
    telemetry.configure(settings, sink.name)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    status = Status()
    telemetry.serve(settings, {"partitions": status.partitions_wrong, "database": status.database_wrong})
    run(settings, sink, url, stop, status)


def accept(topic: str) -> None:
    """Accept that a topic was deleted and made again, or that its log lost offsets; the sinks of it must be stopped.

    What is still in the topic is read again; what was written before is known by its id and counts once.

    Parameters
    ----------
    topic
        anomalies, usage or blocks.
    """
    if topic not in {ANOMALIES.name, USAGE.name, BLOCKS.name}:
        raise MissingTopic(f"{topic} is no topic that sinks read: anomalies, usage or blocks")
    settings = load(os.environ)
    url = settings.database_url_sink.get_secret_value()
    if not url:
        raise SettingsError("DATABASE_URL_SINK is not set: role driftlock_sink")
    kafka.require_broker(settings)
    client = kafka.admin(settings)
    topic_id = kafka.topic_ids(client, [topic])[topic]
    consumer = kafka.consumer(settings, "sink-accept")
    try:
        logs = {
            partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            for partition in range(kafka.topics(client)[topic])
        }
    except KafkaException as error:
        raise BrokerUnreachable(f"Kafka does not tell the offsets of {topic}: {error.args[0].str()}") from error
    finally:
        consumer.close()
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            said = offsets.accept(connection, topic, topic_id, logs, datetime.now(UTC))
    except psycopg.OperationalError as error:
        raise DatabaseUnreachable(f"PostgreSQL does not answer: {' '.join(str(error).split())}") from error
    sys.stdout.write("\n".join(said) + "\n")
