"""What is not as it must be ends in one clear line and exit code 2, never a traceback: every process, every cause."""

import os
import subprocess
import sys

import pytest

from pipeline.embedded.broker import Broker
from pipeline.embedded.ports import free_ports
from tests.stack.database import Database

PROCESSES = (["worker"], ["packer"], ["sink", "anomalies"], ["sink", "usage"], ["api", "run"])
BASE = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "DRIFTLOCK_CACHE") if name in os.environ}


def refused(words: list[str], environ: dict[str, str]) -> str:
    """The one line of a command that must end with 2."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        env=BASE | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("driftlock: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return lines[0]


def somewhere_silent() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.mark.parametrize("words", [*PROCESSES, ["meter", "run"], ["topics", "apply"], ["db", "migrate"]], ids=" ".join)
def test_wrong_settings_are_all_told_in_one_line(words: list[str]) -> None:
    said = refused(words, {"PORT": "eighty", "SENSITIVITY": "7"})
    assert "PORT" in said
    assert "SENSITIVITY" in said


@pytest.mark.parametrize("words", [*PROCESSES, ["topics", "apply"]], ids=" ".join)
def test_a_broker_that_does_not_answer(words: list[str]) -> None:
    silent = somewhere_silent()
    unused = f"postgresql://x:x@{silent}/x"
    said = refused(words, {"KAFKA_BROKERS": silent, "DATABASE_URL_SINK": unused, "DATABASE_URL_API": unused})
    assert silent in said
    assert "KAFKA_BROKERS" in said


@pytest.mark.parametrize("words", [["worker"], ["packer"], ["sink", "anomalies"], ["sink", "usage"]], ids=" ".join)
def test_a_missing_topic(words: list[str], own_broker: Broker, database: Database) -> None:
    said = refused(words, {"KAFKA_BROKERS": own_broker.bootstrap, **database.environ()})
    assert "missing" in said
    assert "driftlock topics apply" in said


@pytest.mark.parametrize("words", [["api", "run"], ["db", "migrate"]], ids=" ".join)
def test_a_database_that_does_not_answer(words: list[str], broker: Broker) -> None:
    silent = f"postgresql://driftlock_api:x@{somewhere_silent()}/x"
    said = refused(words, {"KAFKA_BROKERS": broker.bootstrap, "DATABASE_URL": silent, "DATABASE_URL_API": silent})
    assert "PostgreSQL does not answer" in said


@pytest.mark.parametrize(
    "words", [["meter", "run"], ["meter", "run", "--once"], ["stripe", "sync-prices"]], ids=" ".join
)
def test_a_live_key_without_the_setting(words: list[str], database: Database) -> None:
    key = "rk_live_" + "x" * 12
    said = refused(words, {"STRIPE_API_KEY": key, **database.environ()})
    assert "live" in said.lower()
    assert key not in said


@pytest.mark.parametrize(
    ("setting", "value"), [("ACCESS_TOKEN_KEY", ""), ("ACCESS_TOKEN_KEY", "short"), ("CORS_ORIGINS", "*")]
)
def test_an_api_that_would_not_be_safe_does_not_start(
    setting: str, value: str, broker: Broker, database: Database
) -> None:
    environ = {"KAFKA_BROKERS": broker.bootstrap, "ACCESS_TOKEN_KEY": "k" * 32, **database.environ(), setting: value}
    assert setting in refused(["api", "run"], environ)
