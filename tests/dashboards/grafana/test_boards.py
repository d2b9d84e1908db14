"""The dashboards: sound JSON, every query understood and answered. The series are made from the list of metrics; a real stack is
scraped by `make dashboards-check` (check.py)."""

import itertools
import json
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import yaml

from dashboards.grafana import render
from dashboards.grafana.panels import Board
from pipeline.embedded import deployment
from schemas.metrics import METRICS, Metric
from tests.dashboards.grafana import run
from tests.deploy.compose import ROOT
from tests.stack.fixtures import Fresh
from tests.stack.providers import needed

BOARDS = {board.uid: board for board in render.BOARDS}
VALUES = {
    "bits": ("7", "10", "13"),
    "outcome": ("scored", "duplicate", "dead_letter"),
    "status": ("200", "503"),
    "severity": ("low", "critical"),
}
STANDARD = (
    Metric("process_resident_memory_bytes", "gauge", "", "", ""),
    Metric("process_cpu_seconds_total", "counter", "", "", ""),
    Metric("process_open_fds", "gauge", "", "", ""),
    Metric("python_gc_collections_total", "counter", "", "", "", ("generation",)),
    Metric("up", "gauge", "", "", ""),
)
MINUTES = 20


def test_each_board_has_its_own_names_and_fits_its_width() -> None:
    assert len(BOARDS) == len(render.BOARDS) == 6
    for one in render.BOARDS:
        made = render.board(one)
        assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
        assert len({panel.title for panel in one.panels}) == len(one.panels)
        for panel, other in itertools.combinations(made["panels"], 2):
            assert not _overlap(panel["gridPos"], other["gridPos"])
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in made["panels"])
        assert all(
            len(panel["targets"]) == len(given.queries) for panel, given in zip(made["panels"], one.panels, strict=True)
        )


def _overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    across = a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"]
    return across and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def test_every_metric_is_on_a_dashboard_or_behind_an_alert() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "rules" / "driftlock.yml").read_text("utf-8")
    text = rules + json.dumps([render.board(one) for one in render.BOARDS])
    assert [metric.name for metric in METRICS if metric.name not in text] == []


def test_what_compose_provisions_is_what_the_panels_ask() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "driftlock.yml").read_text("utf-8"))["datasources"]
    asked = {
        (p["datasource"]["type"], p["datasource"]["uid"]) for one in render.BOARDS for p in render.board(one)["panels"]
    }
    assert {(source["type"], source["uid"]) for source in sources} == asked
    assert next(source for source in sources if source["uid"] == "postgres")["user"] == "driftlock_reader"
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    place = yaml.safe_load((folder / "dashboards" / "driftlock.yml").read_text("utf-8"))["providers"][0]["options"][
        "path"
    ]
    assert f"./{render.FOLDER}:{place}:ro" in compose


