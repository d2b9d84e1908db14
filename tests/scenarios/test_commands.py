"""What a newcomer runs: the demonstration, and the stack that stays up."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from pipeline.embedded import broker, process
from pipeline.embedded.broker import Kind
from schemas.errors import ComponentMissing
from tests.stack.fixtures import scratch
from tests.stack.providers import needed

DRIFTLOCK = [sys.executable, "-m", "pipeline.cli"]
ENVIRON = os.environ | {"COLUMNS": "400"}


def _kafka_is_there() -> None:
    if not broker.kafka_can_run():
        raise ComponentMissing("Apache Kafka needs Java and Maven: see .ci/run")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["kafka", "tansu"])
def test_the_demo_adds_up(kind: Kind) -> None:
    if kind == "kafka":
        needed(_kafka_is_there)
    with scratch() as folder:
        command = [*DRIFTLOCK, "demo", "--folder", str(folder / "demo"), "--broker", kind]
        done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, check=False, timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"events in ([\d,]+) = scored ([\d,]+) \+ duplicates (\d+) \+ dead letters (\d+)", done.stdout)
    assert counts is not None
    total, scored, duplicates, dead = (int(n.replace(",", "")) for n in counts.groups())
    assert total == scored + duplicates + dead > 20_000
    units = re.search(r"ledger (\d+) = Stripe (\d+) units", done.stdout)
    assert units is not None
    assert int(units[1]) == int(units[2]) > 0
    assert ("NOT DURABLE" in done.stdout) is (kind == "tansu")


def await_line(log: Path, pattern: str, alive: Callable[[], bool], seconds: float = 90) -> str:
    """The first match of a pattern in a log that is being written."""
    end = time.monotonic() + seconds
    while (found := re.search(pattern, log.read_text("utf-8", "replace") if log.exists() else "")) is None:
        assert alive(), process.tail(log, 5)
        assert time.monotonic() < end, f"no {pattern!r}: {process.tail(log, 5)}"
        time.sleep(0.1)
    return found[1] if found.groups() else found[0]


@pytest.mark.timeout(300)
def test_dev_stays_up_brings_back_who_dies_and_leaves_nothing() -> None:
    needed(_kafka_is_there)
    with scratch() as folder:
        log = folder / "dev.log"
        dev = process.start("dev", [*DRIFTLOCK, "dev", "--folder", str(folder / "dev")], log=log, env=ENVIRON)
        try:
            await_line(log, r"publish with", dev.alive)
            serving = await_line(folder / "dev" / "logs" / "sink-usage.log", r'"port": (\d+)', dev.alive)
            ready = f"http://127.0.0.1:{serving}/readyz"
            _until(lambda: _status(ready) == 200, "the sink is not ready")
            again = subprocess.run(
                [*DRIFTLOCK, "dev", "--folder", str(folder / "dev")],
                env=ENVIRON,
                capture_output=True,
                text=True,
                check=False,
            )
            assert again.returncode == 2
            assert "another run uses" in again.stderr
            victim = _pid_of("sink usage", dev.pid)
            os.kill(victim, signal.SIGKILL)
            await_line(log, r"sink-usage ended with -9", dev.alive)
            await_line(log, r"sink-usage started again", dev.alive)
            _until(lambda: _status(ready) == 200, "the sink does not come back")
            children = _descendants(dev.pid)
            assert len(children) >= 9
            os.kill(dev.pid, signal.SIGINT)
            assert dev.popen.wait(60) == 0, process.tail(log, 5)
            _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "a process was left running")
        finally:
            process.stop(dev)


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return 0


def _until(done: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text("ascii").split():
            found += [int(child), *_descendants(int(child))]
    return found


def _pid_of(words: str, ancestor: int) -> int:
    for pid in _descendants(ancestor):
        if words in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
            return pid
    raise AssertionError(f"no child runs {words}")
