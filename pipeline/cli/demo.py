"""`driftlock demo`: recorded telemetry through the whole product on this machine, and what came of it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import psycopg
from rich.console import Console
from rich.table import Table

from pipeline import kafka, telemetry
from pipeline.stack import account, components, demonstration, processes, recording, seed, supervisor, workspace
from pipeline.stack.account import Account
from pipeline.stack.components import Components
from pipeline.stack.demonstration import Bill
from schemas.settings import load

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 180.0
SHOWN = 12


def demo(
    *,
    recording_folder: Path = ROOT / "tests" / "recording" / "demo",
    folder: Path = Path(".driftlock/demo"),
    broker: Literal["auto", "kafka", "tansu"] = "auto",
) -> int:
    """Publish recorded telemetry, wait for what comes out, show it, and stop everything that was started.

    Exit code 0 only if units were billed, every event is accounted for, and the ledger equals Stripe.

    Parameters
    ----------
    recording_folder
        A recording: see tests/recording.
    folder
        Where data and logs of this run lie; emptied at the start.
    broker
        Which broker: Apache Kafka where Java and Maven are there, else Tansu, which is not durable.
    """
    console = Console(highlight=False)
    started = time.monotonic()
    lines = list(recording.read(recording_folder))
    lock = workspace.claim(folder.absolute())
    telemetry.configure_logging(load({"LOG_LEVEL": "error"}), "demo")
    console.print("1. starting broker, PostgreSQL, a fake Stripe and our processes ...")
    parts = components.start(folder.absolute(), broker, console.print, create_time=["events"])
    watch = supervisor.Supervisor(lambda program: processes.start(program, parts.environ_of(program), parts.logs))
    try:
        supervisor.start(watch, demonstration.PROGRAMS, time.monotonic())
        now = datetime.now(UTC)
        seeded = seed.organization(parts, "Demonstration", now)
        console.print(
            f"2. publishing {len(lines):,} recorded events of {len({line.stream for line in lines})} streams ..."
        )
        producer = kafka.producer(load(parts.environ))
        published = recording.publish(producer, lines, str(seeded.organization_id), now.timestamp())
        console.print("3. waiting until all of them are scored and written ...")
        outcome = demonstration.wait(parts, seeded, published, _tend(watch, console), PATIENCE_S)
        console.print("4. an hour later: the sender tells Stripe ...")
        bill = demonstration.send_to_stripe(parts, seeded, now + timedelta(hours=1))
        with psycopg.connect(parts.postgres.url()) as connection:
            found = account.found(connection, seeded.organization_id)
    finally:
        supervisor.stop(watch)
        components.stop(parts)
        lock.close()
    _show(console, parts, published, outcome, bill, found)
    wrong = demonstration.wrong(published, outcome, bill)
    console.print(f"all of it took {time.monotonic() - started:.0f} s; everything that was started is stopped")
    for line in wrong:
        console.print(f"[red]not as promised: {line}")
    return 1 if wrong else 0


def _tend(watch: supervisor.Supervisor, console: Console) -> Callable[[], None]:
    def tend() -> None:
        for line in supervisor.check(watch, time.monotonic()):
            console.print(line)

    return tend


def _show(
    console: Console, parts: Components, published: int, outcome: Account, bill: Bill, found: list[dict[str, Any]]
) -> None:
    console.print()
    table = Table(title="Anomalies", title_justify="left", show_lines=False)
    for column in ("time (UTC)", "stream", "severity", "events", "what"):
        table.add_column(column, overflow="fold")
    for row in found[:SHOWN]:
        sentence = row["explanation"]["sentence"] + ("" if row["calibrated"] else " (warming up: not billed)")
        table.add_row(f"{row['created_at']:%H:%M:%S}", row["stream"], row["severity"], str(row["count"]), sentence)
    console.print(table)
    if len(found) > SHOWN:
        console.print(f"... and {len(found) - SHOWN} more")
    console.print(
        f"events in {published:,} = scored {outcome.scored:,} + duplicates {outcome.duplicates:,}"
        f" + dead letters {outcome.dead_letters:,}"
    )
    console.print(f"anomalies {outcome.anomalies} = units billed {outcome.billable} + warming up {outcome.warmup}")
    for hour in bill.reconciled.hours:
        console.print(f"hour {hour.hour:%Y-%m-%d %H}:00 UTC: ledger {hour.ledger}, Stripe {hour.stripe}")
    console.print(
        f"ledger {bill.reconciled.ledger_units} = Stripe {bill.reconciled.stripe_units} units;"
        f" the invoice so far: ${bill.cents / 100:.2f} (plan standard, 50,000 units included)"
    )
    console.print(
        "\nwhere to look next: `.venv/bin/driftlock dev` keeps the same running;"
        " `.venv/bin/driftlock scan FILE` looks at a log file of yours;"
        f" logs of this run: {parts.logs}"
    )
