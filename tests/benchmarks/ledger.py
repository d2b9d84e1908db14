"""The ledger's throughput and cost, a part of `make bench`: starts a PostgreSQL of its own, prints JSON lines, 1 below a mark.

- rows/s of records decoded, split and booked, against a plain executemany of the same ids in the same run: id, organization,
  time and count with ON CONFLICT DO NOTHING, in batches of the same size; no lock, chain, rollup, periods, split or totals;
- one organization written by 8 processes (as if on 8 partitions) against 8 organizations written by one each;
- bytes in PostgreSQL and requests to Stripe for a million units of one organization over a month.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from billing import accounts
from billing.agreements import set_cap
from pipeline.embedded import postgres
from pipeline.embedded.postgres import Postgres
from pipeline.schema import migrate_database
from pipeline.sinks.sink import Record
from pipeline.sinks.usage import write
from schemas.migrations import ROLES
from schemas.models import AnomalyUsage, Position

BEGAN = datetime(2026, 3, 2, tzinfo=UTC)
FIRST_MS = int(BEGAN.timestamp() * 1000)
MONTH_MS = 31 * 86_400_000
PARTITIONS = 8
LEAST = 0.5
"""Of the rate of 8 organizations that one organization must reach."""


def made(organizations: list[uuid.UUID], count: int, apart_ms: int = 20, partition: int = 0) -> list[AnomalyUsage]:
    """Fresh usage records, one unit each, spread over the organizations and 7 streams each."""
    return [
        AnomalyUsage(
            usage_id=uuid.uuid4(),
            organization_id=organizations[i % len(organizations)],
            stream=f"stream-{partition}-{i // len(organizations) % 7}",
            is_anomaly=True,
            count=1,
            calibrated=True,
            occurred_at=FIRST_MS + i * apart_ms,
            position=Position(topic_id="B", partition=partition, frame=i, event=0),
            detector_version="bench",
        )
        for i in range(count)
    ]


def ledger_rate(url: str, records: list[AnomalyUsage], batch: int) -> float:
    """Rows/s of the sink's write, decoding included."""
    said = [Record("U", 0, i, r.occurred_at + 5, None, r.to_bytes()) for i, r in enumerate(records)]
    with psycopg.connect(url, autocommit=True) as connection:
        began = time.perf_counter()
        for at in range(0, len(said), batch):
            with connection.transaction():
                fates = write(connection, said[at : at + batch], FIRST_MS).fates
            if set(fates) != {"written"}:
                raise SystemExit("records were not fresh")
        return len(said) / (time.perf_counter() - began)


def plain_rate(url: str, records: list[AnomalyUsage], batch: int) -> float:
    """Rows/s of executemany of four columns."""
    rows = [(r.organization_id, r.usage_id, BEGAN, r.count) for r in records]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE plain (o uuid, id uuid, at timestamptz, n bigint, PRIMARY KEY (o, id))"
        )
        began = time.perf_counter()
        for at in range(0, len(rows), batch):
            with connection.transaction():
                connection.cursor().executemany(
                    "INSERT INTO plain VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", rows[at : at + batch]
                )
        return len(rows) / (time.perf_counter() - began)


def _write(url: str, organization: uuid.UUID, partition: int, count: int, batch: int, ready: int, go: int) -> None:
    """A process of `together`: make its records, say so, wait, and write them."""
    records = made([organization], count, partition=partition)
    said = [Record("U", partition, i, r.occurred_at + 5, None, r.to_bytes()) for i, r in enumerate(records)]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock_shared(%s)", (ready,))
        connection.execute("SELECT pg_advisory_lock_shared(%s)", (go,))
        for at in range(0, len(said), batch):
            with connection.transaction():
                write(connection, said[at : at + batch], FIRST_MS)


def together(server: Postgres, organizations: list[uuid.UUID], count: int, batch: int) -> float:
    """Rows/s of 8 processes that start at once; process i writes to organization i of those given, round and round."""
    url, ready, go = server.url(role="driftlock_sink"), 1, 2
    context = multiprocessing.get_context("spawn")
    with psycopg.connect(server.url(), autocommit=True) as starter:
        starter.execute("SELECT pg_advisory_lock(%s)", (go,))
        children = [
            context.Process(
                target=_write, args=(url, organizations[i % len(organizations)], i, count, batch, ready, go)
            )
            for i in range(PARTITIONS)
        ]
        for child in children:
            child.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
        while starter.execute(waiting, (go,)).fetchone() != (PARTITIONS,):
            if any(child.exitcode for child in children):
                raise SystemExit("a writer died")
            time.sleep(0.02)
        began = time.perf_counter()
        starter.execute("SELECT pg_advisory_unlock(%s)", (go,))
        for child in children:
            child.join()
        seconds = time.perf_counter() - began
    if any(child.exitcode for child in children):
        raise SystemExit("a writer died")
    return PARTITIONS * count / seconds


