"""What tests of the sinks share: a stack of their own, usage records with a known truth, and sinks as real processes."""

import os
import random
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from billing import accounts, ledger
from pipeline import kafka
from pipeline.embedded import process
from pipeline.embedded.broker import Broker
from pipeline.embedded.process import Child
from schemas.models import AnomalyUsage, Position, ScoredUsage
from schemas.settings import Settings, load
from tests.stack.database import Database

BEGAN = datetime(2026, 3, 2, 10, 37, tzinfo=UTC)
FIRST_MS = int((BEGAN + timedelta(hours=1)).timestamp() * 1000)


@dataclass(frozen=True)
class Stack:
    """A broker and a migrated database, with what a process must know of them."""

    broker: Broker
    database: Database
    folder: Path
    children: list[Child] = field(default_factory=list)

    def end(self) -> None:
        """End what a failing test left running."""
        for child in self.children:
            process.kill(child)

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a sink."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return {**kept, **self.database.environ(), "KAFKA_BROKERS": self.broker.bootstrap}

    @property
    def settings(self) -> Settings:
        """The same, read."""
        return load(self.environ)

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a query as the owner."""
        with psycopg.connect(self.database.url(), autocommit=True) as connection:
            return connection.execute(text, values).fetchall()


@dataclass
class Truth:
    """What must be in the ledger: units by organization and disposition, and events scored by organization."""

    units: dict[tuple[uuid.UUID, str], int] = field(default_factory=dict)
    scored: dict[uuid.UUID, int] = field(default_factory=dict)


def seed(stack: Stack, organizations: int) -> list[uuid.UUID]:
    """Organizations with a standard subscription that began at BEGAN."""
    made = []
    with psycopg.connect(stack.database.url(), autocommit=True) as connection:
        for _ in range(organizations):
            organization_id = uuid.uuid4()
            accounts.seed(
                connection,
                organization_id,
                name="Test",
                customer_id=f"cus_{organization_id.hex}",
                subscription_id=f"sub_{organization_id.hex}",
                plan="standard",
                began_at=BEGAN,
            )
            made.append(organization_id)
    return made


def records(
    organizations: list[uuid.UUID], blocks_id: str, count: int, seed_: int, first_frame: int = 0
) -> tuple[list[tuple[bytes, bytes]], Truth]:
    """(key, value) of `count` usage records, a tenth of them again, as a worker repeats frames; and the truth of them.

    Per organization frames come in order; a repetition is the last few records of one organization, in order.
    """
    rng = random.Random(seed_)
    truth = Truth()
    said: dict[uuid.UUID, list[tuple[bytes, bytes]]] = {o: [] for o in organizations}
    sent: list[tuple[bytes, bytes]] = []
    fresh = 0
    while fresh < count:
        o = rng.choice(organizations)
        frame = first_frame + len(said[o])
        position = Position(topic_id=blocks_id, partition=0, frame=frame, event=rng.randrange(100))
        occurred_at = FIRST_MS + fresh * 700
        usage: AnomalyUsage | ScoredUsage
        if rng.random() < 0.8:
            units, calibrated = rng.choice((1, 1, 1, 7)), rng.random() < 0.9
            usage = AnomalyUsage(
                usage_id=uuid.UUID(int=rng.getrandbits(128)),
                organization_id=o,
                stream="app",
                is_anomaly=True,
                count=units,
                calibrated=calibrated,
                occurred_at=occurred_at,
                position=position,
                detector_version="test",
            )
            kind = (o, "billable" if calibrated else "warmup")
            truth.units[kind] = truth.units.get(kind, 0) + units
        else:
            events = rng.randrange(1, 1000)
            usage = ScoredUsage(
                usage_id=uuid.UUID(int=rng.getrandbits(128)),
                organization_id=o,
                is_anomaly=False,
                count=events,
                duplicates=0,
                opened={"7": 1},
                occurred_at=occurred_at,
                position=position,
            )
            truth.scored[o] = truth.scored.get(o, 0) + events
        message = (str(o).encode(), usage.to_bytes())
        said[o].append(message)
        sent.append(message)
        fresh += 1
        if rng.random() < 0.01:
            sent += said[rng.choice(organizations)][-10:]
    return sent, truth


def produce(stack: Stack, topic: str, messages: list[tuple[bytes, bytes]]) -> None:
    """Write messages and wait for the acknowledgement of each."""
    producer = kafka.producer(stack.settings)
    for key, value in messages:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


def start_sink(stack: Stack, what: str = "usage", **environ: str) -> Child:
    """`driftlock sink usage` as a real process."""
    child = process.start(
        f"sink-{what}",
        [sys.executable, "-m", "pipeline.cli", "sink", what],
        log=stack.folder / f"sink-{what}-{len(stack.children)}.log",
        env={**stack.environ, **environ},
    )
    stack.children.append(child)
    return child


def wait(condition: Callable[[], bool], timeout_s: float = 90.0, what: str = "condition") -> None:
    """Poll until true, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} not reached in {timeout_s} s"
        time.sleep(0.05)


def written(stack: Stack, consumer: str = "sink-usage") -> int:
    """Records whose offsets are committed in the database, of the newest topic."""
    (row,) = stack.query("SELECT coalesce(sum(next_offset), 0) FROM sink_offsets WHERE consumer = %s", consumer)
    return int(row[0])


def ledger_sums(stack: Stack) -> dict[tuple[uuid.UUID, str], int]:
    """Units by organization and disposition as the ledger has them."""
    return {
        (o, d): int(n)
        for o, d, n in stack.query("SELECT organization_id, disposition, sum(units) FROM ledger GROUP BY 1, 2")
    }


def check_books(stack: Stack, truth: Truth, sent: int) -> None:
    """Ledger = truth, rollup = ledger, hours = rollup, chains sound, and every record accounted for (R1, R2, R3)."""
    assert ledger_sums(stack) == truth.units
    rollup = stack.query(
        "SELECT organization_id, sum(billable), sum(warmup), sum(entries), sum(scored_events) FROM usage_counters GROUP BY 1"
    )
    for o, billable, warmup, _, scored in rollup:
        assert billable == truth.units.get((o, "billable"), 0)
        assert warmup == truth.units.get((o, "warmup"), 0)
        assert scored == truth.scored.get(o, 0)
    assert sum(row[3] for row in rollup) == stack.query("SELECT count(*) FROM ledger")[0][0]
    hours = stack.query(
        "SELECT organization_id, hour, units FROM meter_hours EXCEPT"
        " SELECT organization_id, meter_hour, sum(units) FROM ledger WHERE disposition = 'billable' GROUP BY 1, 2"
    )
    assert hours == []
    assert stack.query("SELECT sum(units) FROM meter_hours")[0][0] == sum(
        n for (_, kind), n in truth.units.items() if kind == "billable"
    )
    with psycopg.connect(stack.database.url(), autocommit=True) as connection:
        for (o,) in connection.execute("SELECT organization_id FROM ledger_heads").fetchall():
            assert ledger.verify(connection, o) is None
    (counts,) = stack.query(
        "SELECT sum(next_offset), sum(written + not_anomaly + duplicates + dead_letters) FROM sink_offsets"
        " WHERE consumer = 'sink-usage'"
    )
    assert counts == (sent, sent)
