"""`make dashboards-check`: every panel's every query on a Prometheus that scraped a real running stack, and on its PostgreSQL as the
reader; a line a panel with the number of series, and a picture of each dashboard. Exit code 1 where a query returns nothing.
"""

import json
import math
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from dashboards.grafana import render
from dashboards.grafana.panels import Board
from pipeline import kafka, telemetry
from pipeline.embedded.ports import free_ports
from pipeline.stack import components, demonstration, processes, recording, seed, supervisor
from pipeline.stack.components import Components
from pipeline.stack.processes import ALERTS, PROGRAMS, Program
from pipeline.stack.seed import Seeded
from schemas.metrics import MOST_VALUES
from schemas.settings import load
from schemas.topics import EVENTS, ORGANIZATION_HEADER
from tests.dashboards.grafana import run
from tests.deploy.compose import ROOT

RECORDING = ROOT / "tests" / "recording" / "demo"
PICTURES = ROOT / ".driftlock" / "dashboards"
SCRAPES_S = 40.0
"""As long as rates need at 15 s, and rules with windows of 5 minutes to have a value."""


def main() -> int:
    """Run it."""
    with tempfile.TemporaryDirectory(prefix="driftlock-dashboards-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        telemetry.configure_logging(load({"LOG_LEVEL": "error"}), "dashboards-check")
        parts = components.start(folder / "stack", "kafka", _say, create_time=["events"])
        watch = supervisor.Supervisor(lambda p: processes.start(p, _environ(parts, p), parts.logs))
        try:
            return _checked(parts, watch, folder)
        finally:
            supervisor.stop(watch)
            components.stop(parts)


def _checked(parts: Components, watch: supervisor.Supervisor, folder: Path) -> int:
    supervisor.start(watch, PROGRAMS, time.monotonic())
    parts.ports[ALERTS.name] = free_ports(1)[0]
    supervisor.start(watch, [ALERTS], time.monotonic())
    began = time.time()
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(_config(parts)), "utf-8")
    with run.prometheus(folder / "data", config) as url:
        seeded = seed.organization(parts, "Dashboards", datetime.now(UTC))
        _traffic(parts, watch, seeded)
        end = time.time() + SCRAPES_S
        while time.time() < end:
            _ask(parts)
            _tend(watch)
            time.sleep(0.5)
        shown = run.Range(began, time.time(), 15)
        lacking = _report(parts, url, shown, seeded)
        lacking += _labels(url)
    for line in lacking:
        _say(f"NOT AS IT MUST BE: {line}")
    return 1 if lacking else 0


def _environ(parts: Components, program: Program) -> dict[str, str]:
    mail = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": "9", "SMTP_SECURITY": "none"}
    return parts.environ_of(program) | (mail if program is ALERTS else {})


def _config(parts: Components) -> dict[str, Any]:
    jobs = [
        {"job_name": p.name, "static_configs": [{"targets": [f"127.0.0.1:{parts.ports[p.name]}"]}]} for p in PROGRAMS
    ]
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "deploy" / "prometheus" / "rules" / "*.yml")],
        "scrape_configs": jobs,
    }


def _traffic(parts: Components, watch: supervisor.Supervisor, seeded: Seeded) -> None:
    """The recording, then what is refused, then a whole day's total at Stripe."""
    lines = list(recording.read(RECORDING))
    producer = kafka.producer(load(parts.environ))
    sent = recording.publish(producer, lines, str(seeded.organization_id), time.time())
    for body in (b'{"not": json', b"\xff\xfe", b"x" * 70_000):
        headers: list[tuple[str, str | bytes | None]] = [(ORGANIZATION_HEADER, str(seeded.organization_id).encode())]
        producer.produce(EVENTS.name, body, headers=[*headers, ("content-type", b"application/json")])
    producer.flush(30)
    _ask(parts)
    demonstration.wait(parts, seeded, sent, lambda: _tend(watch), 240)
    seed.move_stripes_clock(parts, datetime.now(UTC) + timedelta(seconds=1))


def _tend(watch: supervisor.Supervisor) -> None:
    for line in supervisor.check(watch, time.monotonic()):
        _say(line)


def _ask(parts: Components) -> None:
    api, console = (f"http://127.0.0.1:{parts.ports[name]}" for name in ("api", "console"))
    for url in (f"{api}/healthz", f"{api}/v1/anomalies", f"{api}/nowhere", f"{console}/login", f"{console}/healthz"):
        _get(url)
    try:
        httpx.post(f"{api}/webhooks/stripe", content=b"{}", headers={"Stripe-Signature": "t=1,v1=00"}, timeout=10)
    except httpx.TransportError:
        return


def _get(url: str) -> None:
    try:
        httpx.get(url, timeout=10)
    except httpx.TransportError:
        return


def _report(parts: Components, url: str, shown: run.Range, seeded: Seeded) -> list[str]:
    lacking = []
    reader = parts.environ["DATABASE_URL_READER"]
    earlier = run.Range(shown.start - 3600, shown.end, shown.rate_s)  # what was recorded lies before the stack's start
    for board in render.BOARDS:
        _say(f"\n{board.title}")
        drawn: list[tuple[str, run.Points]] = []
        for panel in board.panels:
            if panel.source == "postgres":
                rows = run.sql(reader, panel, earlier, seeded.organization_id)
                counts = [len(rows)]
                drawn.append((panel.title, _series(rows)))
            else:
                found = run.promql(url, panel, shown)
                counts = [sum(_has_number(points) for _, points in series) for series in found]
                drawn.append((panel.title, [one for series in found for one in series]))
            _say(f"  {panel.title:60} {panel.source:10} {' + '.join(map(str, counts))}")
            lacking += [f"{board.title}, {panel.title}, query {i + 1}: nothing" for i, n in enumerate(counts) if not n]
        _draw(board, drawn)
    return lacking


def _has_number(points: list[tuple[float, float]]) -> bool:
    return any(not math.isnan(value) for _, value in points)


def _series(rows: list[dict[str, Any]]) -> run.Points:
    """The numeric columns of rows, in their order."""
    names = [name for name, value in (rows[0].items() if rows else ()) if isinstance(value, int)]
    return [(name, [(float(i), float(row[name] or 0)) for i, row in enumerate(rows)]) for name in names]


def _labels(url: str) -> list[str]:
    """Labels with more values than are bounded, partitions apart."""
    said = []
    for label in httpx.get(f"{url}/api/v1/labels", timeout=30).json()["data"]:
        values = httpx.get(f"{url}/api/v1/label/{label}/values", timeout=30).json()["data"]
        if len(values) > MOST_VALUES and label not in {"__name__", "le", "partition"}:
            said.append(f"the label {label} has {len(values)} values")
    return said


def _draw(board: Board, drawn: list[tuple[str, run.Points]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = 3
    rows = -(-len(drawn) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(18, 3.2 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, (title, series) in zip(axes.flat, drawn, strict=False):
        axis.set_visible(True)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
        if all(len(points) == 1 for _, points in series):
            axis.barh([name or "value" for name, _ in series], [points[0][1] for _, points in series])
            continue
        for name, points in series[:12]:
            axis.plot(
                [at - points[0][0] for at, _ in points], [value for _, value in points], label=name or None, linewidth=1
            )
        if any(name for name, _ in series[:12]):
            axis.legend(fontsize=6)
    figure.suptitle(board.title)
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURES / f"{board.uid.removeprefix('driftlock-')}.png", dpi=70)
    plt.close(figure)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
