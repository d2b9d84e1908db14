"""What the checks of `make verify` stand on: an empty environment with the wheel, and a stack that ran a recording."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg

from pipeline import kafka
from pipeline.stack import demonstration, processes, recording, seed, supervisor
from pipeline.stack.account import Account
from pipeline.stack.components import Components
from pipeline.stack.demonstration import Bill
from pipeline.stack.processes import PROGRAMS
from pipeline.stack.seed import Seeded
from schemas.settings import load
from tests.deploy.compose import ROOT


@dataclass(frozen=True)
class Ground:
    """Installed below `prefix`; running as `parts`; what came of the recording of `sent` events."""

    folder: Path
    prefix: Path
    parts: Components
    watch: supervisor.Supervisor
    seeded: Seeded
    sent: int
    outcome: Account
    bill: Bill

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.parts.ports['api']}"

    def driftlock(self, *words: object, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """The installed command, outside the checkout; without settings but those given."""
        base = {name: os.environ[name] for name in ("PATH", "HOME", "NUMBA_CACHE_DIR") if name in os.environ}
        command = [str(self.prefix / "bin" / "driftlock"), *map(str, words)]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=base | (environ or {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def sql(self, query: str, role: str = "postgres") -> list[tuple[Any, ...]]:
        """Rows, as the owner of the schema or another role."""
        with psycopg.connect(self.parts.postgres.url(role=role), autocommit=True) as connection:
            done = connection.execute(query.encode())
            return done.fetchall() if done.description else []


def install(folder: Path) -> Path:
    """The steps of the image in a plain folder: the wheel, in an environment with nothing but what it needs."""
    prefix = folder / "prefix"
    done = subprocess.run([ROOT / "deploy" / "install", prefix], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"deploy/install: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return prefix


def run_recording(parts: Components, watch: supervisor.Supervisor) -> tuple[Seeded, int, Account, Bill]:
    """Every process of the list started; a recording published, scored, booked, and told to Stripe an hour later."""
    supervisor.start(
        watch, [p for p in PROGRAMS if p is not processes.METER], time.monotonic()
    )  # it goes by the present
    now = datetime.now(UTC)
    seeded = seed.organization(parts, "Verify", now)
    lines = list(recording.read(ROOT / "tests" / "recording" / "demo"))
    sent = recording.publish(kafka.producer(load(parts.environ)), lines, str(seeded.organization_id), now.timestamp())
    outcome = demonstration.wait(parts, seeded, sent, lambda: _tend(watch), 300)
    bill = demonstration.send_to_stripe(parts, seeded, now + timedelta(hours=1))
    supervisor.start(watch, [processes.METER], time.monotonic())
    return seeded, sent, outcome, bill


def _tend(watch: supervisor.Supervisor) -> None:
    supervisor.check(watch, time.monotonic())


def until(done: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for a condition; AssertionError names it."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def answer(url: str) -> httpx.Response:
    """A GET; 599 where nobody answers."""
    try:
        return httpx.get(url, timeout=10)
    except httpx.TransportError:
        return httpx.Response(599)
