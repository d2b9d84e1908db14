"""Server-sent events of anomalies. One thread of the process listens to PostgreSQL and wakes the streams of an organization.

A notice only says that there may be something; what is new is read after the stream's own place. So a lost notice costs at
most PAUSE_S, and a client that was away goes on with Last-Event-ID.

Streams of an organization that are at one place wait by one task, which reads for all of them (shared.py): a change costs a stream
a wake-up and a write, however often it was looked for.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import orjson
import psycopg
import structlog

from pipeline.api.shared import Shared
from pipeline.export import plain
from pipeline.tenants.live import CHANNEL, Seen

PAUSE_S = 10.0
# A row is read once every older transaction has ended: looked for again a little later.
AGAIN_S = (0.0, 0.05, 0.2, 0.5)
MOST_STREAMS = 2_000
A_READ = 100
_LOG = structlog.get_logger("pipeline.api")


@dataclass(frozen=True)
class Told:
    """An anomaly as an event of a stream, and the place after it: made once for all streams that tell it."""

    place: str
    event: bytes


Read = Callable[[str], Awaitable[Sequence[Told]]]
Check = Callable[[], Awaitable[None]]


@dataclass
class Feed:
    """The open streams of a process, and what they wait for; `url` is the database, as driftlock_api."""

    url: str
    waiting: dict[UUID, set[asyncio.Event]] = field(default_factory=dict)
    open: int = 0
    news: Shared[Sequence[Told]] = field(default_factory=Shared)
    checks: Shared[None] = field(default_factory=Shared)
    _presents: dict[UUID, tuple[float, str]] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen from now on, and wake streams in this loop."""
        self._loop = loop
        self._thread = threading.Thread(target=self._listen, daemon=True, name="feed")
        self._thread.start()

    def stop(self) -> None:
        """End every stream, and listening."""
        self._stop.set()
        self._wake(None)

    def stopped(self) -> bool:
        """Whether streams are to end."""
        return self._stop.is_set()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._call(None)  # what came while nobody listened
                    while not self._stop.is_set():
                        for notice in connection.notifies(timeout=0.5):
                            self._call(UUID(notice.payload))
            except psycopg.Error as error:
                _LOG.warning("listening failed", error=type(error).__name__)
                self._stop.wait(1.0)

    def _call(self, organization_id: UUID | None) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, organization_id)

    def _wake(self, organization_id: UUID | None) -> None:
        if organization_id is None:
            self._presents.clear()
        else:
            self._presents.pop(organization_id, None)
        woken = self.waiting.values() if organization_id is None else [self.waiting.get(organization_id, set())]
        for events in woken:
            for event in events:
                event.set()

    async def present(self, organization_id: UUID, read: Callable[[], Awaitable[str]]) -> str:
        """The present as a place: `read`, unless that was asked within the last seconds and nothing came since.

        So streams that open one after the other wait at one place. One may be told what came a moment before it opened.
        """
        now = time.monotonic()
        until, place = self._presents.get(organization_id, (0.0, ""))
        if now >= until:
            place = await read()
            if len(self._presents) >= MOST_STREAMS:
                self._presents.clear()
            self._presents[organization_id] = (now + PAUSE_S, place)
        return place

    async def after(self, organization_id: UUID, place: str, read: Read) -> Sequence[Told]:
        """What is after a place, once there is something; nothing after PAUSE_S. One task for all that ask the same."""
        return await self.news.get((organization_id, place), lambda: self._after(organization_id, place, read))

    async def _after(self, organization_id: UUID, place: str, read: Read) -> Sequence[Told]:
        woken, until = asyncio.Event(), time.monotonic() + PAUSE_S
        self.waiting.setdefault(organization_id, set()).add(woken)
        try:
            while not self.stopped():
                woken.clear()
                for pause in AGAIN_S:
                    await asyncio.sleep(pause)
                    if found := await read(place):
                        return found
                    if self.stopped() or woken.is_set():
                        break
                try:
                    await asyncio.wait_for(woken.wait(), until - time.monotonic())
                except TimeoutError:
                    break
            return ()
        finally:
            mine = self.waiting[organization_id]
            mine.discard(woken)
            if not mine:
                del self.waiting[organization_id]


async def stream(feed: Feed, organization_id: UUID, place: str, read: Read, check: Check) -> AsyncIterator[bytes]:
    """The bytes of a stream from `place` on. `read`: what is after a place; `check` raises once its reader may not any more."""
    feed.open += 1
    try:
        yield f"retry: 2000\nid: {place}\n\n".encode()
        while not feed.stopped():
            found = await feed.after(organization_id, place, read)
            if feed.stopped():
                break
            await check()
            if found:
                place = found[-1].place
                yield b"".join(one.event for one in found)
            else:
                yield b": still here\n\n"
    finally:
        feed.open -= 1


def told(one: Seen) -> Told:
    """The event of an anomaly (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    data = orjson.dumps(one.anomaly, default=plain)
    return Told(one.place, b"id: " + one.place.encode() + b"\nevent: anomaly\ndata: " + data + b"\n\n")
