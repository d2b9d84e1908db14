"""`make bench-live`: from an event in Kafka to the anomaly in an open event stream, and what a thousand open streams cost.

The whole product runs: Kafka, PostgreSQL, packer, worker, sink, API. A hundred telemetry streams learn 1,200 lines each, at
sensitivity 1; then one of them after the other gets a line that is like none. The time is that between Kafka's append and the
arrival of the whole event at a client of `GET /v1/anomalies/stream`, both by this machine's clock. First with one open stream,
then with a thousand in one API process, whose memory is read after the first of these anomalies and after the last. (Their
readers share this machine's processors with it: that time is printed, and is no mark.)

Prints one JSON object a line; exits 1 where p99 with one is not below a second, or memory grows by more than a twentieth.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
import psycopg
from confluent_kafka import Message, Producer

from pipeline import kafka
from pipeline.embedded import process
from pipeline.embedded.ports import LOOPBACK
from pipeline.embedded.process import Child
from pipeline.stack import components, processes, seed
from pipeline.stack.components import Components
from pipeline.tenants import keys
from schemas.errors import ComponentFailed, DriftlockError
from schemas.settings import load
from schemas.topics import EVENTS, ORGANIZATION_HEADER, STREAM_HEADER
from tests.integration.api_world import unlimited
from tests.stack.database import Database

PROGRAMS = (processes.SINK_ANOMALIES, processes.SINK_USAGE, processes.WORKER, processes.PACKER, processes.API)
LEARNED, WAIT_S = 1_200, 60.0
MARK_MS, GROWTH = 1_000.0, 0.05
COLOURS, NUMBERS = ("red", "green", "blue", "grey"), ("one", "two", "three")


@dataclass
class Product:
    """The running product, the header of a key of its organization, and a producer that writes events to Kafka."""

    parts: Components
    children: dict[str, Child]
    organization_id: str
    headers: dict[str, str]
    producer: Producer

    @property
    def port(self) -> int:
        """The API's."""
        return self.parts.ports[processes.API.name]


@contextmanager
def running(folder: Path) -> Iterator[Product]:
    """The product at sensitivity 1, with an organization that asks as often as it likes."""
    parts = components.start(folder, "kafka", lambda _: None)
    with ExitStack() as ends:
        ends.callback(components.stop, parts)
        parts.environ["SENSITIVITY"] = "1"
        parts.environ["FALSE_ALARMS_PER_DAY"] = "10000"
        organization_id = seed.organization(parts, "Live", datetime.now(UTC)).organization_id
        with psycopg.connect(parts.postgres.url(role="driftlock_api"), autocommit=True) as connection:
            made = keys.create_key(
                connection, organization_id, "live", ["anomalies:read"], by="bench", at=datetime.now(UTC)
            )
        unlimited(Database(parts.postgres, "postgres"), organization_id, "standard")
        children = {}
        for program in PROGRAMS:
            children[program.name] = processes.start(program, parts.environ_of(program), parts.logs)
            ends.callback(process.stop, children[program.name], grace_s=10.0)
        for name, child in children.items():
            process.wait_ready(child, lambda n=name: _ready(parts, n), timeout_s=WAIT_S)  # type: ignore[misc]
        headers = {"Authorization": f"Bearer {made.text}"}
        producer = kafka.producer(load(parts.environ), {"linger.ms": 0})
        yield Product(parts, children, str(organization_id), headers, producer)


def _ready(parts: Components, name: str) -> bool:
    try:
        return httpx.get(f"http://{LOOPBACK}:{parts.ports[name]}/readyz", timeout=3.0).status_code == 200
    except httpx.TransportError:
        return False


def normal(i: int) -> bytes:
    """A usual line."""
    return f"cart add item {COLOURS[i % 4]} in {NUMBERS[i % 3]} steps".encode()


def odd(i: int) -> bytes:
    """A line that none before is like."""
    return f"!! panic[{i}]: <{i * 7919:x}> watchdog={i * 31:o}; giving up & rebooting {'#' * (i % 7)}".encode()


def publish(product: Product, stream: str, line: bytes, appended: dict[str, float] | None = None) -> None:
    """Write an event; `appended` gets Kafka's time of it, in seconds."""

    def delivered(error: object, message: Message) -> None:
        if error is None and appended is not None:
            appended[stream] = message.timestamp()[1] / 1000

    headers: list[tuple[str, str | bytes | None]] = [
        (ORGANIZATION_HEADER, product.organization_id),
        (STREAM_HEADER, stream),
    ]
    product.producer.produce(EVENTS.name, line, stream, headers=headers, on_delivery=delivered)
    product.producer.poll(0)


