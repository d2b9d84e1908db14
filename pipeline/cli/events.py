"""`driftlock events send`: publish a file of events to Kafka, line by line."""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Annotated

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer
from cyclopts import Parameter

from pipeline import kafka
from pipeline.lines import following, lines
from schemas.errors import DeliveryFailed, DriftlockError, MissingTopic
from schemas.records import wrong_stream
from schemas.settings import load
from schemas.topics import CONTENT_TYPE_HEADER, EVENTS, ORGANIZATION_HEADER, STREAM_HEADER

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MAX_LINE = 15 << 20
Headers = list[tuple[str, bytes | str | None]]
Delivered = Callable[[KafkaError | None, object], None]


def send(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    organization: str,
    stream: str = "",
    follow: bool = False,
    topic: str = EVENTS.name,
) -> None:
    """Publish each line of a file as an event: JSON objects as such, all else as text.

    Parameters
    ----------
    file
        A text or JSON-lines file, also .gz and .zst; - is standard input.
    organization
        Id (UUID) of the organization the events belong to.
    stream
        Stream of the events that name none; without it: default.
    follow
        Go on with lines written later, also after rotation, until Ctrl-C.
    topic
        Source topic.
    """
    settings = load(os.environ)
    if not _UUID.fullmatch(organization):
        raise DriftlockError(f"--organization {organization}: must be a UUID")
    if stream and (reason := wrong_stream(stream)):
        raise DriftlockError(f"--stream: {reason}")
    kafka.require_broker(settings)
    if topic not in kafka.topics(kafka.admin(settings)):
        raise MissingTopic(f"the topic {topic} is missing: create it with `driftlock topics apply`")
    headers: Headers = [(ORGANIZATION_HEADER, organization.lower().encode())]
    if stream:
        headers.append((STREAM_HEADER, stream.encode()))
    stop = threading.Event()
    if follow:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
    source = following(file, stop.is_set, lambda seconds: (stop.wait(seconds), None)[1]) if follow else lines(file)
    sent = publish(kafka.producer(settings, {"linger.ms": 20}), topic, source, headers, stream or file)
    sys.stdout.write(f"sent {sent} events to {topic}\n")


def publish(producer: Producer, topic: str, source: Iterable[bytes | None], headers: Headers, key: str) -> int:
    """Publish lines, one a record, in order; returns their number when Kafka has acknowledged all of them.

    None among the lines means that there is none at the moment. `DeliveryFailed` says the first that Kafka refused.
    """
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            failed.append(error)

    json = [*headers, (CONTENT_TYPE_HEADER, b"application/json")]
    text = [*headers, (CONTENT_TYPE_HEADER, b"text/plain")]
    sent = 0
    # One key, so one partition: the order of a stream is the order of its file.
    for line in source:
        if line is None:
            producer.poll(0)
        else:
            if len(line) > _MAX_LINE:
                raise DriftlockError(f"line {sent + 1} has {len(line)} bytes: a record takes {_MAX_LINE} at most")
            _produce(producer, topic, key, line, json if _is_object(line) else text, delivered)
            sent += 1
            if not sent % 1_000:
                producer.poll(0)
        if failed:
            break
    while not failed and len(producer):
        producer.flush(1)
    if failed:
        raise DeliveryFailed(f"Kafka refused an event for good: {failed[0].str()}")
    return sent


def _produce(producer: Producer, topic: str, key: str, line: bytes, headers: Headers, delivered: Delivered) -> None:
    while True:
        try:
            producer.produce(topic, line, key, headers=headers, on_delivery=delivered)
        except BufferError:
            producer.poll(0.1)
        except KafkaException as error:
            raise DeliveryFailed(f"Kafka refused an event for good: {error.args[0].str()}") from error
        else:
            return


def _is_object(line: bytes) -> bool:
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True
