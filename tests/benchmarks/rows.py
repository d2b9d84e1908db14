"""`make bench-rows`: the console's queries beside millions of anomalies, p50 and p99; exits 1 above 100 ms.

Anomalies of twelve months are generated in SQL, with the payloads of real ones (tests/pipeline/evidence), until there are ROWS of them, or MINUTES
are over, or the disk has less than a tenth left: half of them of one organization. Queries are the functions that the API calls, as its role, under row security.
How many partitions a query read is what EXPLAIN (ANALYZE) says of its scans. At last the oldest month is dropped, as retention does it.
"""

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg
from psycopg.types.json import Jsonb

from pipeline.embedded import postgres
from pipeline.schema import migrate_database
from pipeline.tenants import anomalies, usage
from pipeline.tenants.anomalies import Filter
from schemas.migrations import ROLES
from tests.benchmarks.ledger import BEGAN, seeded
from tests.pipeline.evidence import cases

MARK_MS = 100.0
MONTHS = 12
TIMES = 60
CHUNK = 50_000
ORGANIZATIONS = 3
STREAMS = 200
RARE = 100_000
"""One anomaly in so many has the word that is searched for."""

_INSERT = """
INSERT INTO anomalies (organization_id, created_at, id, revision, stream, event_type, kind, severity, last_at, count, open, calibrated,
    surprisal, extrapolated, reference_n, score_bits, channels, explanation, metrics, first_event_id, blocks_topic_id, blocks_partition,
    frame, event, detector_version, trace)
SELECT (%(organizations)s::uuid[])[CASE WHEN n %% 2 = 0 THEN 1 ELSE 2 + n / 2 %% (%(count)s - 1) END], at, gen_random_uuid(), 2,
    'shop/' || n / 6 * 7919 %% %(streams)s, 'http', (ARRAY['burst', 'rate', 'habit'])[1 + n %% 3],
    (ARRAY['low', 'low', 'low', 'medium', 'medium', 'high', 'critical'])[1 + n %% 7], at + interval '3 s', 3, false, true,
    700000, false, 4096, 900000, '{"burst": 900000}',
    jsonb_set(%(explanation)s, '{sentence}', to_jsonb('order ' || n || ' failed' || CASE WHEN n %% %(rare)s = 0 THEN ' by zebra' ELSE '' END)),
    %(metrics)s, gen_random_uuid(), 'B', 0, n, 0, 'bench', NULL
FROM (SELECT n, %(from)s::timestamptz + n * (%(step)s * interval '1 s') AS at FROM generate_series(%(first)s::bigint, %(last)s::bigint, %(stride)s::bigint) AS n) AS made
"""


class Explained(psycopg.Cursor[Any]):
    """A cursor that asks for the plan of each query before it is run, where `plans` is a list."""

    plans: list[dict[str, Any]] | None = None

    def execute(self, query: Any, params: Any = None, **more: Any) -> "Explained":
        """As psycopg's; then the plan is added to `plans`."""
        if Explained.plans is not None and "FROM anomalies a" in str(query):
            with self.connection.cursor() as plain:
                psycopg.Cursor.execute(plain, f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", params)
                Explained.plans.append(plain.fetchall()[0][0][0]["Plan"])
        super().execute(query, params, **more)
        return self


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """(partition, rows looked at) of each scan of `anomalies` that was executed at all."""
    name = plan.get("Relation Name", "")
    if name.startswith("anomalies_") and name != "anomalies_default" and not name.startswith("anomalies_status"):
        loops = plan["Actual Loops"]
        if loops:
            yield name, round(loops * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)))
    for inner in plan.get("Plans", ()):
        yield from scans(inner)


