"""Kafka as docker-compose.yml configures it, run outside a container: who comes from inside or outside is told an address
that it can reach."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from pipeline.embedded import kafka, process
from pipeline.embedded.ports import LOOPBACK, free_ports
from tests.deploy.compose import new_env, read
from tests.stack.fixtures import scratch
from tests.stack.providers import needed


def properties(environment: dict[str, str], inside: int, outside: int, controller: int, log: Path) -> dict[str, str]:
    """The image's rule: KAFKA_A_B is a.b. Ports and folder are this machine's; host names stay where clients are told them."""
    found = {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in environment.items()}
    found["log.dirs"] = str(log)
    moved = {":29092": f":{inside}", ":9092": f":{outside}", ":9093": f":{controller}"}
    for name in ("listeners", "advertised.listeners", "controller.quorum.voters"):
        for old, new in moved.items():
            found[name] = found[name].replace(old, new)
    found["controller.quorum.voters"] = found["controller.quorum.voters"].replace("kafka:", f"{LOOPBACK}:")
    found["listeners"] = found["listeners"].replace("://:", f"://{LOOPBACK}:")
    return found


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[tuple[int, int]]:
    with scratch() as folder:
        broker = needed(lambda: kafka.new(folder / "unused"))
        inside, outside, controller = free_ports(3)
        environment = read(new_env(tmp_path / "env"))["services"]["kafka"]["environment"]
        given = properties(environment, inside, outside, controller, folder / "log")
        file = folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in given.items()), "ascii")
        jvm = [
            broker.java.program,
            "-cp",
            ":".join(map(str, sorted(broker.jars.glob("*.jar")))),
            f"-Dlog4j2.configurationFile={broker.log4j}",
            *kafka.HEAP,
        ]
        made = [*jvm, "kafka.tools.StorageTool", "format", "--cluster-id=AAAAAAAAAAAAAAAAAAAAAA", "-c", str(file)]
        subprocess.run(made, check=True, capture_output=True)
        child = process.start("kafka", [*jvm, "kafka.Kafka", file], log=folder / "kafka.log")
        try:
            process.wait_ready(child, lambda: kafka.answers(f"{LOOPBACK}:{outside}"), timeout_s=60)
            yield inside, outside
        finally:
            process.stop(child, grace_s=5)


def test_each_side_is_told_its_own_address(ports: tuple[int, int]) -> None:
    inside, outside = ports
    told = {}
    for port in ports:
        client = AdminClient({"bootstrap.servers": f"{LOOPBACK}:{port}", "log_level": 0})
        told[port] = [str(broker) for broker in client.list_topics(timeout=20).brokers.values()]
    assert [name.split("/")[0] for name in told[inside]] == [f"kafka:{inside}"]
    assert [name.split("/")[0] for name in told[outside]] == [f"{LOOPBACK}:{outside}"]
