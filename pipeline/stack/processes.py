"""The list of our processes, in the order in which they are started."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.embedded import process
from pipeline.embedded.process import Child


@dataclass(frozen=True)
class Program:
    """One of our processes: its name, and the words after `driftlock`."""

    name: str
    words: tuple[str, ...]


PACKER = Program("packer", ("packer",))
WORKER = Program("worker", ("worker",))
SINK_ANOMALIES = Program("sink-anomalies", ("sink", "anomalies"))
SINK_USAGE = Program("sink-usage", ("sink", "usage"))
METER = Program("meter", ("meter", "run"))
WEBHOOKS = Program("webhooks", ("webhooks", "run"))
ALERTS = Program("alerts", ("alerts", "run"))
API = Program("api", ("api", "run"))
CONSOLE = Program("console", ("console", "run"))  # of the layer above: a command like others, found by its entry point

PROGRAMS = (SINK_ANOMALIES, SINK_USAGE, WORKER, PACKER, METER, WEBHOOKS, ALERTS, API, CONSOLE)


def start(program: Program, environ: Mapping[str, str], logs: Path) -> Child:
    """Start a program with exactly these settings; its output is appended to `<logs>/<name>.log`."""
    argv = [sys.executable, "-m", "pipeline.cli", *program.words]
    return process.start(program.name, argv, log=logs / f"{program.name}.log", env=environ)
