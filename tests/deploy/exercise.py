"""`make exercise`: the runbook tried. A part of a running stack is taken away, its alert is seen to fire; what the runbook says is
done, and it is seen to end; at the end nothing is lost. The rules are the committed ones, so it takes as long as they do.

Not here, because their alerts wait for hours: Stripe (HoursWait) and the mail server (MailsWait). A process that hangs as a whole does not
answer Prometheus either: ProcessDown, not WorkerStuck, which is for one whose metrics go on.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from pipeline import kafka, telemetry
from pipeline.stack import components, demonstration, processes, recording, seed, supervisor
from pipeline.stack.components import Components
from pipeline.stack.processes import PROGRAMS
from schemas.settings import load
from tests.dashboards.grafana import run
from tests.deploy.compose import ROOT

FIRES_S, CLEARS_S = 420.0, 240.0


@dataclass(frozen=True)
class Break:
    """What is taken away, the alert that must ring, and what the runbook says to do."""

    what: str
    alert: str
    away: Callable[[], None]
    back: Callable[[], None]


def main() -> int:
    """Run it; 1 where an alert did not come or did not go, or something was lost."""
    with tempfile.TemporaryDirectory(prefix="driftlock-exercise-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        telemetry.configure_logging(load({"LOG_LEVEL": "error"}), "exercise")
        parts = components.start(folder / "stack", "kafka", _say, create_time=["events"])
        watch = supervisor.Supervisor(lambda p: processes.start(p, parts.environ_of(p), parts.logs))
        try:
            return _exercise(folder, parts, watch)
        finally:
            for one in watch.watched:
                _signal(one.child.pid, signal.SIGCONT)
            supervisor.stop(watch)
            components.stop(parts)


def _exercise(folder: Path, parts: Components, watch: supervisor.Supervisor) -> int:
    now = datetime.now(UTC)
    seeded = seed.organization(parts, "Exercise", now)
    supervisor.start(watch, PROGRAMS, time.monotonic())
    lines = list(recording.read(ROOT / "tests" / "recording" / "demo"))
    sent = recording.publish(kafka.producer(load(parts.environ)), lines, str(seeded.organization_id), now.timestamp())
    demonstration.wait(parts, seeded, sent, lambda: _tend(watch), 300)
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(_config(parts)), "utf-8")
    failed = 0
    with run.prometheus(folder / "data", config) as url:
        for one in _breaks(parts, watch):
            one.away()
            took = _await(url, one.alert, watch, fires=True)
            one.back()
            ended = None if took is None else _await(url, one.alert, watch, fires=False)
            failed += took is None or ended is None
            _say(f"{one.what:32} {one.alert:14} rang after {took or '-'} s, ended {ended or '-'} s after it was back")
    again = recording.publish(
        kafka.producer(load(parts.environ)), lines[:2_000], str(seeded.organization_id), time.time()
    )
    outcome = demonstration.wait(parts, seeded, sent + again, lambda: _tend(watch), 300)
    _say(f"events sent {sent + again:,}, accounted for {outcome.events:,}")
    return 1 if failed or outcome.events != sent + again else 0


def _breaks(parts: Components, watch: supervisor.Supervisor) -> list[Break]:
    def pid(name: str) -> int:
        return next(one.child.pid for one in watch.watched if one.program.name == name)

    def restart_worker() -> None:
        """docker compose restart worker."""
        _signal(pid("worker"), signal.SIGKILL)

    return [
        Break("Kafka is killed", "PackerStuck", parts.broker.kill, parts.broker.start),
        Break("PostgreSQL is killed", "SinkStuck", parts.postgres.kill, parts.postgres.start),
        Break("the worker hangs", "ProcessDown", lambda: _signal(pid("worker"), signal.SIGSTOP), restart_worker),
    ]


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _config(parts: Components) -> dict[str, object]:
    jobs = [
        {"job_name": p.name, "static_configs": [{"targets": [f"127.0.0.1:{parts.ports[p.name]}"]}]} for p in PROGRAMS
    ]
    return {
        "global": {"scrape_interval": "5s", "scrape_timeout": "4s", "evaluation_interval": "5s"},
        "rule_files": [str(ROOT / "deploy" / "prometheus" / "rules" / "*.yml")],
        "scrape_configs": jobs,
    }


def _await(url: str, alert: str, watch: supervisor.Supervisor, *, fires: bool) -> int | None:
    began = time.monotonic()
    while (passed := time.monotonic() - began) < (FIRES_S if fires else CLEARS_S):
        _tend(watch)
        found = httpx.get(f"{url}/api/v1/alerts", timeout=30).json()["data"]["alerts"]
        firing = any(one["labels"]["alertname"] == alert and one["state"] == "firing" for one in found)
        if firing is fires:
            return round(passed)
        time.sleep(2)
    return None


def _tend(watch: supervisor.Supervisor) -> None:
    supervisor.check(watch, time.monotonic())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
