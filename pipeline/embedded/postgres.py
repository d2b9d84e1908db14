"""PostgreSQL as a child process: a server of our own on loopback, durable in a data folder, also when we are root."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg

from pipeline.embedded import process
from pipeline.embedded.ports import LOOPBACK, free_ports
from pipeline.embedded.postgres_programs import Programs, bundled
from schemas.errors import ComponentFailed

SUPERUSER = "postgres"
START_TIMEOUT_S = 60.0
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
FAST = {"fsync": "off", "full_page_writes": "off"}  # not synchronous_commit: a kill would lose commits


@dataclass
class Postgres:
    """One server. The same port, password and data through every stop, kill and start.

    `password` is the superuser's, and that of each role that `url` is asked for and a migration gave it to.
    """

    data_dir: Path
    port: int
    password: str = field(repr=False)
    programs: Programs
    settings: dict[str, str]
    name: str = "postgres"
    child: process.Child | None = field(default=None, repr=False)

    def url(self, *, database: str = "postgres", role: str = SUPERUSER, password: str | None = None) -> str:
        """A connection URL. `password` is the server's own unless given."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{quote(role, safe='')}:{secret}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self.data_dir / "postgres.log"

    def start(self) -> None:
        """Start and wait until it answers a query, after recovery where there was a kill. `ComponentFailed` if not."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.programs.own(self.data_dir)
        if not (self._cluster / "PG_VERSION").exists():
            self._initdb()
        settings = {**SETTINGS, **self.settings, "port": str(self.port)}
        self.child = process.start(
            self.name,
            [
                self.programs.path("postgres"),
                *("-D", self._cluster),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            log=self.log,
            cwd=self._cluster,
            env=_environment(),
            user=self.programs.user,
            death_signal=signal.SIGQUIT,  # frees its shared memory, which SIGKILL would leave behind
        )
        process.wait_ready(self.child, self._answers, timeout_s=START_TIMEOUT_S)

    def stop(self) -> None:
        """Shut down in order, ending open sessions; keeps the data."""
        if self.child is not None:
            process.stop(self.child, grace_s=30.0, first=signal.SIGINT)
            self.child = None

    def kill(self) -> None:
        """SIGKILL the server and all its processes: what a crash leaves behind."""
        if self.child is not None:
            members = _descendants(self.child.pid)
            process.kill(self.child)
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            _wait_gone(members, timeout_s=30.0)
            self.child = None

    def restart(self) -> None:
        """Stop if it runs, and start on the same port and data."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """End it at once, and remove its data folder."""
        if self.child is not None:
            process.stop(self.child, first=signal.SIGQUIT)  # at once, but frees its shared memory
            self.child = None
        shutil.rmtree(self.data_dir, ignore_errors=True)

    @property
    def _cluster(self) -> Path:
        return self.data_dir / "cluster"

    def _initdb(self) -> None:
        secret = self.data_dir / "password"
        self.programs.own(self.data_dir)
        child = process.start(
            "initdb",
            [
                *(self.programs.path("initdb"), "-D", self._cluster, "-U", SUPERUSER, "-E", "UTF8", "--locale=C"),
                *("--auth=scram-sha-256", f"--pwfile={secret}", "--no-instructions"),
                *(("--no-sync",) if self.settings.get("fsync") == "off" else ()),
            ],
            log=self.data_dir / "initdb.log",
            cwd=self.data_dir,
            env=_environment(),
            user=self.programs.user,
        )
        code = child.popen.wait()
        if code != 0:
            raise ComponentFailed(f"PostgreSQL can't make {self._cluster}: {process.tail(child.log, 2)}")

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url(), connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def new(data_dir: Path, *, programs: Programs | None = None, fast: bool = False) -> Postgres:
    """A server with a free port, not started; an existing data folder keeps its data and password.

    `programs`: whose PostgreSQL (default: the one in the wheel). `fast` gives up safety in a power loss (not in a
    kill) for quick commits: tests only.
    """
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    secret = data_dir / "password"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24), "ascii")
    (port,) = free_ports(1)
    return Postgres(data_dir, port, secret.read_text("ascii"), programs or bundled(), dict(FAST) if fast else {})


def _environment() -> dict[str, str]:
    """Ours without PG* (they would change what the server and initdb do), and with messages in English."""
    kept = {name: value for name, value in os.environ.items() if not re.match(r"PG[A-Z]|LC_|LANG", name)}
    return {**kept, "LC_ALL": "C"}


def _descendants(pid: int) -> list[int]:
    """Process ids of the children of `pid`, and theirs. PostgreSQL's children are in process groups of their own."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text("ascii").split()):
                found += [child, *_descendants(child)]
    return found


def _wait_gone(pids: list[int], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether a process is there and not just waiting for its parent to notice its end."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
