"""The OpenTelemetry Collector as a child process, with the configurations of deploy/otel."""

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.embedded import components, process
from pipeline.embedded.ports import LOOPBACK, free_ports

CONFIGURATIONS = components.COLLECTOR_MANIFEST.parent
START_TIMEOUT_S = 30.0


@dataclass
class Collector:
    """One collector. The same ports and the same queue on disk through every stop, kill and start."""

    program: Path
    folder: Path
    configurations: Sequence[Path]
    environ: Mapping[str, str]
    http_port: int
    grpc_port: int
    health_port: int
    child: process.Child | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where it takes OTLP over HTTP."""
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def log(self) -> Path:
        """Its own log, and what its debug exporter prints."""
        return self.folder / "collector.log"

    def start(self) -> None:
        """Start and wait until it is healthy. `ComponentFailed` with the log's last line."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environ = {
            "OTEL_HTTP_ENDPOINT": f"{LOOPBACK}:{self.http_port}",
            "OTEL_GRPC_ENDPOINT": f"{LOOPBACK}:{self.grpc_port}",
            "OTEL_HEALTH_ENDPOINT": f"{LOOPBACK}:{self.health_port}",
            "OTEL_QUEUE_DIRECTORY": str(self.folder / "queue"),
            **self.environ,
        }
        argv = [self.program, *(word for path in self.configurations for word in ("--config", path))]
        self.child = process.start("collector", argv, log=self.log, env=environ)
        process.wait_ready(self.child, self._healthy, timeout_s=START_TIMEOUT_S)

    def stop(self) -> None:
        """Shut down in order; keeps the queue."""
        if self.child is not None:
            process.stop(self.child, grace_s=20.0)
            self.child = None

    def kill(self) -> None:
        """SIGKILL: what a crash leaves behind."""
        if self.child is not None:
            process.kill(self.child)
            self.child = None

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.health_port}", timeout=1) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False


def new(folder: Path, configurations: Sequence[str | Path], environ: Mapping[str, str]) -> Collector:
    """A collector with free ports, not started; names of configurations are those of deploy/otel. `ComponentMissing`."""
    http, grpc, health = free_ports(3)
    paths = [CONFIGURATIONS / name for name in configurations]
    return Collector(components.collector(), folder.absolute(), paths, environ, http, grpc, health)
