"""`GET /v1/status`: what every process says of its readiness, gathered from their own /readyz, at most once in two seconds.

Names of processes and of their failing checks only: what exactly is wrong stands in the process's own /readyz and log.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import httpx
import orjson
from fastapi import APIRouter

from schemas.errors import SettingsError

State = Literal["ready", "not ready", "unreachable"]
KEPT_S, TIMEOUT_S = 2.0, 2.0
_MOST_BYTES, _MOST_CHECKS = 64 << 10, 20
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+")


@dataclass(frozen=True)
class Target:
    """A process and the origin at which it serves /readyz."""

    name: str
    origin: str


@dataclass(frozen=True)
class Process:
    """What a process says. `failing`: names of its checks that fail; none where it could not be asked."""

    name: str
    state: State
    failing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """All processes that were asked, at a time. `ready`: each of them is."""

    status: Literal["ready", "degraded"]
    at: datetime
    processes: tuple[Process, ...]


def targets(setting: str) -> tuple[Target, ...]:
    """The processes of STATUS_TARGETS: comma separated name=origin; `SettingsError` for anything else.

    >>> targets("packer=http://packer:9100, worker=http://worker:9100")[1]
    Target(name='worker', origin='http://worker:9100')
    """
    found = []
    for part in filter(None, (part.strip() for part in setting.split(","))):
        name, _, origin = part.partition("=")
        if not _NAME.fullmatch(name) or not _ORIGIN.fullmatch(origin):
            raise SettingsError(
                f"STATUS_TARGETS: {part!r} is no process and where it listens, such as packer=http://packer:9100"
            )
        found.append(Target(name, origin))
    return tuple(found)


def summary(at: datetime, processes: Sequence[Process]) -> Status:
    """The status of what they said."""
    return Status("ready" if all(p.state == "ready" for p in processes) else "degraded", at, tuple(processes))


@dataclass
class Gatherer:
    """Asks the targets all at once; what they said is kept for two seconds, so that callers make no load of their own."""

    targets: tuple[Target, ...]
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    kept: tuple[float, Status] | None = field(default=None, init=False)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def status(self) -> Status:
        """The status, at most two seconds old."""
        async with self.asking:
            if self.kept is None or self.monotonic() >= self.kept[0]:
                async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
                    said = await asyncio.gather(*(ask(client, target) for target in self.targets))
                self.kept = (self.monotonic() + KEPT_S, summary(self.now(), said))
            return self.kept[1]


async def ask(client: httpx.AsyncClient, target: Target) -> Process:
    """What one process says; whatever is no answer of ours is `unreachable`."""
    try:
        async with asyncio.timeout(TIMEOUT_S), client.stream("GET", f"{target.origin}/readyz") as answer:
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > _MOST_BYTES:
                    return Process(target.name, "unreachable")
            return _read(target.name, answer.status_code, orjson.loads(body))
    except (httpx.HTTPError, TimeoutError, orjson.JSONDecodeError):
        return Process(target.name, "unreachable")


def _read(name: str, code: int, said: Any) -> Process:
    if not isinstance(said, dict) or said.get("status") not in {"ready", "not ready"}:
        return Process(name, "unreachable")
    failing = said.get("failing")
    checks = sorted(filter(_NAME.fullmatch, failing))[:_MOST_CHECKS] if isinstance(failing, dict) else []
    return Process(name, "ready" if code == 200 and said["status"] == "ready" else "not ready", tuple(checks))


def route(gatherer: Gatherer) -> APIRouter:
    """The route, open to everybody: it tells of no organization."""
    router = APIRouter(tags=["status"])

    @router.get("/v1/status")
    async def get_status() -> Status:
        """Whether each process of this installation is ready."""
        return await gatherer.status()

    return router
