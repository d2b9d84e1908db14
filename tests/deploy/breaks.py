"""What is taken away from a running stack in `make exercise`, the alert that must ring, and what the runbook then says to do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psycopg
from aiosmtpd.controller import Controller

from billing import outbox
from billing.outbox import Letter
from billing.periods import milliseconds
from pipeline.embedded import process
from pipeline.embedded.ports import LOOPBACK
from pipeline.stack import processes
from pipeline.stack.components import Components
from pipeline.stack.processes import Program
from pipeline.stack.supervisor import Supervisor
from schemas.notices import BillingPlanChanged
from tests.integration.test_alert_mails import Inbox

RINGS_S, OLD_RINGS_S = 420.0, 900.0
"""How long an alert may take, and one about age: its condition, its `for`, and what a scrape and an evaluation add."""
ENDS_S, CERTAIN_S = 240.0, 1_800.0
"""How long after the runbook's command an alert may go on; and an hour at Stripe, which is sent again within 15 minutes and is certain
after two reads of Stripe's summary, 11 minutes later (billing/meter_hours.py). The other steps are taken meanwhile."""
AWAY_BEFORE = timedelta(hours=4)
"""The recording is published as if it came so long ago, and a mail is as old: HoursWait (two hours) and MailsWait (one) are about
age, so that what is left of their time is their `for`, ten minutes."""


class NotAsSaidError(Exception):
    """What the runbook says does not hold; the text says how."""


@dataclass(frozen=True)
class Break:
    """What is taken away, the alert that must ring within `rings_s`, what the runbook says, and doing it."""

    name: str
    what: str
    alert: str
    away: Callable[[], None]
    runbook: str
    back: Callable[[], None]
    rings_s: float = RINGS_S
    ends_s: float = ENDS_S


@dataclass(frozen=True)
class Ground:
    """The stack that things are taken from; `disk` is a file system of the worker's alone; `publish` sends what came `AWAY_BEFORE`,
    `send` something that comes now."""

    parts: Components
    watch: Supervisor
    organization_id: UUID
    disk: Path
    publish: Callable[[], None]
    send: Callable[[], None]
    say: Callable[[str], None]

    @property
    def folder(self) -> Path:
        """The worker's."""
        return self.disk / "worker"


def rounds(on: Ground) -> list[list[Break]]:
    """All of them, in their order; what is in one list is away at the same time, because its alerts wait for long."""
    mail_server = Controller(Inbox(), hostname=LOOPBACK, port=int(on.parts.environ["SMTP_PORT"]))
    broker, postgres = on.parts.broker, on.parts.postgres

    def mail_back() -> None:
        mail_server.start()
        _driftlock(on, processes.ALERTS, "alerts", "run", "--once", "--now")
        came = [mail["Message-ID"] for mail in mail_server.handler.mails]
        if not came or len(set(came)) != len(came):
            raise NotAsSaidError(f"mails that came: {came}")

    def stripe_away() -> None:
        _faults(on, STRIPE_IS_AWAY)
        on.publish()

    def stripe_back() -> None:
        _faults(on, [])
        _driftlock(on, processes.METER, "meter", "run", "--once", may_wait=True)

    def postgres_away() -> None:
        postgres.kill()
        on.send()  # a sink that has nothing to write does not miss PostgreSQL

    def kafka_back() -> None:
        broker.start()
        _driftlock(on, processes.PACKER, "topics", "check")

    return [
        [
            Break("stripe", "Stripe drops, hangs and says 500", "HoursWait", stripe_away,
                  "nothing; driftlock meter run --once says how many wait", stripe_back, OLD_RINGS_S, CERTAIN_S),
            Break("smtp", "the mail server refuses connections", "MailsWait", lambda: _old_mail(on),
                  "mend it; driftlock alerts run --once --now", mail_back, OLD_RINGS_S),
        ],
        [Break("kafka", "Kafka is killed", "PackerStuck", broker.kill, "bring it back; driftlock topics check", kafka_back)],
        [Break("postgres", "PostgreSQL is killed", "SinkStuck", postgres_away, "bring it back", postgres.start)],
        [Break("worker", "the worker hangs", "ProcessDown", lambda: _signal(on, processes.WORKER, signal.SIGSTOP),
               "docker compose restart worker", lambda: _restart(on, processes.WORKER))],
        [Break("disk", "the worker's disk is full, its folder new", "ProcessDown", lambda: _fill(on),
               "free the disk; it starts by itself", lambda: _free(on))],
    ]  # fmt: skip


