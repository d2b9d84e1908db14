"""`python -m tests.recording.record --out DIR --seed N --minutes M`: the stack's own logs, with seven real faults in them."""

import argparse
import platform
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import psycopg
import zstandard
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from pipeline import kafka as clients
from pipeline.embedded import components as cached
from pipeline.embedded import process
from pipeline.embedded.kafka import Kafka
from pipeline.embedded.ports import free_ports
from pipeline.embedded.postgres import Postgres
from pipeline.stack import components, processes, seed
from pipeline.stack.components import Components
from pipeline.stack.recording import EVENTS_FILE
from schemas.errors import DriftlockError
from schemas.settings import load as settings_of
from schemas.topics import EVENTS, ORGANIZATION_HEADER, STREAM_HEADER
from tests.recording import database, faults, labels, load, scrub, shop, tail
from tests.recording.scrub import ROOT, Scrubber
from tests.recording.tail import Entry, Source, Tail

QUIET_LINES = 1_500
"""Lines of each busy stream before the first fault: its reference then holds 1,000 scores."""
BUSY = ("postgres", "kafka", "access", "shop")
QUIET_SHARE = 0.33
GAP_S = 25.0
"""Least quiet time between two faults: longer than the margin of the checker."""
CANONICAL = {"broker": 9092, "controller": 9093, "postgres": 5432, "shop": 8000, "stripe": 12111}