def fill(owner: psycopg.Connection, organizations: list[uuid.UUID], rows: int, minutes: float, folder: Path) -> int:
    """Generate anomalies, the oldest first; how many."""
    newest = next(case for seed in range(1, 50) for case in cases.cases(seed)).bundle.anomaly[-1]
    real = orjson.loads(newest)
    owner.execute("SELECT create_anomaly_partitions(%s, %s)", (BEGAN - timedelta(days=365), MONTHS + 1))
    deadline = time.monotonic() + 60 * minutes
    # Each chunk is spread over the whole year, so that what time allows has every month. Odd, so that each has every organization.
    stride = max(1, rows // CHUNK) | 1
    done = 0
    for first in range(stride):
        disk = shutil.disk_usage(folder)
        if time.monotonic() > deadline or disk.free < disk.total / 10:
            break
        values = {
            "organizations": organizations,
            "count": len(organizations),
            "streams": STREAMS,
            "rare": RARE,
            "from": BEGAN - timedelta(days=360),
            "step": 360 * 86_400 / rows,
            "explanation": Jsonb(real["explanation"]),
            "metrics": Jsonb(real["metrics"]),
            "first": first,
            "last": rows - 1,
            "stride": stride,
        }
        done += owner.execute(_INSERT, values).rowcount
    owner.execute("VACUUM ANALYZE anomalies")
    return done


Query = Callable[[psycopg.Connection[Any], random.Random], object]


def queries(organization: uuid.UUID, places: list[tuple[datetime, uuid.UUID]]) -> dict[str, Query]:
    """The console's queries, by name. `places`: anomalies of the organization, anywhere in the year."""
    end = BEGAN + timedelta(days=1)

    def listed(wanted: Filter, cursor: str | None = None) -> Query:
        return lambda connection, _: anomalies.list_anomalies(connection, organization, wanted, cursor=cursor)

    def deep(connection: psycopg.Connection[Any], rng: random.Random) -> object:
        at, identity = rng.choice(places)
        micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return anomalies.list_anomalies(connection, organization, Filter(), cursor=f"{micros}.{identity}")

    return {
        "feed, first page": listed(Filter()),
        "feed, critical": listed(Filter(severities=("critical",))),
        "feed, one stream": listed(Filter(streams=("shop/7",))),
        "feed, a kind in a week": listed(Filter(since=end - timedelta(days=40), until=end - timedelta(days=33), kinds=("burst",))),
        "feed, acknowledged (none is)": listed(Filter(statuses=("acknowledged",), since=end - timedelta(days=30))),
        "feed, next page anywhere": deep,
        "text of many": listed(Filter(text="failed")),
        "text of few": listed(Filter(text="zebra")),
        "text of none": listed(Filter(text="quagga")),
        "one anomaly": lambda connection, rng: anomalies.get_anomaly(connection, organization, rng.choice(places)[1]),
        "usage": lambda connection, _: usage.usage(connection, organization, BEGAN + timedelta(hours=1)),
    }  # fmt: skip


def measure(connection: psycopg.Connection[Any], name: str, query: Query, rows: int, times: int) -> float:
    """Print a query's line; its p99 in ms. A query that is far too slow is run fewer times."""
    rng = random.Random(name)
    Explained.plans = []
    query(connection, rng)
    plans, Explained.plans = Explained.plans, None
    seen = [found for plan in plans for found in scans(plan)]
    took: list[float] = []
    while len(took) < times and sum(took) < 20_000:
        began = time.perf_counter()
        query(connection, rng)
        took.append(1_000 * (time.perf_counter() - began))
    took.sort()
    p99 = took[min(len(took) - 1, int(0.99 * len(took)))]
    said = {
        "name": f"rows, {name}",
        "value": round(p99, 2),
        "unit": "ms, p99",
        "p50": round(statistics.median(took), 2),
        "times": len(took),
        "rows": rows,
        "partitions_read": len({partition for partition, _ in seen}),
        "rows_looked_at": sum(count for _, count in seen),
        "mark": MARK_MS,
    }
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    return p99


def run(server: postgres.Postgres, rows: int, minutes: float, folder: Path) -> list[str]:
    """Everything, on a running server; the names of queries above the mark."""
    with psycopg.connect(server.url(), autocommit=True) as owner:
        migrate_database(owner, dict.fromkeys(ROLES, server.password))
        organizations = seeded(owner, ORGANIZATIONS)
        began = time.monotonic()
        done = fill(owner, organizations, rows, minutes, folder)
        took = time.monotonic() - began
        size = owner.execute(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'anomalies'::regclass"
        ).fetchone()
        assert size is not None
        said = {
            "name": "rows, generated",
            "value": done,
            "unit": "anomalies",
            "seconds": round(took),
            "bytes_each": int(size[0]) // done,
        }
        sys.stdout.write(json.dumps(said) + "\n")
        places = (
            owner.execute(
                "SELECT created_at, id FROM anomalies TABLESAMPLE SYSTEM (0.1) WHERE organization_id = %s LIMIT 2000",
                (organizations[0],),
            ).fetchall()
            or owner.execute(
                "SELECT created_at, id FROM anomalies WHERE organization_id = %s LIMIT 2000", (organizations[0],)
            ).fetchall()
        )
    missed = []
    with psycopg.connect(server.url(role="driftlock_api"), autocommit=True, cursor_factory=Explained) as connection:
        for name, query in queries(organizations[0], places).items():
            if measure(connection, name, query, done, TIMES) > MARK_MS:
                missed.append(name)
    with psycopg.connect(server.url(), autocommit=True) as owner:
        oldest = f"anomalies_{BEGAN - timedelta(days=360):%Y%m}"
        dropped = owner.execute(f"SELECT count(*) FROM {oldest}").fetchone()
        assert dropped is not None
        began = time.monotonic()
        owner.execute(f"ALTER TABLE anomalies DETACH PARTITION {oldest}")
        owner.execute(f"DROP TABLE {oldest}")
        said = {
            "name": "rows, oldest month dropped",
            "value": round(1_000 * (time.monotonic() - began), 1),
            "unit": "ms",
            "rows": dropped[0],
        }
        sys.stdout.write(json.dumps(said) + "\n")
    return missed


def main() -> int:
    """Print the figures; 1 where a query is above the mark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="driftlock-rows-") as folder:
        Path(folder).chmod(0o755)
        server = postgres.new(Path(folder) / "postgres", fast=True)
        server.settings |= {"shared_buffers": "1GB", "max_wal_size": "4GB"}
        server.start()
        try:
            missed = run(server, given.rows, given.minutes, Path(folder))
        finally:
            server.stop()
    sys.stderr.write("".join(f"rows, {name}: above {MARK_MS:g} ms\n" for name in missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