def seeded(owner: psycopg.Connection, count: int) -> list[uuid.UUID]:
    """Fresh organizations on plan standard, without a cap so that every unit has a total at Stripe."""
    made_now = [uuid.uuid4() for _ in range(count)]
    for o in made_now:
        accounts.seed(
            owner,
            o,
            name="bench",
            customer_id=f"cus_{o}",
            subscription_id=f"sub_{o}",
            plan="standard",
            began_at=BEGAN,
        )
        set_cap(owner, o, "allow", None, by="bench", at=BEGAN)
    return made_now


def say(**line: object) -> None:
    """Print one figure."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def throughput(server: Postgres, owner: psycopg.Connection, rows: int, batch: int, runs: int) -> None:
    """Rows/s against the peer, for one organization and for eight in one process."""
    for count in (1, PARTITIONS):
        ours, peers = [], []
        for _ in range(runs):
            records = made(seeded(owner, count), rows)
            peers.append(plain_rate(server.url(), records, batch))
            ours.append(ledger_rate(server.url(role="driftlock_sink"), records, batch))
        value, peer = statistics.median(ours), statistics.median(peers)
        say(
            name=f"ledger, {count} organization{'s' * (count > 1)}, batches of {batch}",
            value=round(value),
            unit="rows/s",
            peer="plain executemany of 4 columns",
            peer_value=round(peer),
            ratio=round(value / peer, 3),
        )


def contention(server: Postgres, owner: psycopg.Connection, rows: int, batch: int, runs: int) -> bool:
    """One organization on 8 partitions against 8 organizations, the ratio of the round with the median one; whether it suffices."""
    rounds = []
    for _ in range(runs):
        one = together(server, seeded(owner, 1), rows // PARTITIONS, batch)
        eight = together(server, seeded(owner, PARTITIONS), rows // PARTITIONS, batch)
        rounds.append((one / eight, one, eight))
    ratio, one, eight = sorted(rounds)[len(rounds) // 2]
    say(
        name=f"ledger, 1 organization on {PARTITIONS} partitions, batches of {batch}",
        value=round(one),
        unit="rows/s",
        peer=f"{PARTITIONS} organizations on {PARTITIONS} partitions",
        peer_value=round(eight),
        ratio=round(ratio, 3),
        mark=LEAST,
    )
    return ratio >= LEAST


def cost(server: Postgres, owner: psycopg.Connection, rows: int, batch: int) -> None:
    """Bytes and requests of a million units of one organization over a month, from a part of them."""
    owner.execute("VACUUM")
    size = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    before = owner.execute(size).fetchone()
    (organization,) = seeded(owner, 1)
    ledger_rate(server.url(role="driftlock_sink"), made([organization], rows, MONTH_MS // rows), batch)
    after = owner.execute(size).fetchone()
    hours = owner.execute("SELECT count(*) FROM meter_hours WHERE organization_id = %s", (organization,)).fetchone()
    if before is None or after is None or hours is None:
        raise SystemExit("PostgreSQL does not tell its sizes")
    say(
        name="ledger, a million units of one organization over a month",
        value=int((after[0] - before[0]) * 1_000_000 // rows),
        unit="bytes, indexes included",
        measured_with=rows,
    )
    say(
        name="Stripe, a million units of one organization over a month",
        value=hours[0],
        unit="calls to Stripe: one an hour, whatever the units",
        measured_with=rows,
    )


def main() -> int:
    """Print the figures; 0, or 1 below a mark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="driftlock-bench-") as folder:
        Path(folder).chmod(0o755)
        server = postgres.new(Path(folder) / "postgres")
        server.start()
        try:
            with psycopg.connect(server.url(), autocommit=True) as owner:
                migrate_database(owner, dict.fromkeys(ROLES, server.password))
                owner.execute("INSERT INTO source_topics VALUES ('blocks', 'B', now())")
                throughput(server, owner, given.rows, given.batch, given.runs)
                enough = contention(server, owner, given.rows, given.batch, given.runs)
                cost(server, owner, 4 * given.rows, given.batch)
        finally:
            server.stop()
    if not enough:
        sys.stderr.write(f"below the mark: one organization writes at less than {LEAST} of the rate of {PARTITIONS}\n")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
