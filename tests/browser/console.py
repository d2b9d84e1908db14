"""A console of its own for tests: the process that `driftlock console run` starts."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from pipeline.embedded import process
from pipeline.embedded.ports import LOOPBACK, free_ports

START_S = 60.0


@dataclass(frozen=True)
class Console:
    """A running console: its origin, and the folder in which it may make temporary files."""

    origin: str
    temporary: Path

    def kept_files(self) -> list[str]:
        """Files that uploads left behind."""
        return [str(path) for path in self.temporary.rglob("*") if path.is_file() and "driftlock-scan" in str(path)]


@contextmanager
def running(environ: Mapping[str, str], logs: Path) -> Iterator[Console]:
    """A console with these settings, on a free port."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="driftlock-console-") as temporary:
        child = process.start(
            "console",
            [sys.executable, "-m", "pipeline.cli", "console", "run"],
            log=logs / "console.log",
            env={**environ, "CONSOLE_PORT": str(port), "TMPDIR": temporary},
        )
        try:
            origin = f"http://{LOOPBACK}:{port}"
            process.wait_ready(child, lambda: _answers(origin), timeout_s=START_S)
            yield Console(origin, Path(temporary))
        finally:
            process.stop(child, grace_s=5.0)


def _answers(origin: str) -> bool:
    try:
        return httpx.get(f"{origin}/healthz", timeout=2.0).status_code == 200
    except httpx.TransportError:
        return False
