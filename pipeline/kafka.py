"""Clients of Kafka as the settings say: one place for security, identity of topics, and the first question to a broker."""

import logging
from collections.abc import Callable, Iterable, Mapping
from operator import methodcaller
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnreachable, DeliveryFailed, MissingTopic
from schemas.settings import Settings

MIB = 1 << 20
_NOTHING: Mapping[str, Any] = {}
_LOG = logging.getLogger("pipeline.kafka")
# librdkafka calls the guarantee that we ask for experimental, at each start.
_LOG.addFilter(lambda record: "enable.gapless.guarantee" not in record.getMessage())

# Any producer can send a header whose name is not UTF-8. The client then fails, but gives a list all the same, which ends
# the process when it is read; and the interpreter's short way to call a method does not see that it failed: this one does,
# and raises SystemError. Then `set_headers`, so that nobody reads that list.
headers_of: Callable[[Message], Any] = methodcaller("headers")

# Room over the largest message of the list of topics (dead letters: 20 MiB) for the request around it.
MAX_REQUEST_BYTES = 24 * MIB


def client_config(settings: Settings) -> dict[str, Any]:
    """What every client needs, as librdkafka spells it."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_brokers,
        "security.protocol": settings.kafka_security_protocol,
        "client.id": "driftlock",
        "topic.metadata.refresh.interval.ms": 10_000,
        "topic.metadata.propagation.max.ms": 1_000,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 2_000,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        config |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": settings.kafka_sasl_password.get_secret_value(),
        }
    if settings.kafka_security_protocol.endswith("SSL") and settings.kafka_ssl_ca:
        config["ssl.ca.location"] = settings.kafka_ssl_ca
    return config


def consumer(settings: Settings, group: str, extra: Mapping[str, Any] = _NOTHING) -> Consumer:
    """A consumer that commits only what it is told to, stops at a lost offset, and reads records of any size there is.

    `extra` are librdkafka's settings, over these.
    """
    return Consumer(
        {
            **client_config(settings),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "fetch.message.max.bytes": MIB,
            "fetch.max.bytes": 32 * MIB,
            "receive.message.max.bytes": 100 * MIB,
            "max.poll.interval.ms": 600_000,
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 1_000,
            **extra,
        },
        logger=_LOG,
    )


def producer(settings: Settings, extra: Mapping[str, Any] = _NOTHING) -> Producer:
    """An idempotent producer that keeps order and never leaves a gap; on a broker without such: one request at a time."""
    durable = {
        "acks": "all",
        "enable.idempotence": True,
        "enable.gapless.guarantee": True,
        "max.in.flight.requests.per.connection": 5,
    }
    plain = {"acks": 1, "max.in.flight.requests.per.connection": 1}
    return Producer(
        {
            **client_config(settings),
            **(durable if settings.kafka_durable else plain),
            "message.max.bytes": MAX_REQUEST_BYTES,
            "linger.ms": 5,
            # A message that expired would leave a gap before those behind it: it is tried until the process ends.
            "message.timeout.ms": 0,
            **extra,
        },
        logger=_LOG,
    )


def deliver(producer: Producer, topic: str, messages: Iterable[tuple[str, bytes]], timeout_s: float = 30.0) -> None:
    """Write messages (key, value) in order, and wait until Kafka has all of them. `DeliveryFailed`: some of them may be there."""
    failed: list[KafkaError] = []
    acknowledged: list[bool] = []

    def delivered(error: KafkaError | None, _message: object) -> None:
        acknowledged.append(True)
        if error is not None:
            failed.append(error)

    asked = 0
    try:
        for key, value in messages:
            producer.produce(topic, value, key, on_delivery=delivered)
            asked += 1
        producer.flush(timeout_s)
    except (KafkaException, BufferError) as error:
        raise DeliveryFailed(f"the topic {topic} can't be written: {error}") from error
    # Another thread may take the answers, and others' messages may wait too: what counts is what was asked here.
    if failed or len(acknowledged) < asked:
        raise DeliveryFailed(f"the topic {topic} can't be written: {failed[0].str() if failed else 'time-out'}")


def headers(message: Message) -> Any:
    """The headers of a record, bytes where the client's annotations say str; none where the name of one is not UTF-8."""
    try:
        return headers_of(message) or ()
    except SystemError:
        message.set_headers([])
        return ()


def admin(settings: Settings) -> AdminClient:
    """A client for topics and offsets."""
    return AdminClient(client_config(settings), logger=_LOG)


def require_broker(settings: Settings, timeout: float = 8.0) -> None:
    """`BrokerUnreachable`, in one line and within `timeout` seconds, if no broker answers."""
    said: list[KafkaError] = []
    quiet = logging.Logger("unreachable")  # noqa: LOG001 - what librdkafka would print is in our one line
    quiet.addHandler(logging.NullHandler())
    config: dict[str, Any] = {**client_config(settings), "error_cb": said.append}
    client = AdminClient(config, logger=quiet)
    try:
        client.list_topics(timeout=timeout)
    except KafkaException as error:
        client.poll(0)
        reasons = [e.str() for e in said if e.code() != KafkaError._ALL_BROKERS_DOWN]  # noqa: SLF001
        reason = (reasons or [error.args[0].str()])[0].splitlines()[0]
        raise BrokerUnreachable(
            f"Kafka does not answer at {settings.kafka_brokers}: {reason}; "
            "check KAFKA_BROKERS, KAFKA_SECURITY_PROTOCOL and that the broker runs"
        ) from error


def topics(client: AdminClient, timeout: float = 10.0) -> dict[str, int]:
    """Every topic of the cluster and its number of partitions."""
    try:
        found = client.list_topics(timeout=timeout).topics
    except KafkaException as error:
        raise BrokerUnreachable(f"Kafka does not say its topics: {error.args[0].str()}") from error
    return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}


def topic_ids(client: AdminClient, names: Iterable[str], timeout: float = 10.0) -> dict[str, str]:
    """Kafka's id of each topic, which another topic of the same name does not have; `MissingTopic` names a missing one."""
    wanted = list(names)
    if not wanted:
        return {}
    ids: dict[str, str] = {}
    asked = client.describe_topics(TopicCollection(wanted), request_timeout=timeout)
    for name, future in asked.items():
        try:
            ids[name] = str(future.result(timeout=timeout + 1).topic_id)
        except TimeoutError as error:
            raise BrokerUnreachable(f"Kafka does not describe the topic {name} within {timeout:.0f} s") from error
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise MissingTopic(f"the topic {name} is missing: create it with `driftlock topics apply`") from error
            raise BrokerUnreachable(f"Kafka does not describe the topic {name}: {error.args[0].str()}") from error
    return ids
