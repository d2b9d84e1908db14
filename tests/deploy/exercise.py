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

    now_sent: list[int] = []

    def send() -> None:
        now_sent.append(recording.publish(producer, lines[:2_000], str(seeded.organization_id), time.time()))

    on = Ground(parts, watch, seeded.organization_id, disk, publish, send, _say)
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(_config(parts)), "utf-8")
    failed: set[str] = set()
    with run.prometheus(folder / "data", config) as url:
        _until(lambda: _up(url), watch, 120)
        if "stripe" not in only:
            publish()
        waiting: dict[str, tuple[Break, float]] = {}
        for together in breaks.rounds(on):
            chosen = [one for one in together if one.name in only]
            failed |= _round(on, url, chosen)
            waiting |= {one.name: (one, time.monotonic()) for one in chosen}
            failed |= _ended(on, url, waiting, long=False)
        failed |= _ended(on, url, waiting, long=True)
    send()
    sent = len(lines) + sum(now_sent)
    outcome = demonstration.wait(parts, seeded, sent, lambda: _tend(watch), 300)
    _say(
        f"events sent {sent:,}, accounted for {outcome.events:,}; steps that failed: {', '.join(sorted(failed)) or 'none'}"
    )
    return 1 if failed or outcome.events != sent else 0


def _round(on: Ground, url: str, together: list[Break]) -> set[str]:
    """Take some away, see all of them ring, bring all of them back; the names of those that did not ring, or not as is said."""
    failed: set[str] = set()
    began = {}
    for one in together:
        _say(f"{one.name}: {one.what}")
        began[one.name] = time.monotonic()
        failed |= _done(one, one.away)
    for one in together:
        rang = _await(url, one.alert, on.watch, began[one.name] + one.rings_s, fires=True)
        took = round(time.monotonic() - began[one.name])
        _say(f"{one.name}: {one.alert} {f'rang after {took} s' if rang else 'did not ring'}")
        failed |= set() if rang else {one.name}
    for one in together:
        _say(f"{one.name}: the runbook: {one.runbook}")
        failed |= _done(one, one.back)
    return failed


def _ended(on: Ground, url: str, waiting: dict[str, tuple[Break, float]], *, long: bool) -> set[str]:
    """See the alerts end of what was brought back, those that take `long` or the others; the names of those that did not."""
    failed: set[str] = set()
    for name, (one, back) in list(waiting.items()):
        if (one.ends_s > breaks.ENDS_S) is long:
            ended = _await(url, one.alert, on.watch, back + one.ends_s, fires=False)
            took = round(time.monotonic() - back)
            _say(f"{name}: {one.alert} {f'was over {took} s after that' if ended else 'did not end'}")
            failed |= set() if ended else {name}
            del waiting[name]
    return failed


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


def _await(url: str, alert: str, watch: supervisor.Supervisor, until: float, *, fires: bool) -> bool:
    """Whether the alert fires (or no longer does) before `until`, of time.monotonic()."""

    def so() -> bool:
        found = httpx.get(f"{url}/api/v1/alerts", timeout=30).json()["data"]["alerts"]
        return any(one["labels"]["alertname"] == alert and one["state"] == "firing" for one in found) is fires

    return _until(so, watch, until - time.monotonic())


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
