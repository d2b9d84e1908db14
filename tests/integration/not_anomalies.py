"""Many usage records with is_anomaly = false through the sink's own function: `python -m tests.integration.not_anomalies`.

Each record is one frame of one organization, as the worker sends it: bytes that are decoded, checked and booked. Ends with
1 unless there is no unit, no entry of the ledger and no hour to send. `make test-free` runs ten million.
"""

import argparse
import json
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from billing.meter import waiting
from pipeline.embedded import postgres
from pipeline.sinks.sink import Record
from pipeline.sinks.usage import write
from schemas.identity import scored_usage_id
from schemas.models import Position, ScoredUsage
from tests.integration.books import FIRST, Books, ms, open_books
from tests.stack.providers import Server

BATCH = 2_000
ORGANIZATIONS = 5
EVENTS = 37
"""Events that each record's frame held."""


def feed(books: Books, records: int) -> tuple[Counter[str], float]:
    """Book so many records of five organizations over thirty days; their fates, and seconds."""
    organizations = [books.subscribed() for _ in range(ORGANIZATIONS)]
    templates = [
        ScoredUsage(
            usage_id=scored_usage_id("B", 0, 0, str(o)),
            organization_id=o,
            is_anomaly=False,
            count=EVENTS,
            duplicates=0,
            opened={"6": 1},
            occurred_at=0,
            position=Position(topic_id="B", partition=0, frame=0, event=0),
        )
        for o in organizations
    ]
    first, span = ms(FIRST), 30 * 86_400_000
    fates: Counter[str] = Counter()
    began = time.perf_counter()
    for start in range(0, records, BATCH):
        batch = []
        for i in range(start, min(start + BATCH, records)):
            at = first + i * span // records
            said = templates[i % ORGANIZATIONS].model_copy(
                update={"occurred_at": at, "position": Position(topic_id="B", partition=0, frame=i, event=0)}
            )
            batch.append(Record("U", 0, i, at + 5, None, said.to_bytes()))
        with books.sink.transaction():
            fates.update(write(books.sink, batch, first).fates)
    return fates, time.perf_counter() - began


def billed(books: Books) -> dict[str, int]:
    """What must all be 0: units, entries of the ledger, hours to send, and what the sender would find to do."""
    row = books.owner.execute(
        "SELECT (SELECT coalesce(sum(billable + adjusted + capped + free_withheld + waived + warmup), 0)::bigint"
        " FROM usage_counters), (SELECT count(*) FROM ledger), (SELECT count(*) FROM meter_hours)"
    ).fetchone()
    with psycopg.connect(books.database.url("driftlock_meter"), autocommit=True) as meter:
        left, _ = waiting(meter, FIRST + timedelta(days=60))
    assert row is not None
    return {"units": row[0], "entries": row[1], "hours": row[2], "calls_to_stripe": left}


def scored(books: Books) -> int:
    """Events that were counted and are free."""
    row = books.owner.execute("SELECT coalesce(sum(scored_events), 0)::bigint FROM usage_counters").fetchone()
    return row[0] if row else 0


def run(server: Server, records: int) -> dict[str, int]:
    """Feed records to a database of the server; the figures, `wrong` among them: 0."""
    with open_books(server) as books:
        fates, seconds = feed(books, records)
        found = billed(books)
        counted = scored(books)
    return {
        "records": records,
        "events": counted,
        **found,
        "records_per_second": int(records / seconds),
        "wrong": sum(found.values()) + (fates != {"not_anomaly": records}) + (counted != records * EVENTS),
    }


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="driftlock-free-") as folder:
        Path(folder).chmod(0o755)
        server = postgres.new(Path(folder) / "postgres")
        server.start()
        try:
            found = run(server, given.records)
        finally:
            server.stop()
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
