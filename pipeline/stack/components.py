"""Broker, PostgreSQL and the fake Stripe, started together, migrated, with their topics; and what our processes must know of them."""

import os
import secrets
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from pipeline import topics
from pipeline.embedded import broker, postgres, process
from pipeline.embedded.broker import Broker, Kind
from pipeline.embedded.ports import LOOPBACK, free_ports
from pipeline.embedded.postgres import Postgres
from pipeline.embedded.process import Child
from pipeline.schema import migrate_database
from pipeline.stack.processes import API, PROGRAMS, Program, own
from schemas.migrations import ROLES
from schemas.settings import load

FAKE_START_S = 20.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Components:
    """Started components below `folder`. `environ` is all that a process of ours needs, `ports` their own ports by name."""

    folder: Path
    broker: Broker
    postgres: Postgres
    stripe: Child
    stripe_url: str
    environ: dict[str, str]
    ports: dict[str, int]

    def environ_of(self, program: Program) -> dict[str, str]:
        """The environment of one process: its own port, and no secret of another."""
        port = str(self.ports[program.name])
        return {**own(program, self.environ), "METRICS_PORT": port, "PORT": port, "CONSOLE_PORT": port}

    @property
    def logs(self) -> Path:
        """Where our processes' logs lie."""
        return self.folder / "logs"


def start(folder: Path, kind: Kind, say: Say, create_time: Sequence[str] = ()) -> Components:
    """Start all three, apply migrations and topics. What was started is stopped again if a later step fails."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = broker.choose(folder / "broker", kind, say)
    database = postgres.new(folder / "postgres")
    started: list[Callable[[], object]] = []
    try:
        with ThreadPoolExecutor(3) as pool:
            fake = pool.submit(_start_stripe, folder)
            others = [pool.submit(start_it) for start_it in (chosen.start, database.start)]
            started += [chosen.stop, database.stop]
            stripe, url = fake.result()
            started.append(lambda: process.stop(stripe, grace_s=3.0))
            for other in others:
                other.result()
        environ = _environ(folder, chosen, database, url, create_time)
        with psycopg.connect(database.url(), autocommit=True) as connection:
            migrate_database(connection, dict.fromkeys(ROLES, database.password))
        topics.apply(load(environ))
    except BaseException:
        for undo in started:
            undo()
        raise
    ports = dict(zip((p.name for p in PROGRAMS), free_ports(len(PROGRAMS)), strict=True))
    hook = {"url": f"http://{LOOPBACK}:{ports[API.name]}/webhooks/stripe", "secret": environ["STRIPE_WEBHOOK_SECRETS"]}
    httpx.post(f"{url}/_fake/webhooks", json=hook, timeout=30).raise_for_status()
    environ["API_URL"] = f"http://{LOOPBACK}:{ports['api']}"
    environ["CONSOLE_URL"] = f"http://{LOOPBACK}:{ports['console']}"
    status = (f"{name}=http://{LOOPBACK}:{port}" for name, port in ports.items() if name != API.name)
    environ["STATUS_TARGETS"] = ",".join(status)
    return Components(folder, chosen, database, stripe, url, environ, ports)


def revive(components: Components) -> list[str]:
    """Start a broker or PostgreSQL that died again, on its ports and data; a line for each."""
    said = []
    for one in (components.broker, components.postgres):
        child: Child | None = getattr(one, "child", None)
        if child is not None and not child.alive():
            lost = "" if getattr(one, "durable", True) else "; what it held in memory is lost"
            said.append(
                f"{one.name} ended with {child.popen.returncode}, started again{lost}: {process.tail(child.log)}"
            )
            one.start()
    if said and not components.broker.durable:
        topics.apply(load(components.environ))
    return said


def stop(components: Components) -> None:
    """Stop all three."""
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(end) for end in (components.broker.stop, components.postgres.stop)]
        process.stop(components.stripe, grace_s=3.0)
        for each in done:
            each.result()


def _start_stripe(folder: Path) -> tuple[Child, str]:
    port_file = folder / "stripe.port"
    port_file.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pipeline.embedded.stripe_fake", "--port", "0", "--port-file", str(port_file)]
    child = process.start("stripe-fake", argv, log=folder / "logs" / "stripe-fake.log", env=_inherited())
    process.wait_ready(child, port_file.exists, timeout_s=FAKE_START_S)
    return child, f"http://{LOOPBACK}:{port_file.read_text('ascii').strip()}"


def _environ(
    folder: Path, chosen: Broker, database: Postgres, stripe_url: str, create_time: Sequence[str]
) -> dict[str, str]:
    urls = {f"DATABASE_URL_{role.removeprefix('driftlock_').upper()}": database.url(role=role) for role in ROLES}
    return {
        **_inherited(),
        **urls,
        "DATABASE_URL": database.url(),
        "KAFKA_BROKERS": chosen.bootstrap,
        "KAFKA_DURABLE": str(chosen.durable).lower(),
        "ACCESS_TOKEN_KEY": secrets.token_urlsafe(32),
        "ALERTS_SECRET_KEY": secrets.token_urlsafe(32),
        "ALERTS_ALLOW_LOOPBACK": "true",
        "STRIPE_API_KEY": f"sk_test_{secrets.token_hex(12)}",
        "STRIPE_API_BASE": stripe_url,
        "STRIPE_WEBHOOK_SECRETS": f"whsec_{secrets.token_hex(16)}",
        "TOPICS_CREATE_TIME": ",".join(create_time),
        "WORKER_DATA_DIR": str(folder / "worker"),
    }


def _inherited() -> dict[str, str]:
    """What a process of ours needs of this one's environment: never a setting that points elsewhere."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "NUMBA_CACHE_DIR", "DRIFTLOCK_CACHE")
    return {name: os.environ[name] for name in kept if name in os.environ}
