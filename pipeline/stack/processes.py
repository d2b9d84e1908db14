"""The list of our processes, in the order in which they are started. Compose and Helm run the same ones."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.embedded import process
from pipeline.embedded.process import Child
from schemas.settings import SECRETS


@dataclass(frozen=True)
class Program:
    """One of our processes: its name, the words after `driftlock`, and the secrets that it needs: it is given no others."""

    name: str
    words: tuple[str, ...]
    secrets: tuple[str, ...] = ()


_PAGES = ("DATABASE_URL_API", "DATABASE_URL_ACCOUNTS", "ACCESS_TOKEN_KEY", "ALERTS_SECRET_KEY", "STRIPE_API_KEY")

PACKER = Program("packer", ("packer",))
WORKER = Program("worker", ("worker",))
SINK_ANOMALIES = Program("sink-anomalies", ("sink", "anomalies"), ("DATABASE_URL_SINK",))
SINK_USAGE = Program("sink-usage", ("sink", "usage"), ("DATABASE_URL_SINK",))
METER = Program("meter", ("meter", "run"), ("DATABASE_URL_METER", "STRIPE_API_KEY"))
WEBHOOKS = Program("webhooks", ("webhooks", "run"), ("DATABASE_URL_WEBHOOK", "STRIPE_API_KEY"))
API = Program("api", ("api", "run"), (*_PAGES, "STRIPE_WEBHOOK_SECRETS"))
CONSOLE = Program("console", ("console", "run"), _PAGES)  # of the layer above: found by its entry point
CONTROL = Program("control", ("control", "run"), ("DATABASE_URL_CONTROL",))
JOBS = Program("jobs", ("jobs", "run"), ("DATABASE_URL_JOBS",))
ALERTS = Program(
    "alerts", ("alerts", "run"), ("DATABASE_URL_ALERTS", "ALERTS_SECRET_KEY", "SMTP_PASSWORD", "RESEND_API_KEY")
)

PROGRAMS = (SINK_ANOMALIES, SINK_USAGE, WORKER, PACKER, METER, WEBHOOKS, ALERTS, API, CONTROL, JOBS, CONSOLE)
KAFKA_SECRETS = ("KAFKA_SASL_PASSWORD",)
"""What every process may have."""


def own(program: Program, environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without the secrets of other processes."""
    kept = {*program.secrets, *KAFKA_SECRETS}
    others = {
        name for secret in SECRETS for name in (secret.upper(), f"{secret.upper()}_FILE") if secret.upper() not in kept
    }
    return {name: value for name, value in environ.items() if name not in others}


def start(program: Program, environ: Mapping[str, str], logs: Path) -> Child:
    """Start a program with exactly these settings; its output is appended to `<logs>/<name>.log`."""
    argv = [sys.executable, "-m", "pipeline.cli", *program.words]
    return process.start(program.name, argv, log=logs / f"{program.name}.log", env=environ)
