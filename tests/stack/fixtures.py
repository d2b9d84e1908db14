"""The one place that provides a broker and PostgreSQL to tests; tests/conftest.py makes these known to all of them."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from psycopg import sql

from pipeline.embedded.broker import Broker
from tests.stack import providers
from tests.stack.providers import Server

C = TypeVar("C", Broker, Server)


@dataclass(frozen=True)
class Fresh:
    """A database of one test alone, on the shared server. Roles belong to the server: give them unique names."""

    server: Server
    name: str

    def url(self, role: str = "postgres", password: str | None = None) -> str:
        """Its connection URL for a role; the server's one password unless another is given."""
        return self.server.url(database=self.name, role=role, password=password)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """The Apache Kafka that all tests share. Use topic names of your own: see `topic_prefix`."""
    with scratch() as folder:
        yield from running(providers.needed(lambda: providers.new_broker(folder)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The PostgreSQL that all tests share. Use a database of your own: see `database`."""
    with scratch() as folder:
        yield from running(providers.needed(lambda: providers.new_postgres(folder)))


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """An Apache Kafka for this test alone, to be stopped and killed at will (2 s)."""
    with scratch() as folder:
        yield from running(providers.needed(lambda: providers.new_broker(folder)))


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    """A PostgreSQL for this test alone, to be stopped and killed at will (1 s)."""
    with scratch() as folder:
        yield from running(providers.needed(lambda: providers.new_postgres(folder)))


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topic, group and transactional names that no other test has."""
    return f"t{secrets.token_hex(4)}-"


@contextmanager
def fresh_database(server: Server, template: str = "template0") -> Iterator[Fresh]:
    """A new database on a server, a copy of `template`; dropped at the end with whoever is still connected."""
    name = f"t{secrets.token_hex(6)}"
    admin = server.url()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    try:
        yield Fresh(server, name)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that an unprivileged user can reach too, removed at the end (pytest's own are closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="driftlock-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def running(component: C) -> Iterator[C]:
    """Start a component for as long as the fixture lives."""
    try:
        component.start()
        yield component
    finally:
        component.remove()
