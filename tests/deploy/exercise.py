"""`make exercise`: the runbook tried. Parts of a running stack are taken away, their alerts are seen to fire; what the runbook says is
done, and they are seen to end; at the end nothing is lost. The rules are the committed ones, so it takes as long as they do.

Only ages are made: the recording is published, and a mail is written, as if they came hours ago (`breaks.AWAY_BEFORE`). A process that
hangs as a whole does not answer Prometheus either: ProcessDown, not WorkerStuck, which is for one whose metrics go on.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx

from pipeline import kafka, telemetry
from pipeline.embedded.ports import LOOPBACK, free_ports
from pipeline.stack import components, demonstration, processes, recording, seed, supervisor
from pipeline.stack.components import Components
from pipeline.stack.processes import PROGRAMS
from schemas.settings import load
from tests.dashboards.grafana import run
from tests.deploy import breaks
from tests.deploy.breaks import Break, Ground, NotAsSaidError
from tests.deploy.compose import ROOT

CLEARS_S = 240.0


def main(words: Sequence[str]) -> int:
    """Run it; 1 where an alert did not come or did not go, or something was lost; 2 where this machine can't."""
    parser = argparse.ArgumentParser(prog="make exercise", description="the runbook tried on a running stack")
    parser.add_argument("--only", nargs="*", choices=breaks.names(), default=breaks.names(), help="these alone")
    only = parser.parse_args(words).only
    if "disk" in only and os.geteuid() != 0:
        _say(
            "the step `disk` mounts a small file system, as root only: run as root, or ONLY='stripe smtp kafka postgres worker'"
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="driftlock-exercise-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        telemetry.configure_logging(load({"LOG_LEVEL": "error"}), "exercise")
        if "disk" not in only:
            return _on_a_stack(folder, folder / "disk", only)
        with breaks.small_disk(folder / "disk") as disk:
            return _on_a_stack(folder, disk, only)


def _on_a_stack(folder: Path, disk: Path, only: Sequence[str]) -> int:
    parts = components.start(folder / "stack", "kafka", _say, create_time=["events"])
    parts.environ["WORKER_DATA_DIR"] = str(disk / "worker")
    mails = {"SMTP_HOST": LOOPBACK, "SMTP_PORT": str(free_ports(1)[0]), "SMTP_SECURITY": "none"}
    parts.environ.update(mails)
    watch = supervisor.Supervisor(lambda p: processes.start(p, parts.environ_of(p), parts.logs))
    try:
        return _exercise(folder, parts, watch, disk, only)
    finally:
        for one in watch.watched:
            if one.child.alive():
                os.kill(one.child.pid, signal.SIGCONT)
        supervisor.stop(watch)
        components.stop(parts)


def _exercise(folder: Path, parts: Components, watch: supervisor.Supervisor, disk: Path, only: Sequence[str]) -> int:
    seeded = seed.organization(parts, "Exercise", datetime.now(UTC))
    supervisor.start(watch, PROGRAMS, time.monotonic())
    lines = list(recording.read(ROOT / "tests" / "recording" / "demo"))
    producer = kafka.producer(load(parts.environ))

    def publish() -> None:
        old = datetime.now(UTC) - breaks.AWAY_BEFORE
        recording.publish(producer, lines, str(seeded.organization_id), old.timestamp())
        demonstration.wait(parts, seeded, len(lines), lambda: _tend(watch), 300)

    on = Ground(parts, watch, seeded.organization_id, disk, publish, _say)
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(_config(parts)), "utf-8")
    failed = 0
    with run.prometheus(folder / "data", config) as url:
        _until(lambda: _up(url), watch, 120)
        if "stripe" not in only:
            publish()
        for together in breaks.rounds(on):
            failed += _round(on, url, [one for one in together if one.name in only])
    sent = len(lines) + recording.publish(producer, lines[:2_000], str(seeded.organization_id), time.time())
    outcome = demonstration.wait(parts, seeded, sent, lambda: _tend(watch), 300)
    _say(f"events sent {sent:,}, accounted for {outcome.events:,}; steps that failed: {failed}")
    return 1 if failed or outcome.events != sent else 0


def _round(on: Ground, url: str, together: list[Break]) -> int:
    """Take some away, see all of them ring, bring all of them back, see all of them end; how many did not."""
    failed: set[str] = set()
    for one in together:
        _say(f"{one.name}: {one.what}")
        failed |= _done(one, one.away)
    for one in together:
        took = _await(url, one.alert, on.watch, one.rings_s, fires=True)
        _say(f"{one.name}: {one.alert} {'did not ring' if took is None else f'rang after {took} s'}")
        failed |= {one.name} if took is None else set()
    for one in together:
        _say(f"{one.name}: the runbook: {one.runbook}")
        failed |= _done(one, one.back)
    for one in together:
        took = _await(url, one.alert, on.watch, CLEARS_S, fires=False)
        _say(f"{one.name}: {one.alert} {'did not end' if took is None else f'ended {took} s after that'}")
        failed |= {one.name} if took is None else set()
    return len(failed)


def _done(one: Break, step: Callable[[], None]) -> set[str]:
    try:
        step()
    except NotAsSaidError as error:
        _say(f"{one.name}: NOT AS IT MUST BE: {error}")
        return {one.name}
    return set()


def _config(parts: Components) -> dict[str, object]:
    jobs = [
        {"job_name": p.name, "static_configs": [{"targets": [f"{LOOPBACK}:{parts.ports[p.name]}"]}]} for p in PROGRAMS
    ]
    return {
        "global": {"scrape_interval": "5s", "scrape_timeout": "4s", "evaluation_interval": "5s"},
        "rule_files": [str(ROOT / "deploy" / "prometheus" / "rules" / "*.yml")],
        "scrape_configs": jobs,
    }


def _up(url: str) -> bool:
    found = httpx.get(f"{url}/api/v1/query", params={"query": "sum(up)"}, timeout=30).json()["data"]["result"]
    return bool(found) and int(found[0]["value"][1]) == len(PROGRAMS)


def _await(url: str, alert: str, watch: supervisor.Supervisor, patience_s: float, *, fires: bool) -> int | None:
    began = time.monotonic()

    def so() -> bool:
        found = httpx.get(f"{url}/api/v1/alerts", timeout=30).json()["data"]["alerts"]
        return any(one["labels"]["alertname"] == alert and one["state"] == "firing" for one in found) is fires

    return round(time.monotonic() - began) if _until(so, watch, patience_s) else None


def _until(so: Callable[[], bool], watch: supervisor.Supervisor, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        _tend(watch)
        if so():
            return True
        time.sleep(2)
    return False


def _tend(watch: supervisor.Supervisor) -> None:
    supervisor.check(watch, time.monotonic())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