@dataclass
class Readers:
    """Open event streams, read in a thread of their own; `seen`: telemetry stream → when each reader had its anomaly."""

    product: Product
    count: int
    seen: dict[str, list[float]] = field(default_factory=dict)
    opened: int = 0
    started: threading.Event = field(default_factory=threading.Event)
    loop: asyncio.AbstractEventLoop | None = None
    ended: asyncio.Event | None = None

    def stop(self) -> None:
        """Close all of them."""
        if self.loop is not None and self.ended is not None:
            self.loop.call_soon_threadsafe(self.ended.set)

    async def _read(self) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.product.port, limit=1 << 20)
        asked = f"GET /v1/anomalies/stream HTTP/1.1\r\nHost: {LOOPBACK}\r\n"
        asked += "".join(f"{name}: {value}\r\n" for name, value in self.product.headers.items())
        writer.write(f"{asked}\r\n".encode())
        mine: set[str] = set()
        try:
            while line := await reader.readline():
                if line.startswith(b"retry:"):
                    self.opened += 1
                elif line.startswith(b"data: "):
                    at, said = time.time(), orjson.loads(line[6:])
                    if said["revision"] == 1 and said["stream"] not in mine and said["kind"] not in {"silence", "rate"}:
                        mine.add(said["stream"])
                        self.seen.setdefault(said["stream"], []).append(at)
        finally:
            writer.close()

    async def run(self) -> None:
        """Read all of them until stopped."""
        self.loop, self.ended = asyncio.get_running_loop(), asyncio.Event()
        self.started.set()
        tasks = []
        for _ in range(self.count):
            tasks.append(asyncio.create_task(self._read()))
            if len(tasks) % 50 == 0:
                await asyncio.sleep(0.05)  # a listener has a queue of a hundred
        await self.ended.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def reading(product: Product, count: int) -> Iterator[Readers]:
    """Readers, all open."""
    readers = Readers(product, count)
    thread = threading.Thread(target=lambda: asyncio.run(readers.run()))
    thread.start()
    readers.started.wait(WAIT_S)
    try:
        _wait(lambda: readers.opened == count, f"{count} open streams")
        yield readers
    finally:
        readers.stop()
        thread.join(WAIT_S)


def _wait(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > deadline:
            raise ComponentFailed(f"no {what} within {WAIT_S:.0f} s")
        time.sleep(0.02)


def learn(product: Product, streams: Sequence[str]) -> None:
    """Let each stream learn its usual lines, and wait until they are scored."""
    for i in range(LEARNED):
        for stream in streams:
            publish(product, stream, normal(i))
    product.producer.flush(WAIT_S)
    wanted = LEARNED * len(streams)
    _wait(lambda: _metric(product, "worker", "driftlock_worker_events_total") >= wanted, "scored lines")


def _metric(product: Product, name: str, metric: str) -> float:
    text = httpx.get(f"http://{LOOPBACK}:{product.parts.ports[name]}/metrics", timeout=5).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(metric))


def measure(product: Product, name: str, streams: Sequence[str], count: int) -> dict[str, object]:
    """One odd line in each stream, one after the other, read by `count` open event streams."""
    appended: dict[str, float] = {}
    memory: list[int] = []
    with reading(product, count) as readers:
        for i, stream in enumerate(streams):
            publish(product, stream, odd(i), appended)
            time.sleep(0.15 if count == 1 else 0.5)
            if len(readers.seen) >= 1 and not memory:
                memory.append(_resident(product.children["api"]))
        product.producer.flush(WAIT_S)
        _wait(lambda: all(len(readers.seen.get(s, ())) >= count for s in streams), f"anomalies in {count} streams")
        memory.append(_resident(product.children["api"]))
    late = sorted(1000 * (at - appended[s]) for s in streams for at in readers.seen[s])
    return {
        "name": name,
        "open_streams": count,
        "anomalies": len(streams),
        "arrivals": len(late),
        "p50_ms": round(late[len(late) // 2]),
        "p99_ms": round(late[min(len(late) - 1, len(late) * 99 // 100)]),
        "max_ms": round(late[-1]),
        "mark_p99_ms": MARK_MS if count == 1 else None,
        "resident_mib": [round(m / 2**20, 1) for m in memory],
        "growth": round(memory[-1] / memory[0] - 1, 4),
    }


def _resident(child: Child) -> int:
    """Bytes of memory that a process holds."""
    text = Path(f"/proc/{child.popen.pid}/status").read_text("ascii")
    return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("VmRSS"))


def main() -> int:
    """The command line; 0, 1 where a mark is missed, 2 where it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.live", description=__doc__)
    parser.add_argument("--streams", type=int, default=100, help="telemetry streams, an anomaly in each half of them")
    parser.add_argument("--open", type=int, default=1_000, help="open event streams of the second half")
    given = parser.parse_args()
    names = [f"live-{n:03d}" for n in range(given.streams)]
    half = len(names) // 2
    try:
        with tempfile.TemporaryDirectory(prefix="driftlock-live-") as folder, running(Path(folder)) as product:
            sys.stderr.write("learning ...\n")
            learn(product, names)
            figures = []
            for name, streams, count in (
                ("live, one open stream", names[:half], 1),
                (f"live, {given.open} open streams", names[half:], given.open),
            ):
                figures.append(measure(product, name, streams, count))
                sys.stdout.write(json.dumps(figures[-1]) + "\n")
                sys.stdout.flush()
    except DriftlockError as error:
        sys.stderr.write(f"make bench-live: {error}\n")
        return 2
    slow = [f for f in figures[:1] if not float(str(f["p99_ms"])) < MARK_MS]
    grown = float(str(figures[-1]["growth"])) > GROWTH
    if grown:
        sys.stderr.write("the API's memory grew while its streams were open\n")
    for figure in slow:
        sys.stderr.write(f"below the mark: {figure['name']}\n")
    return 1 if slow or grown else 0


if __name__ == "__main__":
    sys.exit(main())
