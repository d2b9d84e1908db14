"""Scans of uploaded files: one at a time in a thread, bounded in bytes and seconds, in memory for ten minutes.

The file is deleted when it was read, whatever came of it; nothing is written to a database, so nothing is metered.
"""

import asyncio
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Literal

from dashboards.console import findings
from dashboards.console.findings import View
from detectors.detector import Controls
from pipeline.scan import offline, read
from pipeline.scan.offline import Scan
from pipeline.scan.parse import Fields
from pipeline.scan.printable import short
from pipeline.scan.read import Line, ScanInput
from pipeline.scan.trace import Panel, panels

MAX_TEXT_BYTES = 128 << 20
"""Most that a compressed file may unpack to."""
MAX_SECONDS = 60.0
KEPT_SECONDS = 600.0
MOST_WAITING = 8
MOST_KEPT = 64
MOST_SHOWN = 100
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Found:
    """An anomaly of the file: its place and what is shown of it."""

    stream: str
    line: int
    view: View


@dataclass(frozen=True)
class Result:
    """What a scan gave: numbers of events, streams and anomalies, the anomalies shown (the most surprising, in order of the file), a plot."""

    events: int
    streams: int
    total: int
    found: tuple[Found, ...]
    panels: tuple[Panel, ...]
    timed: bool
    seconds: float


@dataclass
class Job:
    """An upload, its file in a folder that `submit` made for it alone. `read` of `total` bytes are scanned; `ended`: monotonic."""

    id: str
    name: str
    file: Path
    total: int
    fields: Fields
    controls: Controls
    state: Literal["waiting", "scanning", "done", "failed"] = "waiting"
    read: int = 0
    events: int = 0
    error: str = ""
    result: Result | None = None
    ended: float | None = None

    @property
    def percent(self) -> int:
        """How much of the file was read."""
        return min(100, 100 * self.read // max(self.total, 1))


@dataclass
class Scans:
    """All jobs by id, and the one thread that works on them; `stopped` ends a scan that runs."""

    jobs: dict[str, Job] = field(default_factory=dict)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "scan"))
    folders: dict[str, TemporaryDirectory[str]] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)


class TooMuch(ScanInput):
    """A file takes more than an upload may."""


def waiting(scans: Scans) -> int:
    """Jobs that are not done."""
    return sum(job.ended is None for job in scans.jobs.values())


def submit(scans: Scans, upload: BinaryIO, name: str, fields: Fields, controls: Controls) -> Job:
    """Copy an upload into a folder of its own and queue its scan. `ScanInput` where it is no log file."""
    start = upload.read(4096)
    if not start.strip():
        raise ScanInput("the file is empty")
    if start.startswith(_ZSTD) or name.endswith(".zst"):
        raise ScanInput("zstd is not taken here: upload plain text or .gz, or use `driftlock scan` on your machine")
    packed = start.startswith(_GZIP)
    if not packed and b"\0" in start:
        raise ScanInput("the file is not text: upload a log, one event a line")
    upload.seek(0)
    folder = TemporaryDirectory(prefix="driftlock-scan-", ignore_cleanup_errors=True)
    try:
        target = Path(folder.name) / ("upload.gz" if packed else "upload.log")
        with target.open("xb") as out:
            shutil.copyfileobj(upload, out, 1 << 20)
        job = Job(secrets.token_urlsafe(24), short(name, 80), target, target.stat().st_size, fields, controls)
        scans.folders[job.id] = folder
        scans.jobs[job.id] = job
        scans.pool.submit(_run, scans, job)
    except BaseException:
        folder.cleanup()
        raise
    return job


def close(scans: Scans) -> None:
    """End what runs and forget all; files go too."""
    scans.stopped.set()
    scans.pool.shutdown(wait=True, cancel_futures=True)
    for folder in scans.folders.values():
        folder.cleanup()
    scans.folders.clear()
    scans.jobs.clear()


async def forget(scans: Scans, every: float = 15.0) -> None:
    """Forget old results, until cancelled."""
    while True:
        purge(scans, time.monotonic())
        await asyncio.sleep(every)


def purge(scans: Scans, now: float) -> None:
    """Forget what ended ten minutes ago, and the oldest of too many."""
    ended = sorted((j for j in scans.jobs.values() if j.ended is not None), key=lambda j: j.ended or 0.0)
    for number, job in enumerate(ended):
        if now - (job.ended or now) >= KEPT_SECONDS or number < len(ended) - MOST_KEPT:
            del scans.jobs[job.id]


def _run(scans: Scans, job: Job) -> None:
    began = time.monotonic()
    job.state = "scanning"
    try:
        job.result = scan(scans, job, began)
        job.state = "done"
    except ScanInput as error:
        job.error = str(error).replace(str(job.file), job.name)
        job.state = "failed"
    except Exception:
        job.error = "the scan failed by a fault of ours; it is in our log, without your file"
        job.state = "failed"
        raise
    finally:
        scans.folders.pop(job.id).cleanup()
        job.ended = time.monotonic()


def scan(scans: Scans, job: Job, began: float) -> Result:
    """Scan a job's file. `TooMuch` when it unpacks to too many bytes, takes too long, or the console stops."""
    state = Scan(job.fields, job.controls, traced=True)

    def advance(count: int) -> None:
        job.read += count
        if scans.stopped.is_set():
            raise TooMuch("the console is stopping: upload the file again in a minute")
        if time.monotonic() - began > MAX_SECONDS:
            raise TooMuch(
                f"{job.name} takes longer than {MAX_SECONDS:.0f} seconds: use `driftlock scan` on your machine"
            )

    for batch in offline.batches(_bounded(read.lines((str(job.file),), advance))):
        offline.score_batch(state, batch)
        job.events += len(batch)
        advance(0)
    found = offline.findings(state, None)
    most = sorted(found, key=lambda f: -f.update.surprisal)[:MOST_SHOWN]
    shown = sorted(most, key=lambda f: f.line)
    return Result(
        sum(state.seen.values()),
        len(state.seen),
        len(found),
        tuple(Found(short(f.stream), f.line, findings.view(_record(f.update))) for f in shown),
        tuple(panels(state, found)),
        job.fields.time is not None,
        time.monotonic() - began,
    )


def _record(update: Any) -> dict[str, Any]:
    return asdict(update)


def _bounded(lines: Iterator[Line]) -> Iterator[Line]:
    total = 0
    for line in lines:
        total += len(line.data) + 1
        if total > MAX_TEXT_BYTES:
            raise TooMuch(
                f"the file unpacks to more than {MAX_TEXT_BYTES >> 20} MiB: use `driftlock scan` on your machine"
            )
        yield line