@dataclass
class Recorder:
    """Entries as they come in; each is also published to the stack, whose own processes so have work."""

    rules: Scrubber
    publish: Any
    entries: list[Entry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def take(self, entry: Entry) -> None:
        """Keep an entry."""
        kept = replace(entry, event=scrub.scrub(self.rules, entry.event))
        self.entries.append(kept)
        self.counts[kept.stream] += 1
        self.publish(kept)


def main() -> int:
    """Record, and write events.jsonl.zst and labels.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / ".driftlock" / "recording")
    parser.add_argument("--seed", type=int, default=None, help="of fault times and load; default: a new one")
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    number = random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed
    try:
        with ExitStack() as stack:
            entries, done, versions = _record(stack, number, given.minutes * 60)
    except DriftlockError as error:
        sys.stderr.write(f"record: {error}\n")
        return error.exit_code
    _write(given.out, entries, labels.Labels(tuple(done), len(entries), number, versions))
    return 0


def _record(stack: ExitStack, number: int, seconds: float) -> tuple[list[Entry], list[labels.Fault], dict[str, str]]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftlock-record-")))
    folder.chmod(0o755)  # PostgreSQL may run as another user
    say("starting broker, PostgreSQL and our processes")
    parts = components.start(folder / "stack", "kafka", say)
    stack.callback(components.stop, parts)
    broker, server = parts.broker, parts.postgres
    if not isinstance(broker, Kafka):
        raise DriftlockError("a recording needs Apache Kafka: install Java 17 and Maven")
    broker.log4j = Path(__file__).with_name("log4j2.properties")
    broker.restart()
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    orders = NewTopic(shop.TOPIC, 4, 1, config={"segment.ms": "10000", "retention.ms": "120000"})
    admin.create_topics([orders])[shop.TOPIC].result(30)
    urls = database.prepare(server)
    organization = str(seed.organization(parts, "Recording", datetime.now(UTC)).organization_id)
    for program in processes.PROGRAMS:
        child = processes.start(program, parts.environ_of(program), parts.logs)
        stack.callback(process.stop, child, grace_s=5.0)
    (shop_port,) = free_ports(1)
    deploy = stack.enter_context(_shop(parts, urls.shop, shop_port))
    deploy(shop.GOOD)
    recorder = Recorder(_rules(parts, broker, shop_port), _publisher(parts, organization))
    follow = Tail(_sources(parts, broker), recorder.take)
    ended = threading.Event()
    workers = [load.bench(urls.bench, 0.6) for _ in range(4)] + [load.customer(shop_port) for _ in range(4)]
    workers += [load.reports(urls.report), load.batch_jobs(broker.bootstrap)]
    workers += [load.probes([shop_port, *parts.ports.values()], ["/healthz", *["/readyz"] * len(parts.ports)])]
    follow.start()
    threads = load.start(workers, number, ended)
    try:
        done = _play(faults.World(broker, urls, shop_port, deploy), recorder, random.Random(number), seconds)
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)
        follow.stop()
    with psycopg.connect(server.url()) as connection:
        major, minor = divmod(connection.info.server_version, 10_000)
    versions = {
        "apache-kafka": cached.KAFKA_VERSION,
        "postgresql": f"{major}.{minor}",
        "python": platform.python_version(),
        "faust-streaming": version("faust-streaming"),
        "driftlock": version("driftlock"),
    }
    return sorted(recorder.entries, key=lambda e: e.at), done, versions


def _play(world: faults.World, recorder: Recorder, rng: random.Random, seconds: float) -> list[labels.Fault]:
    """Quiet until every busy stream has its lines, then the faults in random order at random times, apart from each other."""
    began = time.time()
    while (time.time() - began < QUIET_SHARE * seconds) or any(recorder.counts[s] < QUIET_LINES for s in BUSY):
        time.sleep(1)
        if time.time() - began > 2 * seconds:
            raise DriftlockError(f"too few lines for a start: {dict(recorder.counts)}")
    names = list(faults.FAULTS)
    rng.shuffle(names)
    slot = (1 - QUIET_SHARE) * seconds / len(names)
    first, done = time.time(), []
    for place, name in enumerate(names):
        inject, streams = faults.FAULTS[name]
        time.sleep(max(GAP_S, first + place * slot + rng.uniform(0.05, 0.4) * slot - time.time()))
        start = time.time()
        inject(world, rng)
        done.append(labels.Fault(name, streams, round(start, 3), round(time.time(), 3)))
        say(f"{name}: {done[-1].end - start:.0f} s")
    time.sleep(max(0.5 * slot, first + seconds * (1 - QUIET_SHARE) - time.time()))
    return done


@contextmanager
def _shop(parts: Components, url: str, port: int) -> Iterator[Any]:
    """`deploy(version)`: end the shop's process and start one of that release; returns when it answers."""
    running: list[process.Child] = []

    def deploy(release: str) -> None:
        while running:
            process.stop(running.pop(), grace_s=5.0)
        argv = [sys.executable, "-m", "tests.recording.shop", "--version", release, "--port", port]
        argv += ["--database", url, "--brokers", parts.broker.bootstrap, "--access", parts.logs / "access.log"]
        child = process.start("shop", [str(a) for a in argv], log=parts.logs / "shop.log", cwd=ROOT)
        running.append(child)
        ready = f"shop {release} is ready"
        process.wait_ready(child, lambda: ready in process.tail(child.log, 400), timeout_s=30)

    try:
        yield deploy
    finally:
        while running:
            process.stop(running.pop(), grace_s=5.0)


def _sources(parts: Components, broker: Kafka) -> list[Source]:
    return [
        Source("postgres", parts.postgres.log, tail.POSTGRES),
        Source("kafka", broker.log, tail.KAFKA),
        Source("access", parts.logs / "access.log", tail.LINE),
        Source("shop", parts.logs / "shop.log", tail.SHOP),
        *(Source(p.name, parts.logs / f"{p.name}.log", tail.LINE) for p in processes.PROGRAMS),
    ]


def _rules(parts: Components, broker: Kafka, shop_port: int) -> Scrubber:
    server: Postgres = parts.postgres
    ports = {
        broker.port: CANONICAL["broker"],
        broker.controller_port: CANONICAL["controller"],
        server.port: CANONICAL["postgres"],
        shop_port: CANONICAL["shop"],
        int(parts.stripe_url.rpartition(":")[2]): CANONICAL["stripe"],
        **{port: 9100 + number for number, port in enumerate(parts.ports.values())},
    }
    folders = {parts.folder: "/var/lib/driftlock", cached.cache(): "/var/cache/driftlock"}
    return scrub.scrubber(folders, ports, [server.password, parts.environ["STRIPE_API_KEY"]])


def _publisher(parts: Components, organization: str) -> Any:
    producer = clients.producer(settings_of(parts.environ), {"log_level": 0})

    def publish(entry: Entry) -> None:
        body = entry.event.encode() if isinstance(entry.event, str) else orjson.dumps(entry.event)
        headers: Any = [(ORGANIZATION_HEADER, organization.encode()), (STREAM_HEADER, entry.stream.encode())]
        producer.produce(EVENTS.name, body, entry.stream.encode(), headers=headers)
        producer.poll(0)

    return publish


def _write(out: Path, entries: list[Entry], done: labels.Labels) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rows = [orjson.dumps({"ts": round(e.at, 3), "stream": e.stream, "event": e.event}) for e in entries]
    data = zstandard.ZstdCompressor(level=22).compress(b"".join(row + b"\n" for row in rows))
    (out / EVENTS_FILE).write_bytes(data)
    labels.write(out, done)
    streams = Counter(e.stream for e in entries)
    say(f"{len(entries)} lines, {len(data)} bytes: " + ", ".join(f"{n} {s}" for s, n in streams.most_common()))


def say(line: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(f"record: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
