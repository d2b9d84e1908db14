"""Each alert fires when it must and not near by, judged by promtool; each names only metrics that there are."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.alerts import render
from dashboards.alerts.slo import BURNING, LEVELS
from pipeline.cli import main
from pipeline.embedded import deployment
from pipeline.stack.processes import PROGRAMS
from schemas.metrics import BY_NAME
from tests.dashboards.alerts.cases import CASES, Case, Series
from tests.deploy.compose import ROOT
from tests.stack.providers import needed

ALERTS = {alert.name: alert for group in render.groups().values() for alert in group}
RULES = ROOT / render.RULES
STANDARD = {"up", "process_start_time_seconds", "process_open_fds", "process_max_fds"}


def promtool(*words: str) -> str:
    program = needed(deployment.prometheus) / "promtool"
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def one(name: str, series: Series, case: Case, fires: bool) -> dict[str, Any]:
    said = f'(count(ALERTS{{alertname="{name}",alertstate="firing",severity="{ALERTS[name].severity}"}}) > bool 0)'
    return {
        "name": f"{name} {'fires' if fires else 'is quiet'}",
        "interval": f"{case.every}m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"{said} or vector(0)",
                "eval_time": f"{case.minutes}m",
                "exp_samples": [{"labels": "{}", "value": int(fires)}],
            }
        ],
    }


def test_each_alert_has_its_cases() -> None:
    assert set(CASES) == set(ALERTS)
    assert len(ALERTS) == sum(map(len, render.groups().values()))


@pytest.mark.parametrize("every", sorted({case.every for case in CASES.values()}))
def test_each_fires_when_it_must_and_not_near_by(every: int, tmp_path: Path) -> None:
    tests = []
    for name, case in CASES.items():
        if case.every == every:
            tests += [one(name, case.fires, case, fires=True), one(name, case.quiet, case, fires=False)]
    file = tmp_path / "tests.yml"
    said = {"rule_files": [str(RULES)], "evaluation_interval": f"{every}m", "tests": tests}
    file.write_text(json.dumps(said), "utf-8")
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_promtool_accepts_what_compose_mounts() -> None:
    assert "SUCCESS" in promtool("check", "config", str(ROOT / "deploy" / "prometheus" / "prometheus.yml"))


def test_every_process_is_scraped_at_its_own_port() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))
    found = {}
    for job in config["scrape_configs"]:
        for static in job.get("static_configs", []):
            found[job["job_name"]] = static["targets"]
        for asked in job.get("dns_sd_configs", []):
            found[job["job_name"]] = [f"{name}:{asked['port']}" for name in asked["names"]]
    ports = {"api": 8080, "console": 3000}
    assert found == {p.name: [f"{p.name}:{ports.get(p.name, 9100)}"] for p in PROGRAMS}


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_asks_only_for_what_is_counted_and_links_to_its_heading(name: str) -> None:
    alert = ALERTS[name]
    recorded = {level.recorded(window) for level in LEVELS for window in ("5m", "30m", "1h", "6h", "3d")}
    asked = set(re.findall(r"\b(?:driftlock|process|slo)[a-z_:0-9]*\b|\bup\b", alert.expr)) - recorded
    for metric in asked - STANDARD:
        base = re.sub(r"_(bucket|count|sum)$", "", metric)
        assert BY_NAME.get(metric) or BY_NAME[base].kind == "histogram"
    assert asked or name in {alert.name for alert in BURNING}
    rules = yaml.safe_load(RULES.read_text("utf-8"))
    rule = next(r for group in rules["groups"] for r in group["rules"] if r.get("alert") == name)
    assert rule["annotations"]["runbook_url"] == f"{render.PAGE}#{name.lower()}"
    assert f"\n### {name}\n" in (ROOT / "deploy" / "alerts.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_the_commands_of_ours_that_an_alert_names_are_there(name: str) -> None:
    for words in re.findall(r"`driftlock ([a-z -]+)", ALERTS[name].do):
        command = words.split(" -")[0].split()
        found = main.app
        for word in command:
            found = found[word]  # KeyError: there is no such command
