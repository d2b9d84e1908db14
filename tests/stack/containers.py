"""Broker and PostgreSQL in containers, by testcontainers: same ports and data through every stop, kill and start."""

import gc
import secrets
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import docker.errors  # type: ignore[import-untyped]  # comes with testcontainers
import psycopg
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from pipeline.embedded import kafka
from pipeline.embedded.components import KAFKA_VERSION
from pipeline.embedded.ports import LOOPBACK, free_ports
from schemas.errors import ComponentFailed, ComponentMissing

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
POSTGRES_IMAGE = "postgres:18"
TIMEOUT_S = 120.0


@cache
def engine_answers() -> bool:
    """Whether a container engine can be talked to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a refused client leaves its socket to the collector
        try:
            client = DockerClient().client
            answered = bool(client.ping())
            client.close()
        except docker.errors.DockerException:
            answered = False
        gc.collect()
    return answered


@dataclass
class Contained:
    """One component in a container. The container, and so its data, is there until `remove`."""

    name: str
    port: int
    container: DockerContainer
    ready: Callable[[], bool]
    password: str = ""
    durable: bool = True
    created: bool = False

    @property
    def bootstrap(self) -> str:
        """host:port for clients of a broker."""
        return f"{LOOPBACK}:{self.port}"

    def url(self, *, database: str = "postgres", role: str = "postgres", password: str | None = None) -> str:
        """A connection URL for clients of PostgreSQL; its one password unless another is given."""
        return _url(self.port, database, role, self.password if password is None else password)

    def start(self) -> None:
        """Create the container, or start it again, and wait until it answers."""
        if self.created:
            self.container.get_wrapped_container().start()
        else:
            self.container.start()
            self.created = True
        deadline = time.monotonic() + TIMEOUT_S
        while not self.ready():
            if time.monotonic() > deadline:
                raise ComponentFailed(f"{self.container.image} is not ready after {TIMEOUT_S:.0f} s")
            time.sleep(0.1)

    def stop(self) -> None:
        """Shut down in order; keeps the data."""
        self.container.get_wrapped_container().stop(timeout=30)

    def kill(self) -> None:
        """SIGKILL: what a crash leaves behind."""
        self.container.get_wrapped_container().kill()

    def restart(self) -> None:
        """Stop if it runs, and start on the same port and data."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """End it, and remove its data."""
        self.container.stop()
        self.created = False


def new_kafka() -> Contained:
    """Apache Kafka with the settings of the embedded one, not started. `ComponentMissing` without an engine."""
    port, controller_port = free_ports(2)
    properties = kafka.properties(port, controller_port, Path("/var/lib/kafka/data"), listen="0.0.0.0")  # noqa: S104
    container = _container(KAFKA_IMAGE, inside=port, outside=port)
    for name, value in properties.items():
        container.with_env(f"KAFKA_{name.replace('.', '_').upper()}", value)
    return Contained("kafka", port, container, lambda: kafka.answers(f"{LOOPBACK}:{port}"))


def new_postgres() -> Contained:
    """PostgreSQL, not started. `ComponentMissing` without an engine."""
    (port,) = free_ports(1)
    password = secrets.token_urlsafe(24)
    container = _container(POSTGRES_IMAGE, inside=5432, outside=port).with_env("POSTGRES_PASSWORD", password)
    return Contained("postgres", port, container, lambda: _answers(port, password), password)


def _container(image: str, *, inside: int, outside: int) -> DockerContainer:
    if not engine_answers():
        raise ComponentMissing("no container engine answers, and DRIFTLOCK_COMPONENTS asks for containers")
    container = DockerContainer(image)
    # A fixed port, so that it is the same after a restart; on loopback, which with_bind_ports can't say.
    container.ports[f"{inside}/tcp"] = (LOOPBACK, outside)  # type: ignore[assignment]
    return container


def _answers(port: int, password: str) -> bool:
    try:
        with psycopg.connect(_url(port, "postgres", "postgres", password), connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _url(port: int, database: str, role: str, password: str) -> str:
    return (
        f"postgresql://{quote(role, safe='')}:{quote(password, safe='')}@{LOOPBACK}:{port}/{quote(database, safe='')}"
    )
