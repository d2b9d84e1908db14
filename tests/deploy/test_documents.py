"""What the documents of deploy/ say: every command of ours is there with its options, every file, alert and test they name exists."""

import re
from pathlib import Path

import pytest
from cyclopts import App

from dashboards.alerts import render
from pipeline.cli.main import app
from tests.deploy.compose import ROOT

DOCUMENTS = ("README.md", "runbook.md", "alerts.md", "backup/README.md")
ALERTS = {alert.name for group in render.groups().values() for alert in group}


def text(name: str) -> str:
    path = ROOT / "deploy" / name
    return path.read_text("utf-8") if path.exists() else ""


def commands() -> set[str]:
    found = set()
    for name in DOCUMENTS:
        found |= {c.strip() for c in re.findall(r"`driftlock ([a-z][^`]*)`", text(name)) if "..." not in c}
    return found


@pytest.mark.parametrize("command", sorted(commands()))
def test_a_command_is_there_with_its_options(command: str) -> None:
    at: App = app
    words = command.split()
    while words and not words[0].startswith("-") and words[0] in set(at):
        at = at[words.pop(0)]
    assert at is not app
    assert at.default_command is not None, f"{command}: not a whole command"
    options = {name for argument in at.assemble_argument_collection() for name in argument.names}
    assert {word for word in words if word.startswith("--")} <= options


def test_alerts_that_are_named_are_there() -> None:
    for line in text("runbook.md").splitlines():
        for name in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", line):
            assert name in ALERTS or name in {"DriftLock", "PostgreSQL"}, name


@pytest.mark.parametrize("name", ["README.md", "runbook.md"])
def test_files_that_are_named_are_there(name: str) -> None:
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.md)`", text(name)):
        places = (ROOT / "deploy" / path, ROOT / path)
        tests = list((ROOT / "tests").rglob(Path(path).name))
        assert any(p.exists() for p in places) or tests or path.startswith(("otel/", "backup/")), path


def test_the_readme_is_what_compose_opens() -> None:
    said = text("README.md")
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    for port in re.findall(r'"127\.0\.0\.1:(\d+):', compose):
        assert port in said
