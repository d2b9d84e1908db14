"""One measurement of each kind: our processes as `driftlock` starts them, peers in processes of their own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.embedded import process
from pipeline.embedded.ports import free_ports
from pipeline.stack import processes
from pipeline.stack.processes import PACKER, WORKER, Program
from schemas.errors import ComponentFailed
from schemas.settings import Settings
from schemas.topics import ANOMALIES, DEAD_LETTERS
from tests.benchmarks import faust_agent, ground
from tests.benchmarks.progress import Point, Running, Spent, rate, watch

COUNTED = {
    PACKER: "driftlock_packer_events_total",
    WORKER: 'driftlock_worker_events_total{outcome="scored"}',
}
INPUT, SAVED = "driftlock_worker_input_bytes_total", "driftlock_worker_saved_bytes_total"


@dataclass(frozen=True)
class Sizes:
    """How much is measured. A whole run publishes `lines` `passes` times; each figure is the median of `rounds`.

    `warm` events of each process of ours are left out, `warm_faust` of the plain Faust agent. CPU-seconds: `long_cpu` for the
    whole way and the Faust agent, `short_cpu` for the others. `others`: also so many streams, once. `checkpoint_bytes`: 0 leaves
    the worker's own setting.
    """

    lines: int = 1_000_000
    passes: int = 3
    rounds: int = 3
    warm: int = 50_000
    warm_faust: int = 5_000
    long_cpu: float = 30.0
    short_cpu: float = 5.0
    others: tuple[int, ...] = (1, 10_000)
    checkpoint_bytes: int = 0

    @property
    def total(self) -> int:
        """Events in the topic."""
        return self.lines * self.passes


@dataclass(frozen=True)
class Way:
    """The whole way measured: events per CPU-second of both processes, each one's part, and the changelog's share.

    `saved` and `scored` are bytes written to the changelog and bytes of events scored, when states were last saved.
    """

    rate: float
    parts: tuple[float, ...]
    saved: float
    scored: float
    anomalies: int


@dataclass(frozen=True)
class Bench:
    """Where measurements are made."""

    settings: Settings
    folder: Path
    sizes: Sizes

    def packer(self) -> tuple[float, int]:
        """Events per CPU-second of the packer alone, and how many events it left in `blocks` at least."""
        ground.clear(self.settings)
        sizes = self.sizes
        (spent,) = self._watch([PACKER], sizes.warm, sizes.total, sizes.short_cpu)
        return rate([spent]), int(spent.last.events)

    def worker(self, packed: int) -> float:
        """Events per CPU-second of the worker alone, over what the packer left."""
        return rate(self._watch([WORKER], self.sizes.warm, packed, self.sizes.short_cpu))

    def whole(self, *, slow: bool = False) -> Way:
        """Packer and worker at once, from a filled `events` and an empty `blocks`; four times as long where it is `slow`."""
        ground.clear(self.settings)
        sizes, bytes_at_save = self.sizes, [0.0, 0.0]

        def look(points: list[Point]) -> None:
            counts = points[0].counts
            if counts.get(SAVED, 0.0) > bytes_at_save[0]:
                bytes_at_save[:] = counts[SAVED], counts[INPUT]

        # The worker first: it is imported and compiled when frames come, and both are at work at the same time.
        spent = self._watch([WORKER, PACKER], sizes.warm, sizes.total, sizes.long_cpu * (4 if slow else 1), look)
        if dead := ground.messages(self.settings, DEAD_LETTERS.name):
            raise ComponentFailed(f"{dead} dead letters of lines that are all good")
        return Way(
            rate(spent),
            tuple(rate([s]) for s in spent),
            bytes_at_save[0],
            bytes_at_save[1],
            ground.messages(self.settings, ANOMALIES.name),
        )

    def faust(self, number: int) -> float:
        """Events per CPU-second of the plain Faust agent."""
        app, sizes = f"bench-plain-{number}", self.sizes
        topics = [faust_agent.out(app), faust_agent.changelog(app)]
        ground.make(self.settings, topics)
        given = [app, sizes.warm_faust, sizes.total, sizes.long_cpu, self.folder / app]
        figure = self._peer("faust_agent", self.settings.kafka_brokers, *given)
        ground.remove(self.settings, topics)
        return figure

    def reader(self) -> float:
        """Events per CPU-second of consume + orjson."""
        sizes = self.sizes
        return self._peer("reader", self.settings.kafka_brokers, sizes.warm, sizes.total, sizes.short_cpu)

    def scorer(self, way: str) -> float:
        """Lines per CPU-second of the detector or of zstd."""
        return self._peer("scorer", way, self.sizes.lines, self.sizes.warm, self.sizes.short_cpu)

    def _peer(self, module: str, *given: object) -> float:
        command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, given)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        # Faust writes codes of its own for a terminal before whatever comes first.
        found = re.findall(r'\{"events".*\}', done.stdout)
        if done.returncode or not found:
            raise ComponentFailed(
                f"{module} ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-400:]}"
            )
        said = json.loads(found[-1])
        return float(said["events"] / said["cpu"])

    def _watch(
        self,
        programs: Sequence[Program],
        warm: int,
        total: float,
        cpu: float,
        look: Callable[[list[Point]], None] = lambda _: None,
    ) -> list[Spent]:
        running = []
        try:
            for program, port in zip(programs, free_ports(len(programs)), strict=True):
                child = processes.start(program, self._environ(port), self.folder / "logs")
                running.append(Running(child, port, COUNTED[program]))
            return watch(running, warm=warm, total=total, cpu=cpu, look=look)
        finally:
            for each in running:
                process.stop(each.child)

    def _environ(self, port: int) -> dict[str, str]:
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "NUMBA_CACHE_DIR")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "KAFKA_BROKERS": self.settings.kafka_brokers,
            "WORKER_DATA_DIR": str(self.folder / f"worker-{port}"),
            "METRICS_PORT": str(port),
            **({"WORKER_CHECKPOINT_BYTES": str(given)} if (given := self.sizes.checkpoint_bytes) else {}),
        }
