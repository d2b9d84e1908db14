"""`make bench-api`: events a second through POST /v1/events, beside a bare FastAPI route that only parses the same body.

Both are one process with the same HTTP server. Ours also knows the key, looks at each event, gives it an id, writes all to Kafka
and waits for the acknowledgement. Requests of 1, 100 and 1,000 events of 201 bytes in the mean (lines.py) as a JSON array, on
four connections, ours and the peer one after the other in each round; a figure is that of the round with the median ratio.

Prints one JSON object a line: events a second of wall time, p50 and p99 of a request in ms, the ratio, and the same ratio by
CPU-seconds of the server. Exits 1 below the mark: 0.5 of the peer at 1,000.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
import psycopg

from pipeline.embedded import process
from pipeline.embedded.ports import LOOPBACK, free_ports
from pipeline.embedded.process import Child
from pipeline.stack import components, processes, seed
from pipeline.tenants import keys
from schemas.errors import ComponentFailed, DriftlockError
from tests.benchmarks.lines import lines
from tests.integration.api_world import unlimited
from tests.stack.database import Database

BATCHES, CONNECTIONS, MARK = (1, 100, 1_000), 4, 0.5
READY_S = 60.0
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A server under measurement."""

    child: Child
    port: int
    key: str = ""

    def cpu(self) -> float:
        """CPU-seconds that it has used."""
        said = Path(f"/proc/{self.child.popen.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(said[11]) + int(said[12])) / TICK


@dataclass(frozen=True)
class Run:
    """What one server did in one round: events a second, events a CPU-second, and the time of each request in ms."""

    events_s: float
    events_cpu_s: float
    p50_ms: float
    p99_ms: float


@contextmanager
def running(folder: Path) -> Iterator[tuple[Server, Server]]:
    """Ours and the peer, each ready."""
    parts = components.start(folder, "kafka", lambda _: None)
    with ExitStack() as ends:
        ends.callback(components.stop, parts)
        organization_id = seed.organization(parts, "Bench", datetime.now(UTC)).organization_id
        with psycopg.connect(parts.postgres.url(role="driftlock_api"), autocommit=True) as connection:
            made = keys.create_key(
                connection, organization_id, "bench", ["events:write"], by="bench", at=datetime.now(UTC)
            )
        unlimited(Database(parts.postgres, "postgres"), organization_id, "standard")
        ours = processes.start(processes.API, parts.environ_of(processes.API), parts.logs)
        ends.callback(process.stop, ours, grace_s=10.0)
        (port,) = free_ports(1)
        argv = [sys.executable, "-m", "tests.benchmarks.bare_api", str(port)]
        peer = process.start("bare-api", argv, log=parts.logs / "bare-api.log", env=dict(parts.environ))
        ends.callback(process.stop, peer, grace_s=5.0)
        servers = Server(ours, parts.ports["api"], made.text), Server(peer, port)
        for server in servers:
            process.wait_ready(server.child, lambda s=server: _ready(s), timeout_s=READY_S)  # type: ignore[misc]
        yield servers


def _ready(server: Server) -> bool:
    try:
        return httpx.get(f"http://{LOOPBACK}:{server.port}/readyz", timeout=3.0).status_code == 200
    except httpx.TransportError:
        return False


def requests(server: Server, batch: int) -> list[bytes]:
    """Whole requests, all different."""
    made = []
    found = [line for _, line in lines(max(batch * 4, 64), 1)]
    for start in range(0, len(found) - batch + 1, batch):
        events = [orjson.loads(line) for line in found[start : start + batch]]
        body = orjson.dumps(events)
        head = f"POST /v1/events HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {server.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        made.append(head.encode() + body)
    return made


def measure(server: Server, batch: int, seconds: float) -> Run:
    """A round of one server."""
    asked = requests(server, batch)
    asyncio.run(_load(server, asked, min(0.5, seconds)))
    before = server.cpu()
    took, times = asyncio.run(_load(server, asked, seconds))
    cpu = max(server.cpu() - before, 1 / TICK)
    events = batch * len(times)
    times.sort()
    return Run(events / took, events / cpu, times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)])


async def _load(server: Server, asked: list[bytes], seconds: float) -> tuple[float, list[float]]:
    """Seconds that it took, and ms of each request."""
    times: list[float] = []
    begun = time.perf_counter()

    async def one(first: int) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, server.port, limit=4 << 20)
        number = first
        while time.perf_counter() - begun < seconds:
            sent = time.perf_counter()
            writer.write(asked[number % len(asked)])
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 202"):
                raise ComponentFailed(f"a server answered {head[:40].decode('latin-1')!r}")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            times.append(1000 * (time.perf_counter() - sent))
            number += 1
        writer.close()

    await asyncio.gather(*(one(n) for n in range(CONNECTIONS)))
    return time.perf_counter() - begun, times


def main() -> int:
    """The command line; 0, 1 below the mark, 2 where it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.api", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each server in each round")
    given = parser.parse_args()
    missed = False
    try:
        with tempfile.TemporaryDirectory(prefix="driftlock-api-") as folder, running(Path(folder)) as (ours, peer):
            for batch in BATCHES:
                rounds = []
                for number in range(given.rounds):
                    order = (ours, peer) if number % 2 else (peer, ours)
                    done = {id(server): measure(server, batch, given.seconds) for server in order}
                    rounds.append((done[id(ours)], done[id(peer)]))
                rounds.sort(key=lambda pair: pair[0].events_s / pair[1].events_s)
                one, other = rounds[len(rounds) // 2]
                mark = MARK if batch == max(BATCHES) else None
                ratio = one.events_s / other.events_s
                missed |= mark is not None and ratio < mark
                said = {
                    "name": f"POST /v1/events, {batch} a request",
                    "events_s": round(one.events_s),
                    "p50_ms": round(one.p50_ms, 2),
                    "p99_ms": round(one.p99_ms, 2),
                    "peer": "bare FastAPI route that parses the same body",
                    "peer_events_s": round(other.events_s),
                    "peer_p50_ms": round(other.p50_ms, 2),
                    "peer_p99_ms": round(other.p99_ms, 2),
                    "ratio": round(ratio, 3),
                    "ratio_cpu": round(one.events_cpu_s / other.events_cpu_s, 3),
                    "mark": mark,
                }
                sys.stdout.write(json.dumps(said) + "\n")
                sys.stdout.flush()
    except DriftlockError as error:
        sys.stderr.write(f"make bench-api: {error}\n")
        return 2
    if missed:
        sys.stderr.write(f"below the mark: {MARK} of the peer at {max(BATCHES)} a request\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
