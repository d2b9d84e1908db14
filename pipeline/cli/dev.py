"""`driftlock dev`: the whole product on this machine, until Ctrl-C."""

import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.live import Live

from pipeline import telemetry
from pipeline.stack import components, processes, seed, status, supervisor, workspace
from schemas.settings import load


def dev(*, folder: Path = Path(".driftlock/dev"), broker: Literal["auto", "kafka", "tansu"] = "auto") -> None:
    """Run broker, PostgreSQL, a fake Stripe and every process of ours until Ctrl-C. Each start is a fresh one.

    Parameters
    ----------
    folder
        Where data and logs lie; emptied at the start.
    broker
        Which broker: Apache Kafka where Java and Maven are there, else Tansu, which is not durable.
    """
    console = Console(stderr=True)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    console.print("starting broker, PostgreSQL and Stripe (fake) ...")
    lock = workspace.claim(folder.absolute())
    telemetry.configure_logging(load({"LOG_LEVEL": "error"}), "dev")
    parts = components.start(folder.absolute(), broker, console.print)
    watch = supervisor.Supervisor(lambda program: processes.start(program, parts.environ_of(program), parts.logs))
    try:
        seeded = seed.organization(parts, "Development", datetime.now(UTC)).organization_id
        environ = parts.folder / "environ"
        environ.touch(mode=0o600)
        environ.write_text("".join(f"export {name}='{value}'\n" for name, value in sorted(parts.environ.items())))
        console.print(f"organization {seeded}; settings for other shells: `. {environ}`")
        console.print(f"web console: {parts.environ['CONSOLE_URL']}")
        console.print(f"publish with `driftlock events send --organization {seeded} FILE`")
        supervisor.start(watch, processes.PROGRAMS, time.monotonic())
        _watch(parts, watch, ended, console)
    finally:
        console.print("stopping ...")
        supervisor.stop(watch)
        components.stop(parts)
        lock.close()


def _watch(
    parts: components.Components, watch: supervisor.Supervisor, ended: threading.Event, console: Console
) -> None:
    seen = status.Seen()
    live = Live(console=console, auto_refresh=False) if sys.stderr.isatty() else None
    if live:
        live.start()
    try:
        while not ended.wait(1.0):
            now = time.monotonic()
            for line in (*components.revive(parts), *supervisor.check(watch, now)):
                console.print(line)
            seen = status.look(parts, seen, now)
            if live:
                live.update(status.screen(parts, watch, seen, now), refresh=True)
    finally:
        if live:
            live.stop()
