"""Which broker the embedded stack runs on: Apache Kafka where this machine can, else Tansu, said aloud."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from pipeline.embedded import components, kafka, tansu

Kind = Literal["auto", "kafka", "tansu"]


class Broker(Protocol):
    """A broker of our own, whose end we may cause. Ports stay the same; data stays where `durable`."""

    @property
    def name(self) -> str:
        """What it is, in lower case."""

    @property
    def durable(self) -> bool:
        """Whether data outlives a stop and a kill, and Kafka's guarantees hold."""

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""

    def start(self) -> None:
        """Start and wait until it answers a metadata request."""

    def stop(self) -> None:
        """End it in order."""

    def kill(self) -> None:
        """End it as a crash does."""

    def restart(self) -> None:
        """Stop if it runs, then start."""

    def remove(self) -> None:
        """End it, and remove its data."""


def choose(data_dir: Path, kind: Kind = "auto", warn: Callable[[str], None] | None = None) -> Broker:
    """A broker, not started. "auto": Kafka where Java is there and its jars are cached or Maven can fetch them.

    `warn` gets the one line that says that Tansu is not durable (default: standard error).
    """
    if kind == "kafka" or (kind == "auto" and kafka_can_run()):
        return kafka.new(data_dir)
    (warn or _to_stderr)(
        f"broker: Tansu, in memory: NOT DURABLE, for a demonstration only (Apache Kafka needs Java "
        f"{components.JAVA_AT_LEAST} or newer and Maven)"
    )
    return tansu.new(data_dir)


def kafka_can_run() -> bool:
    """Whether Java is new enough, and the jars are cached or Maven is there to fetch them."""
    return components.java() is not None and (components.kafka_jars() is not None or shutil.which("mvn") is not None)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 a warning for whoever runs the command
