"""The list of topics made so, and checked: Faust only logs a missing topic, so every process asks here when it starts."""

import re
from collections.abc import Iterable, Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from pipeline import kafka
from schemas.errors import BrokerUnreachable, LiveKeyRefused, MissingTopic, TopicMismatch
from schemas.settings import Settings
from schemas.topics import EVENTS, TOPICS, Topic, organization_topic

ORGANIZATION_TOPIC = re.compile(rf"{EVENTS.name}\.([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})")
"""Name of an organization's own source topic; the group is the organization's id."""

_LIVE = re.compile(r"[a-z]+_live_")


def require_no_live_key(settings: Settings, what: str, why: str) -> None:
    """`LiveKeyRefused` where a live Stripe key is set beside what is for demonstrations and tests."""
    if _LIVE.match(settings.stripe_api_key.get_secret_value()):
        raise LiveKeyRefused(f"{what} is refused with a live Stripe key: {why}")


def wanted(settings: Settings, create_time: Sequence[str] = (), organizations: Sequence[str] = ()) -> list[Topic]:
    """The topics a deployment needs. Those named in `create_time` keep the producer's times (recorded data, for the demo).

    A producer's time decides which hour is billed, so it is refused with a live Stripe key: `LiveKeyRefused`.
    """
    create_time = (*create_time, *(name.strip() for name in settings.topics_create_time.split(",") if name.strip()))
    if create_time:
        what = f"message.timestamp.type=CreateTime on {', '.join(create_time)}"
        require_no_live_key(settings, what, "recorded times would decide what is billed")
    topics = [*TOPICS, *map(organization_topic, organizations)]
    unknown = set(create_time) - {t.name for t in topics}
    if unknown:
        raise MissingTopic(f"no topic of the list is called {', '.join(sorted(unknown))}: see schemas/topics.py")
    return [with_create_time(t) if t.name in create_time else t for t in topics]


def with_create_time(topic: Topic) -> Topic:
    """The topic with the producer's times instead of the broker's, however old they are."""
    extra = {**topic.extra, "message.timestamp.before.max.ms": str(2**63 - 1)}
    return Topic(
        topic.name,
        topic.key,
        topic.what,
        topic.partitions,
        topic.retention_ms,
        topic.max_message_bytes,
        log_append_time=False,
        compacted=topic.compacted,
        compression=topic.compression,
        extra=extra,
    )


def apply(settings: Settings, create_time: Sequence[str] = (), organizations: Sequence[str] = ()) -> list[str]:
    """Create what is missing of the list, then check all of it. Returns the names of the topics that were created."""
    topics = wanted(settings, create_time, organizations)
    kafka.require_broker(settings)
    client = kafka.admin(settings)
    there = kafka.topics(client)
    missing = [t for t in topics if t.name not in there]
    new = [
        NewTopic(t.name, t.partitions or settings.topic_partitions, settings.topic_replication, config=t.config())
        for t in missing
    ]
    for name, future in (client.create_topics(new, operation_timeout=10) if new else {}).items():
        try:
            future.result(timeout=30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process applies the same list
                raise TopicMismatch(f"the topic {name} could not be created: {error.args[0].str()}") from error
    _await_topics(client, [t.name for t in missing])
    _compare(settings, client, topics)
    return [t.name for t in missing]


def check(settings: Settings, create_time: Sequence[str] = (), organizations: Sequence[str] = ()) -> None:
    """`MissingTopic` or `TopicMismatch`, in one line with what to do, unless every topic is as the list says.

    An organization's own topic that exists must carry the broker's time too, or a tenant would choose the hour of its bill.
    """
    topics = wanted(settings, create_time, organizations)
    kafka.require_broker(settings)
    _compare(settings, kafka.admin(settings), topics)


def _await_topics(client: AdminClient, names: Iterable[str]) -> None:
    """Until the broker that answers knows every name: a controller creates before the brokers have heard."""
    waiting = set(names)
    for _ in range(100):
        waiting -= set(kafka.topics(client))
        if not waiting:
            return
        client.poll(0.1)
    raise BrokerUnreachable(f"the topics {', '.join(sorted(waiting))} were created but do not appear within 10 s")


def _compare(settings: Settings, client: AdminClient, topics: Sequence[Topic]) -> None:
    there = kafka.topics(client)
    missing = [t.name for t in topics if t.name not in there]
    if missing:
        noun = "topic is" if len(missing) == 1 else "topics are"
        raise MissingTopic(f"{noun} missing: {', '.join(missing)}; create with `driftlock topics apply`")
    named = {t.name for t in topics}
    own = [name for name in there if ORGANIZATION_TOPIC.fullmatch(name) and name not in named]
    found = _settings_of(client, [*named, *own])
    wrong = [line for t in topics for line in _differences(settings, t, there[t.name], found[t.name])]
    if settings.kafka_durable:
        wrong += [
            f"{name} has message.timestamp.type={found[name]['message.timestamp.type']}, should be LogAppendTime"
            for name in own
            if found[name].get("message.timestamp.type") not in {None, "LogAppendTime"}
        ]
    if wrong:
        raise TopicMismatch(
            f"topics differ from the list: {'; '.join(wrong)}. Set them with kafka-configs, or move the data to a new topic; "
            "a number of partitions can't be changed in place (TOPIC_PARTITIONS must stay what it was)"
        )


def _differences(settings: Settings, topic: Topic, partitions: int, found: dict[str, str]) -> list[str]:
    expected = topic.partitions or settings.topic_partitions
    wrong = [f"{topic.name} has {partitions} partitions, should have {expected}"] if partitions != expected else []
    # A broker in memory tells no settings, and keeps none of those that matter here.
    return wrong + [
        f"{topic.name} has {name}={found[name]}, should be {value}"
        for name, value in topic.config().items()
        if name in found and found[name] != value
    ]


def _settings_of(client: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    asked = client.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names], request_timeout=10)
    found: dict[str, dict[str, str]] = {}
    for resource, future in asked.items():
        try:
            entries = future.result(timeout=15)
        except KafkaException as error:
            raise BrokerUnreachable(
                f"Kafka does not tell the settings of {resource.name}: {error.args[0].str()}"
            ) from error
        found[resource.name] = {name: entry.value for name, entry in entries.items()}
    return found
