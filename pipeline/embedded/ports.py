"""Free ports that stay ours: outside the range the kernel gives out, locked against other processes of DriftLock."""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

from schemas.errors import ComponentFailed

LOWEST = 15_000
LOOPBACK = "127.0.0.1"

_held: dict[int, set[int]] = {}  # process id → its ports (a forked process does not inherit locks)
_files: dict[int, int] = {}


def free_ports(count: int, rng: random.Random | None = None) -> tuple[int, ...]:
    """`count` TCP ports on loopback that no one listens on and no other DriftLock process is given while this one lives.

    A port from the kernel (port 0) may be taken as the source port of any outgoing connection while a killed server is
    down; these lie below that range, so a server comes back on its own port.
    """
    rng = rng or random.SystemRandom()
    candidates = list(range(LOWEST, first_ephemeral()))
    rng.shuffle(candidates)
    mine = _held.setdefault(os.getpid(), set())
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            break
        if port not in mine and _lock(port):
            if _nobody_listens(port):
                mine.add(port)
                found.append(port)
            else:
                fcntl.lockf(_file(), fcntl.LOCK_UN, 1, port)
    if len(found) < count:
        raise ComponentFailed(f"no {count} free ports between {LOWEST} and {first_ephemeral()} on {LOOPBACK}")
    return tuple(found)


def first_ephemeral() -> int:
    """The lowest port that the kernel gives to an outgoing connection, or to a bind to port 0."""
    with contextlib.suppress(OSError, ValueError):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
        return max(first, LOWEST + 1000)
    return 32_768


def _nobody_listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _lock(port: int) -> bool:
    """Lock the byte `port` of a file that all processes share; the kernel unlocks it when this process ends."""
    try:
        fcntl.lockf(_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _file() -> int:
    pid = os.getpid()
    if pid not in _files:
        path = Path(tempfile.gettempdir()) / "driftlock-ports.lock"
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            os.fchmod(descriptor, 0o666)  # every user of this machine
        _files[pid] = descriptor
    return _files[pid]
