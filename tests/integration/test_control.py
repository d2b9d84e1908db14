"""What tenants say, from the transaction that stored it to the topic `control`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from billing.tenant import tenant
from pipeline import control, kafka, topics
from pipeline.accounts.errors import PreconditionFailed
from pipeline.database import connect as connect_process
from pipeline.tenants import controls
from pipeline.tenants import settings as organizations
from schemas.controls import SettingsControl
from schemas.errors import DeliveryFailed
from schemas.settings import Settings, load
from schemas.topics import CONTROL
from tests.integration.accounts_world import NOW, connect, joined
from tests.integration.api_world import World
from tests.stack.database import Database


def waiting(database: Database) -> list[tuple[str, dict[str, Any]]]:
    """What is not sent yet, in order."""
    with psycopg.connect(database.url()) as root:
        return root.execute("SELECT key, message FROM control_outbox WHERE sent_at IS NULL ORDER BY id").fetchall()


def present() -> datetime:
    return datetime.now(UTC)


def set_sensitivity(database: Database, organization_id: UUID, to: str, version: int | None = None) -> None:
    with connect(database, "driftlock_api") as api:
        organizations.set_sensitivity(api, organization_id, Decimal(to), by="test", if_version=version, at=NOW)


def test_a_setting_and_its_message_are_one_transaction(database: Database) -> None:
    organization_id = joined(database, "ann@example.org").verified.organization_id
    set_sensitivity(database, organization_id, "0.75")
    with pytest.raises(PreconditionFailed):
        set_sensitivity(database, organization_id, "0.25", version=7)
    said = SettingsControl(organization_id=organization_id, version=1, sensitivity=750)
    assert waiting(database) == [(said.key, orjson.loads(said.to_bytes()))]


def test_nobody_speaks_for_another(database: Database) -> None:
    mine = joined(database, "ann@example.org").verified.organization_id
    theirs = joined(database, "bob@example.org", organization="Other").verified.organization_id
    with connect(database, "driftlock_api") as api:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), tenant(api, mine):
            controls.tell(api, SettingsControl(organization_id=theirs, version=9, sensitivity=0), NOW)
        with pytest.raises(psycopg.errors.CheckViolation), tenant(api, mine):
            api.execute(
                "INSERT INTO control_outbox (organization_id, key, message, created_at) VALUES (%s, 'settings/x', %s, %s)",
                (mine, SettingsControl(organization_id=theirs, version=9).to_bytes().decode(), NOW),
            )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("SELECT * FROM control_outbox")
    assert waiting(database) == []


@pytest.fixture
def carried(api_world: World, database: Database) -> Iterator[tuple[Settings, psycopg.Connection[Any]]]:
    """A broker with its topics, and the carrier's connection to a database of this test."""
    settings = load({"KAFKA_BROKERS": api_world.settings.kafka_brokers, **database.environ()})
    topics.apply(settings)
    with connect_process(settings, "control") as connection:
        yield settings, connection


def on_the_topic(settings: Settings, key: str) -> list[int]:
    """Versions of a key on the control topic, in order."""
    reader: Consumer = kafka.consumer(settings, f"test-{uuid4()}")
    try:
        low, high = reader.get_watermark_offsets(TopicPartition(CONTROL.name, 0), timeout=10)
        reader.assign([TopicPartition(CONTROL.name, 0, low)])
        found = []
        at = low
        while at < high:
            message = reader.poll(10)
            assert message is not None
            if message.error() is not None:
                break  # the end: compaction may have taken the last ones
            at = (message.offset() or 0) + 1
            if (message.key() or b"").decode() == key:
                found.append(orjson.loads(message.value() or b"")["version"])
        return found
    finally:
        reader.close()


def test_messages_are_carried_in_order_and_once_more_when_asked(
    carried: tuple[Settings, psycopg.Connection[Any]], database: Database
) -> None:
    settings, connection = carried
    producer = kafka.producer(settings)
    organization_id = joined(database, "ann@example.org").verified.organization_id
    for to in ("0.1", "0.2", "0.3"):
        set_sensitivity(database, organization_id, to)
    key = f"settings/{organization_id}"
    with connect_process(settings, "control") as second, second.transaction():
        second.execute("SELECT pg_advisory_xact_lock(%s)", (control._LOCK,))
        assert control.carry(connection, producer, present) == 0  # another one carries
    assert control.carry(connection, producer, present) == 3
    assert control.carry(connection, producer, present) == 0
    assert on_the_topic(settings, key) == [1, 2, 3]
    assert control.again(connection) == 1
    assert control.carry(connection, producer, present) == 1
    assert on_the_topic(settings, key) == [1, 2, 3, 3]


def test_what_kafka_does_not_take_waits(carried: tuple[Settings, psycopg.Connection[Any]], database: Database) -> None:
    settings, connection = carried
    organization_id = joined(database, "ann@example.org").verified.organization_id
    set_sensitivity(database, organization_id, "0.1")
    nowhere = kafka.producer(
        settings, {"bootstrap.servers": "127.0.0.1:1", "enable.gapless.guarantee": False, "message.timeout.ms": 500}
    )
    with pytest.raises(DeliveryFailed):
        control.carry(connection, nowhere, present)
    assert len(waiting(database)) == 1


def test_the_api_tells_workers_of_an_organization(api_world: World) -> None:
    headers = api_world.bearer("told@example.org")
    organization_id = api_world.user("told@example.org").verified.organization_id
    assert api_world.client.patch("/v1/organization", json={"sensitivity": 0.25}, headers=headers).status_code == 200
    said = [message for key, message in waiting(api_world.database) if key == f"settings/{organization_id}"]
    assert [(one["version"], one["sensitivity"]) for one in said] == [(1, 250)]