def _lines(metric: Metric, job: str, end: int) -> list[str]:
    """OpenMetrics of one metric: a sample each 15 s, each label with some of its values."""
    kind = "gauge" if metric.kind == "gauge" else "counter"
    lines = [f"# TYPE {metric.name.removesuffix('_total')} {'histogram' if metric.kind == 'histogram' else kind}"]
    choices = [VALUES.get(label, ("one",)) for label in metric.labels]
    for given in itertools.product(*choices):
        labels = [f'{label}="{value}"' for label, value in zip(metric.labels, given, strict=True)] + [f'job="{job}"']
        samples: list[tuple[str, list[str], float]] = [(metric.name, labels, 7.0)]
        if metric.kind == "histogram":
            edges = [*map(str, metric.buckets), "+Inf"]
            samples = [(f"{metric.name}_bucket", [*labels, f'le="{edge}"'], 5.0 + i) for i, edge in enumerate(edges)]
            samples += [(f"{metric.name}_count", labels, 5.0 + len(edges) - 1), (f"{metric.name}_sum", labels, 3.0)]
        for name, shown, step in samples:
            for i in range(MINUTES * 4):
                at = end - 15 * (MINUTES * 4 - i)
                value = at - 3 if "timestamp" in name else step * (i + 1) if metric.kind != "gauge" else step
                lines.append(f"{name}{{{','.join(shown)}}} {value} {at}")
    return lines


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, run.Range]]:
    folder = tmp_path_factory.mktemp("prometheus")
    end = int(time.time()) // 15 * 15
    lines = [line for metric in METRICS for line in _lines(metric, "api", end)]
    lines += [line for metric in STANDARD for line in _lines(metric, "api", end)]
    alert = Metric("ALERTS", "gauge", "", "", "", ("alertname", "alertstate", "severity"))
    recorded = [
        Metric(name, "gauge", "", "", "")
        for name in set(re.findall(r"slo:\w+:\w+", json.dumps(render.board(BOARDS["driftlock-slo"]))))
    ]
    lines += [line for metric in (alert, *recorded) for line in _lines(metric, "slo", end)]
    text = folder / "all.om"
    text.write_text("\n".join([*lines, "# EOF", ""]), "utf-8")
    promtool = needed(deployment.prometheus) / "promtool"
    made = [str(promtool), "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")]
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n", "utf-8")
    with run.prometheus(folder / "data", config) as url:
        yield url, run.Range(end - 60 * MINUTES, end - 15, 60)


@pytest.mark.parametrize("board", [b for b in render.BOARDS if run.by_source(b, "prometheus")], ids=lambda b: b.uid)
def test_every_query_of_prometheus_is_answered(server: tuple[str, run.Range], board: Board) -> None:
    url, shown = server
    for panel in run.by_source(board, "prometheus"):
        for query, series in zip(panel.queries, run.promql(url, panel, shown), strict=True):
            assert series, f"{board.uid}: {panel.title}: {query.text}"
            assert "{{" not in "".join(legend for legend, _ in series)


def _seed(connection: psycopg.Connection[Any], organization_id: UUID, now: datetime) -> None:
    connection.execute(
        "INSERT INTO organizations (id, name, created_at) VALUES (%s, %s, %s)", (organization_id, "One", now)
    )
    connection.execute(
        "INSERT INTO anomalies SELECT %s, %s, gen_random_uuid(), 1, 'web', 'text', 'template', 'high', %s, 3, true, true, 1, false,"
        " 1000, 1, '{}', '{\"sentence\": \"why\"}', '{}', gen_random_uuid(), 't', 0, 0, 0, '2'",
        (organization_id, now, now),
    )
    connection.execute(
        "INSERT INTO usage_counters (organization_id, period_start, day, billable, scored_events) VALUES (%s, %s, %s, 3, 100)",
        (organization_id, now, now.date()),
    )
    connection.execute(
        "INSERT INTO billing_periods (organization_id, starts_at, ends_at, plan, plan_version)"
        " SELECT %s, %s, %s + interval '30 days', plan, version FROM plan_versions LIMIT 1",
        (organization_id, now, now),
    )


def test_every_query_of_postgresql_shows_one_organization_and_nothing_without_one(database: Fresh) -> None:
    now = datetime.now(UTC)
    ours, theirs = uuid4(), uuid4()
    with psycopg.connect(database.url(), autocommit=True) as connection:
        for organization_id in (ours, theirs):
            _seed(connection, organization_id, now)
    shown = run.Range(now.timestamp() - 3600, now.timestamp() + 3600, 60)
    reader = database.url("driftlock_reader")
    for panel in run.by_source(BOARDS["driftlock-tenant"], "postgres"):
        rows = run.sql(reader, panel, shown, ours)
        assert rows or panel.title == "Ledger", panel.title
        assert len(rows) <= 1, f"{panel.title} shows another's rows: {rows}"
        assert run.sql(reader, panel, shown, None) == []
