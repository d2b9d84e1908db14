"""Apache Kafka as a child process: one KRaft node on loopback, durable in a data folder."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.embedded import components, process
from pipeline.embedded.ports import LOOPBACK, free_ports
from schemas.errors import ComponentFailed, ComponentMissing

START_TIMEOUT_S = 90.0
HEAP = ("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOG4J = components.HERE / "log4j2.properties"


@dataclass
class Kafka:
    """One Kafka node. The same ports and data through every stop, kill and start. `extra` are properties over ours."""

    data_dir: Path
    port: int
    controller_port: int
    java: components.Java
    jars: Path
    name: str = "kafka"
    durable: bool = True
    log4j: Path = LOG4J
    extra: dict[str, str] = field(default_factory=dict)
    child: process.Child | None = field(default=None, repr=False)

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        """The broker's own log."""
        return self.data_dir / "kafka.log"

    def start(self) -> None:
        """Start and wait until every partition has a leader. `ComponentFailed` with the log's last line."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "server.properties").write_text(
            _text(properties(self.port, self.controller_port, self.data_dir / "log") | self.extra), "ascii"
        )
        if not (self.data_dir / "log" / "meta.properties").exists():
            self._format()
        archive = _archive(self.java)
        if archive.exists():
            sharing = [f"-XX:SharedArchiveFile={archive}"]
        else:
            archive.parent.mkdir(parents=True, exist_ok=True)
            sharing = [f"-XX:ArchiveClassesAtExit={self._new_archive()}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
        self.child = process.start(
            self.name,
            [
                *_jvm(self.java, self.jars, self.log4j),
                *HEAP,
                *sharing,
                "kafka.Kafka",
                self.data_dir / "server.properties",
            ],
            log=self.log,
        )
        process.wait_ready(self.child, lambda: answers(self.bootstrap), timeout_s=START_TIMEOUT_S)

    def stop(self) -> None:
        """Shut down in order; keeps the data. The first orderly stop leaves the archive of classes for later starts."""
        if self.child is not None:
            code = process.stop(self.child, grace_s=30.0)
            made = self._new_archive()
            if code == 128 + signal.SIGTERM and made.exists():
                made.replace(_archive(self.java))
            made.unlink(missing_ok=True)
            self.child = None

    def kill(self) -> None:
        """SIGKILL: what a crash leaves behind."""
        if self.child is not None:
            process.kill(self.child)
            self._new_archive().unlink(missing_ok=True)
            self.child = None

    def restart(self) -> None:
        """Stop if it runs, and start on the same ports and data."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """End it, and remove its data folder."""
        self.stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def _new_archive(self) -> Path:
        archive = _archive(self.java)
        return archive.with_name(f".{archive.name}-{os.getpid()}-{self.port}")

    def _format(self) -> None:
        """Write the identity of a new cluster into the data folder."""
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
        done = subprocess.run(
            [
                *_jvm(self.java, self.jars, self.log4j),
                *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"),
                *("format", f"--cluster-id={cluster}", "-c", self.data_dir / "server.properties", "--ignore-formatted"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ComponentFailed(f"Kafka can't format {self.data_dir}: {(done.stdout + done.stderr).strip()[:400]}")


def new(data_dir: Path) -> Kafka:
    """A node with free ports, not started; fetches the jars if they are not cached. `ComponentMissing` without Java."""
    java = components.java()
    if java is None:
        raise ComponentMissing(f"Apache Kafka needs Java {components.JAVA_AT_LEAST} or newer on the PATH")
    jars = components.fetch_kafka()
    port, controller_port = free_ports(2)
    return Kafka(data_dir.absolute(), port, controller_port, java, jars)


def properties(port: int, controller_port: int, log_dir: Path, listen: str = LOOPBACK) -> dict[str, str]:
    """server.properties of one node that is broker and controller; clients reach it on loopback."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://{listen}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "log.dirs": str(log_dir),
        **SINGLE_NODE,
    }


# What one node needs, wherever it runs. Times and sizes are those of tests and a laptop, never of a deployment.
SINGLE_NODE = {
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    "log.segment.bytes": "134217728",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "message.max.bytes": "20971520",
    "replica.fetch.max.bytes": "20971520",
    "socket.request.max.bytes": "104857600",
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
}


def answers(bootstrap: str) -> bool:
    """Whether a broker there answers a metadata request, and every partition has a leader."""
    host, port = bootstrap.rsplit(":", 1)
    try:  # first a bare connection: librdkafka would log each refused one
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 2000})
    deadline = time.monotonic() + 2.0
    with contextlib.suppress(KafkaException):
        while time.monotonic() < deadline:
            metadata = client.list_topics(timeout=2.0)
            partitions = [p for topic in metadata.topics.values() for p in topic.partitions.values()]
            if metadata.brokers and all(partition.leader >= 0 for partition in partitions):
                return True
            time.sleep(0.02)
    return False


def _jvm(java: components.Java, jars: Path, log4j: Path) -> list[str]:
    """A JVM with Kafka on its class path, each jar by name: an archive of classes holds for exactly one class path."""
    return [java.program, "-cp", ":".join(map(str, sorted(jars.glob("*.jar")))), f"-Dlog4j2.configurationFile={log4j}"]


def _archive(java: components.Java) -> Path:
    """Where loaded classes are kept (AppCDS): a start from it takes a third of the time."""
    return components.cache() / f"kafka-{components.KAFKA_VERSION}" / f"classes-{java.version}.jsa"


def _text(values: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())
