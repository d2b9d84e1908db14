"""Who provides the broker and PostgreSQL of the tests: containers where an engine answers, else processes of our own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import pytest

from pipeline.embedded import kafka, postgres, postgres_programs
from pipeline.embedded.broker import Broker
from schemas.errors import ComponentMissing
from tests.stack import containers

T = TypeVar("T")
Kind = Literal["containers", "local"]


class Server(Protocol):
    """A PostgreSQL of the tests, whose end they may cause. Port, password and data stay the same."""

    @property
    def name(self) -> str:
        """What it is."""

    def url(self, *, database: str = "postgres", role: str = "postgres", password: str | None = None) -> str:
        """A connection URL; the server's one password unless another is given."""

    def start(self) -> None:
        """Start and wait until it answers a query."""

    def stop(self) -> None:
        """Shut down in order."""

    def kill(self) -> None:
        """End it as a crash does."""

    def restart(self) -> None:
        """Stop if it runs, then start."""

    def remove(self) -> None:
        """End it, and remove its data."""


def kind() -> Kind:
    """What DRIFTLOCK_COMPONENTS says (containers, local), else containers where an engine answers."""
    wanted = os.environ.get("DRIFTLOCK_COMPONENTS", "")
    if wanted == "containers" or (wanted != "local" and containers.engine_answers()):
        return "containers"
    return "local"


def new_broker(folder: Path) -> Broker:
    """An Apache Kafka, not started."""
    return containers.new_kafka() if kind() == "containers" else kafka.new(folder / "kafka")


def new_postgres(folder: Path) -> Server:
    """A PostgreSQL, not started. DRIFTLOCK_POSTGRES=debian: Debian's version instead of the bundled one."""
    if kind() == "containers":
        return containers.new_postgres()
    programs = postgres_programs.debian() if os.environ.get("DRIFTLOCK_POSTGRES") == "debian" else None
    return postgres.new(folder / "postgres", programs=programs, fast=True)


def needed(make: Callable[[], T]) -> T:
    """What `make` gives; where a component is missing the test is skipped, or fails if DRIFTLOCK_REQUIRE_COMPONENTS=1."""
    try:
        return make()
    except ComponentMissing as error:
        lacking = str(error)
    if os.environ.get("DRIFTLOCK_REQUIRE_COMPONENTS") == "1":
        pytest.fail(f"a required component is missing: {lacking}", pytrace=False)
    pytest.skip(lacking)
