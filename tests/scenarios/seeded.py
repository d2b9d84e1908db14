"""A file of weeks ago that seeds streams: nothing of it is told, and the first strange lines of today are."""

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import psycopg

from schemas.topics import ORGANIZATION_HEADER, STREAM_HEADER
from tests.scenarios import traffic
from tests.scenarios.stories import Story
from tests.scenarios.traffic import Record

STREAMS = [f"seeded-{n}" for n in range(4)]
EVENTS = 8_000
ODD = b"panic: index out of range in pricing rule 7"


def past(file: Path, until: datetime) -> None:
    """Lines of four streams over two weeks up to `until`, with a burst that would be told if it were of today."""
    rng = random.Random(1)
    began = until - timedelta(days=14)
    burst = 0
    with file.open("wb") as out:
        for n in range(EVENTS):
            at = began + timedelta(days=14) * n / EVENTS
            burst = 12 if n == EVENTS * 3 // 4 else max(0, burst - 1)
            said = ODD.decode() if burst else f"GET /api/orders/{rng.randrange(10**5)} 200 in {rng.randrange(90)} ms"
            out.write(orjson.dumps({"at": at.isoformat(), "of": STREAMS[n % 4], "said": said}) + b"\n")


def backfill(story: Story, file: Path) -> subprocess.CompletedProcess[str]:
    """`driftlock backfill --seed` as an operator."""
    fields = ["--time-field", "at", "--stream-field", "of", "--event-field", "said"]
    command = [sys.executable, "-m", "pipeline.cli", "backfill", str(file), "--seed", *fields]
    command += ["--tenant", str(story.organization_id)]
    return subprocess.run(command, env=story.parts.environ, capture_output=True, text=True, check=False, timeout=120)


def today(story: Story, count: int, line: bytes | None = None) -> None:
    """Events of the present in each stream."""
    rng = random.Random(count)
    organization = (ORGANIZATION_HEADER, str(story.organization_id).encode())
    batch = [
        Record(
            line or f"GET /api/orders/{rng.randrange(10**5)} 200 in {rng.randrange(90)} ms".encode(),
            (organization, (STREAM_HEADER, stream.encode())),
            stream.encode(),
        )
        for _ in range(count)
        for stream in STREAMS
    ]
    traffic.publish(story.producer, batch, story.published)


def seed(story: Story, folder: Path) -> datetime:
    """Seed the streams with a file that ends nine days ago; when that was done."""
    began = datetime.now(UTC)
    file = folder / "past.ndjson"
    past(file, began - timedelta(days=9))
    done = backfill(story, file)
    assert done.returncode == 0, done.stderr
    assert "8,000 events of 4 streams sent to be learned; 4 of them will be warm" in done.stdout
    story.published.seeded += EVENTS
    return began


def strange_lines_of_today(story: Story, folder: Path) -> None:
    """The present begins, and a second seed of what is known by now is refused."""
    again = backfill(story, folder / "past.ndjson")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1), again.stderr
    assert "seeded-0, seeded-1, seeded-2, ... has events already" in again.stderr
    today(story, 1)
    today(story, 3, b"FATAL: disk of shard-3 is read-only, remounting")


def told_of_today_alone(story: Story, began: datetime) -> None:
    """Each seeded stream has an anomaly, none of the past, each by a full reference."""
    with psycopg.connect(story.parts.postgres.url()) as root:
        rows = root.execute(
            "SELECT stream, created_at, calibrated FROM anomalies WHERE stream = ANY(%s)", (STREAMS,)
        ).fetchall()
    assert {row[0] for row in rows} == set(STREAMS)
    assert all(created_at > began and calibrated for _, created_at, calibrated in rows), rows
