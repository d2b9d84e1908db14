"""Rows per second of the ledger: records decoded and booked, against a plain executemany of the same ids in the same run.

`python -m tests.benchmarks.ledger` starts a PostgreSQL of its own and prints one JSON object a line. The peer writes the
id, organization, time and count of each record with ON CONFLICT DO NOTHING, in batches of the same size: no lock, chain,
rollup, periods or totals.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from billing import accounts
from pipeline.embedded import postgres
from pipeline.schema import migrate_database
from pipeline.sinks.sink import Record
from pipeline.sinks.usage import write
from schemas.migrations import ROLES
from schemas.models import AnomalyUsage, Position

BEGAN = datetime(2026, 3, 2, tzinfo=UTC)
FIRST_MS = int(BEGAN.timestamp() * 1000)


def made(organizations: list[uuid.UUID], count: int) -> list[AnomalyUsage]:
    """Fresh usage records, one unit each, spread over the organizations and 7 streams each."""
    return [
        AnomalyUsage(
            usage_id=uuid.uuid4(),
            organization_id=organizations[i % len(organizations)],
            stream=f"stream-{i // len(organizations) % 7}",
            is_anomaly=True,
            count=1,
            calibrated=True,
            occurred_at=FIRST_MS + i * 20,
            position=Position(topic_id="B", partition=0, frame=i, event=0),
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


def main() -> None:
    """Print the medians, for one organization and for eight."""
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
                for count in (1, 8):
                    ours, peers = [], []
                    for _ in range(given.runs):
                        organizations = [uuid.uuid4() for _ in range(count)]
                        for o in organizations:
                            accounts.seed(
                                owner,
                                o,
                                name="bench",
                                customer_id=f"cus_{o}",
                                subscription_id=f"sub_{o}",
                                plan="standard",
                                began_at=BEGAN,
                            )
                        records = made(organizations, given.rows)
                        peers.append(plain_rate(server.url(), records, given.batch))
                        ours.append(ledger_rate(server.url(role="driftlock_sink"), records, given.batch))
                    value, peer = statistics.median(ours), statistics.median(peers)
                    line = {
                        "name": f"ledger, {count} organization{'s' * (count > 1)}, batches of {given.batch}",
                        "value": round(value),
                        "unit": "rows/s",
                        "peer": "plain executemany of 4 columns",
                        "peer_value": round(peer),
                        "ratio": round(value / peer, 3),
                    }
                    sys.stdout.write(json.dumps(line) + "\n")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
