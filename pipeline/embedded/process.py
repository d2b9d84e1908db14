"""Child processes that never outlive us: own log, own process group, SIGTERM then SIGKILL, death with the parent."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ComponentFailed

LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class User:
    """Whom a child of root becomes. `namespace`: only seems to be it, and keeps root's access as an owner of files."""

    uid: int
    gid: int
    namespace: bool


@dataclass(frozen=True)
class Child:
    """A started process. Its standard output and error are appended to `log`."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Process id, which is also its process group's."""
        return self.popen.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.popen.poll() is None


def start(
    name: str,
    argv: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: User | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> Child:
    """Start `argv` in a process group of its own; when this process ends, however it ends, it gets `death_signal`.

    Only Linux can do the last (PR_SET_PDEATHSIG); elsewhere the caller's `stop` has to be reached.
    `env` replaces the whole environment.
    """
    launch = command(argv, user, death_signal)
    log.parent.mkdir(parents=True, exist_ok=True)

    def spawn() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                launch, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd, start_new_session=True
            )

    return Child(name, _spawned(spawn), log)


def command(
    argv: Sequence[str | Path], user: User | None = None, death_signal: signal.Signals = signal.SIGKILL
) -> list[str]:
    """The command line that becomes `argv` as `user`, and gets `death_signal` when this process ends."""
    how: dict[str, int | bool] = {"parent": os.getpid(), "death_signal": int(death_signal)}
    if user is not None:
        how |= {"uid": user.uid, "gid": user.gid, "namespace": user.namespace}
    return [sys.executable, "-I", "-S", str(LAUNCH), json.dumps(how), *map(str, argv)]


def stop(child: Child, *, grace_s: float = 15.0, first: signal.Signals = signal.SIGTERM) -> int:
    """End a child and its group: `first`, then after `grace_s` seconds SIGKILL. Its exit code (-n: signal n)."""
    if child.alive():
        signal_group(child, first)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.popen.wait(grace_s)
    return kill(child)


def kill(child: Child) -> int:
    """End a child and what is left of its group with SIGKILL, at once. Its exit code (-n: signal n)."""
    signal_group(child, signal.SIGKILL)
    return child.popen.wait()


def signal_group(child: Child, number: signal.Signals) -> None:
    """Signal a child's process group; nothing happens when it is gone."""
    if child.alive():
        os.killpg(child.pid, number)
    else:  # the group may outlive its leader; its id is not given anew while a member lives
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)


def wait_ready(child: Child, ready: Callable[[], bool], *, timeout_s: float, every_s: float = 0.05) -> None:
    """Poll `ready` until it is true. `ComponentFailed` with the log's last line if the child ends or time is up."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if not child.alive():
            raise ComponentFailed(f"{child.name} ended with {child.popen.returncode}: {tail(child.log)}")
        if time.monotonic() > deadline:
            raise ComponentFailed(f"{child.name} is not ready after {timeout_s:.0f} s: {tail(child.log)}")
        time.sleep(every_s)


def tail(log: Path, lines: int = 1) -> str:
    """The last lines of a log that say something, and where the rest is."""
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    kept = [line.strip() for line in text.splitlines() if line.strip()][-lines:]
    return f"{' / '.join(kept) or 'nothing was logged'} (log: {log})"


# The kernel sends the death signal when the *thread* ends that started the child. So that a child may be started from
# any thread, all are started by this one, which lives until the process ends.
_requests: "queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]" = (
    queue.SimpleQueue()
)
_lock = threading.Lock()
_spawner: list[tuple[int, threading.Thread]] = []


def _spawned(spawn: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    with _lock:
        if not _spawner or _spawner[-1][0] != os.getpid():  # a forked process has no threads of its parent
            thread = threading.Thread(target=_spawn_for_ever, name="spawner", daemon=True)
            thread.start()
            _spawner[:] = [(os.getpid(), thread)]
    future: Future[subprocess.Popen[bytes]] = Future()
    _requests.put((spawn, future))
    return future.result()


def _spawn_for_ever() -> None:
    while True:
        spawn, future = _requests.get()
        try:
            future.set_result(spawn())
        except BaseException as error:  # noqa: BLE001 it belongs to the thread that waits
            future.set_exception(error)