STRIPE_IS_AWAY: list[dict[str, object]] = [
    {"kind": "drop", "chance": 0.2, "hang": 20.0},
    {"kind": "drop", "chance": 0.5},
    {"kind": "error"},
]


def names() -> tuple[str, ...]:
    """What `--only` may name."""
    return ("stripe", "smtp", "kafka", "postgres", "worker", "disk")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 256 KiB and few files, mounted in `folder`: only root can, and only on Linux."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=16", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _faults(on: Ground, rules: list[dict[str, object]]) -> None:
    httpx.post(f"{on.parts.stripe_url}/_fake/faults", json={"rules": rules}, timeout=30).raise_for_status()


def _old_mail(on: Ground) -> None:
    """A mail as old as `AWAY_BEFORE` says, for a server that nobody has started."""
    at = milliseconds(datetime.now(UTC) - AWAY_BEFORE)
    notice = BillingPlanChanged(organization_id=on.organization_id, at=at, was="developer", plan="standard", from_at=at)
    with psycopg.connect(on.parts.postgres.url()) as owner:
        owner.execute(
            "UPDATE organizations SET billing_email = 'ops@exercise.test' WHERE id = %s", (on.organization_id,)
        )
        outbox.put(owner, [Letter(f"exercise/{uuid4()}", notice)])


def _fill(on: Ground) -> None:
    """Fill the disk: the worker goes on, as its states are in Kafka. Then it must start with no folder made yet, and can't."""
    before = _scored(on)
    _full(on.disk / "bytes", on.disk)
    deadline = time.monotonic() + 60
    while _scored(on) <= before:
        if time.monotonic() > deadline:
            raise NotAsSaidError("with a full disk the running worker does no more")
        time.sleep(1)
    on.say("  the running worker goes on: it keeps nothing there; started anew with an empty folder it can't")
    for one in sorted(on.folder.rglob("*"), reverse=True):
        one.rmdir()
    on.folder.rmdir()
    _full(on.disk / "more", on.disk)
    _signal(on, processes.WORKER, signal.SIGKILL)


def _full(prefix: Path, disk: Path) -> None:
    """Write until there is no room, neither for a byte nor for a file."""
    for number in range(64):
        try:
            with prefix.with_name(f"{prefix.name}-{number}").open("wb") as file:
                file.write(bytes(512 << 10))
        except OSError:
            continue
    if os.statvfs(disk).f_favail:
        raise NotAsSaidError(f"{disk} is not full")


def _free(on: Ground) -> None:
    said = process.tail(on.parts.logs / "worker.log")
    on.say(f"  its last line: {said.split(' (log: ')[0]}")
    if "WORKER_DATA_DIR" not in said:
        raise NotAsSaidError("the worker does not say what it lacks")
    for one in on.disk.iterdir():
        one.unlink()


def _scored(on: Ground) -> float:
    """Frames that the worker has handled, as it says itself."""
    url = f"http://{LOOPBACK}:{on.parts.ports[processes.WORKER.name]}/metrics"
    lines = httpx.get(url, timeout=10).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("driftlock_worker_progress_timestamp"))


def _driftlock(on: Ground, program: Program, *words: str, may_wait: bool = False) -> None:
    """The runbook's command, with the settings of one process; what it says is shown. Its exit code must be 0, or 1: something waits."""
    environ = on.parts.environ_of(program)
    argv = [sys.executable, "-m", "pipeline.cli", *words]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=120, check=False)
    on.say(f"  $ driftlock {' '.join(words)}: {done.stdout.strip() or 'nothing to say'} (exit code {done.returncode})")
    if done.returncode not in ((0, 1) if may_wait else (0,)):
        raise NotAsSaidError(done.stderr[-2_000:])


def _restart(on: Ground, program: Program) -> None:
    _signal(on, program, signal.SIGKILL)


def _signal(on: Ground, program: Program, number: signal.Signals) -> None:
    pid = next(one.child.pid for one in on.watch.watched if one.program is program)
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
