"""Kafka's users and ACLs: generated for Strimzi from the lists; and the whole product on a broker that enforces them."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from pipeline.embedded import broker, kafka
from pipeline.embedded.ports import LOOPBACK, free_ports
from pipeline.packer.sources import GROUP
from pipeline.stack import components, processes, supervisor
from pipeline.stack.components import Components
from pipeline.stack.processes import PROGRAMS, Program
from schemas.access import USERS, Grant, merged, organization_user
from schemas.errors import ComponentMissing
from schemas.topics import EVENTS, SEEDS, TOPICS, USAGE
from tests.deploy.compose import ROOT
from tests.stack.fixtures import scratch
from tests.stack.providers import needed
from tests.verify.ground import run_recording

OURS, THEIRS = "0190f3c2-0000-7000-8000-000000000001", "0190f3c2-0000-7000-8000-000000000002"
PASSWORD = "of-this-test"  # pragma: allowlist secret
KAFKALESS = {"meter", "webhooks", "jobs", "alerts"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "deploy" / "strimzi" / name).read_text("utf-8")))


def test_every_process_that_speaks_to_kafka_has_a_user_and_no_other_has() -> None:
    assert set(USERS) - {"collector", "operator"} == {program.name for program in PROGRAMS} - KAFKALESS
    assert any(grant.name == GROUP for grant in USERS["packer"])


def test_strimzi_gets_every_topic_and_every_user() -> None:
    assert [one["metadata"]["name"] for one in documents("topics.yaml")] == [topic.name for topic in TOPICS]
    users = {one["metadata"]["name"].removeprefix("driftlock-"): one for one in documents("users.yaml")}
    assert set(users) == set(USERS)
    for name, one in users.items():
        acls = one["spec"]["authorization"]["acls"]
        assert len(acls) == len(merged(USERS[name]))
        writes = {acl["resource"]["name"] for acl in acls if "Write" in acl["operations"]}
        assert ("usage" in writes) is (name == "worker")  # who else could bill
        assert ("blocks" in writes) is (name == "packer")
        assert (
            "seeds" not in writes
        )  # who else could have a stream learn what it likes; the operator may, by a grant on all
    values = yaml.safe_load((ROOT / "deploy" / "helm" / "driftlock" / "values.yaml").read_text("utf-8"))["settings"]
    spec = documents("topics.yaml")[0]["spec"]
    assert (str(spec["partitions"]), str(spec["replicas"])) == (values["TOPIC_PARTITIONS"], values["TOPIC_REPLICATION"])


def bindings(name: str, grants: tuple[Grant, ...]) -> list[AclBinding]:
    kinds = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}
    operations = {"DescribeConfigs": AclOperation.DESCRIBE_CONFIGS, "AlterConfigs": AclOperation.ALTER_CONFIGS}
    made = []
    for grant in merged(grants):
        pattern = ResourcePatternType.PREFIXED if grant.prefix else ResourcePatternType.LITERAL
        for operation in grant.operations:
            what = operations.get(operation) or AclOperation[operation.upper()]
            made.append(
                AclBinding(kinds[grant.kind], grant.name, pattern, f"User:{name}", "*", what, AclPermissionType.ALLOW)
            )
    return made


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Components, int]]:
    """A stack whose broker has a second listener, on which only users are served, by their ACLs alone."""

    def there() -> None:
        if not broker.kafka_can_run():
            raise ComponentMissing("Apache Kafka needs Java and Maven")

    needed(there)
    (port,) = free_ports(1)
    plain = kafka.properties
    names = (*USERS, OURS)
    users = " ".join(f'user_{name}="{PASSWORD}"' for name in names)

    def properties(*words: Any, **more: Any) -> dict[str, str]:
        found = plain(*words, **more)
        return found | {
            "listeners": f"{found['listeners']},USERS://{LOOPBACK}:{port}",
            "advertised.listeners": f"{found['advertised.listeners']},USERS://{LOOPBACK}:{port}",
            "listener.security.protocol.map": f"{found['listener.security.protocol.map']},USERS:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.users.plain.sasl.jaas.config": f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # who comes by the other listener: the test itself
        }

    monkeypatch.setattr(kafka, "properties", properties)
    with scratch() as folder:
        parts = components.start(folder / "stack", "kafka", lambda _: None, create_time=["events"])
        try:
            admin = AdminClient({"bootstrap.servers": parts.broker.bootstrap})
            wanted = [one for name, grants in USERS.items() if name != "operator" for one in bindings(name, grants)]
            for future in admin.create_acls([*wanted, *bindings(OURS, organization_user(OURS))]).values():
                future.result(timeout=30)
            yield parts, port
        finally:
            components.stop(parts)


def environ(parts: Components, port: int, program: Program) -> dict[str, str]:
    found = parts.environ_of(program)
    if program.name in USERS:
        found |= {
            "KAFKA_BROKERS": f"{LOOPBACK}:{port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": program.name,
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }
    return found


def may_write(port: int, user: str, topic: str) -> bool:
    """Whether a user's record is taken."""
    said: list[KafkaError | None] = []
    client = Producer(
        {
            "bootstrap.servers": f"{LOOPBACK}:{port}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": PASSWORD,
            "message.timeout.ms": 8_000,
            "log_level": 0,
        }
    )
    client.produce(topic, b"{}", on_delivery=lambda error, _: said.append(error))
    client.flush(20)
    assert said
    return said[0] is None


@pytest.mark.deploy
@pytest.mark.timeout(600)
def test_the_whole_product_runs_on_what_it_is_granted_and_strangers_write_nothing(
    guarded: tuple[Components, int],
) -> None:
    parts, port = guarded
    watch = supervisor.Supervisor(lambda program: processes.start(program, environ(parts, port, program), parts.logs))
    try:
        _, sent, outcome, bill = run_recording(parts, watch)
        assert outcome.events == sent
        assert not bill.reconciled.differences
        supervisor.check(watch, time.monotonic())
        assert [one.program.name for one in watch.watched if one.deaths] == []
    finally:
        supervisor.stop(watch)
    from pipeline import topics
    from schemas.settings import load

    topics.apply(
        load({**parts.environ, **{k: v for k, v in os.environ.items() if k == "HOME"}}), organizations=[OURS, THEIRS]
    )
    assert may_write(port, OURS, f"{EVENTS.name}.{OURS}")
    for topic in (f"{EVENTS.name}.{THEIRS}", EVENTS.name, SEEDS.name, USAGE.name, "control", "anomalies"):
        assert not may_write(port, OURS, topic), topic
    for user in ("packer", "sink-usage", "api", "console", "collector"):
        assert not may_write(port, user, USAGE.name), user
