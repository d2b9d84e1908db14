"""Faust configured: one agent over `blocks`, one table of saved states, nothing of Faust's that loses or repeats."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faust
from faust.types import TP
from faust.types.tuples import Message
from yarl import URL

from detectors.detector import Controls
from pipeline.metrics import watch_loop
from pipeline.worker.agent import Worker, keep_only, run
from pipeline.worker.outputs import Output
from pipeline.worker.recovery import FirstFrame, ReadFrames
from schemas.errors import SettingsError
from schemas.settings import Settings
from schemas.topics import ANOMALIES, BLOCKS, DEAD_LETTERS, STATES, TRACE_HEADER, USAGE, WORKER_APP


def build(
    settings: Settings,
    topic_id: Callable[[], str],
    read: ReadFrames,
    first_frame: FirstFrame,
    *,
    accept_new_topic: bool = False,
) -> tuple[faust.App, Worker]:
    """The Faust app and the worker behind its agent. `topic_id` asks Kafka for the id of `blocks`."""
    app = faust.App(
        WORKER_APP,
        broker=[URL(f"kafka://{broker.strip()}") for broker in settings.kafka_brokers.split(",")],
        broker_credentials=_credentials(settings),
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
        broker_commit_interval=1.0,
        broker_commit_every=100_000,
        consumer_max_fetch_size=BLOCKS.max_message_bytes,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_max_request_size=STATES.max_message_bytes,
        datadir=Path(settings.worker_data_dir).absolute(),
        store="memory://",
        stream_buffer_maxsize=16,
        stream_wait_empty=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=settings.topic_partitions,
        web_enabled=False,
        autodiscover=False,
    )
    raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    blocks = app.topic(BLOCKS.name, **raw)
    targets = {topic.name: app.topic(topic.name, **raw) for topic in (ANOMALIES, USAGE, DEAD_LETTERS)}
    table: Any = app.Table("states", partitions=settings.topic_partitions, key_type=bytes, value_type=bytes)

    async def send(output: Output) -> Any:
        headers = {TRACE_HEADER: output.trace.encode()} if output.trace else None
        return await targets[output.topic].send(key=output.key, value=output.value, headers=headers)

    async def write(partition: int, key: bytes, value: bytes) -> None:
        # Not table[key] = value: that sends without a way to wait for Kafka's acknowledgement.
        table.data[key] = value
        await table.send_changelog(partition, key, value)

    def acknowledge(partition: int, offset: int) -> None:
        # Faust never delivered this frame; told that it is done, it can commit what comes after.
        app.consumer.ack(Message(BLOCKS.name, partition, offset, 0.0, 0, {}, None, None, None))

    worker = Worker(
        topic_id=topic_id,
        read=read,
        first_frame=first_frame,
        stored=table.data.get,
        send=send,
        write=write,
        acknowledge=acknowledge,
        controls=Controls(sensitivity=settings.sensitivity, budget_per_day=settings.false_alarms_per_day),
        checkpoint_bytes=settings.worker_checkpoint_bytes,
        checkpoint_seconds=settings.worker_checkpoint_seconds,
        resident_streams=settings.worker_resident_streams,
        organization_streams=-(-settings.streams_per_organization // settings.topic_partitions),
        accept_new_topic=accept_new_topic,
    )

    @app.agent(blocks, name="score")
    async def score(stream: faust.StreamT[Any]) -> None:
        await run(worker, stream)

    app.task(watch_loop)

    @app.on_partitions_assigned.connect(weak=False)
    async def on_assigned(_app: faust.App, assigned: set[TP], **_: Any) -> None:
        keep_only(worker, (tp.partition for tp in assigned if tp.topic == BLOCKS.name))
        await asyncio.sleep(0)

    return app, worker


def make_folders(app: faust.App) -> None:
    """Make the folders that Faust wants. It keeps nothing in them that is needed: the states are in Kafka. `SettingsError`."""
    folder = app.conf.tabledir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"WORKER_DATA_DIR: {folder} can't be made: {error.strerror}. Free its disk, or name another folder: it may be empty"
        ) from error


def _credentials(settings: Settings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    import ssl

    if settings.kafka_security_protocol == "PLAINTEXT":
        return None
    context = None
    if settings.kafka_security_protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=settings.kafka_ssl_ca or None)
    if not settings.kafka_security_protocol.startswith("SASL"):
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=settings.kafka_sasl_username,
        password=settings.kafka_sasl_password.get_secret_value(),
        ssl_context=context,
        mechanism=settings.kafka_sasl_mechanism,
    )
