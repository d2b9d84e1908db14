"""New anomalies to browsers: one listener on PostgreSQL for the process wakes the streams of the organization that changed."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import structlog

from pipeline.tenants.live import CHANNEL

log = structlog.get_logger()
RETRY_S = 1.0
LOOK_S = 0.5
"""How long a listener waits before it looks whether it is to end; a lost connection is seen at once."""


class Hub:
    """Who waits for which organization. `start` listens in a thread until `stop`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: dict[UUID, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._leaving: Callable[[], bool] = lambda: False
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Wake everybody and end."""
        self._ended.set()
        self._wake(None)
        if self._thread.is_alive():
            self._thread.join(timeout=2 * LOOK_S)

    def until(self, leaving: Callable[[], bool]) -> None:
        """Streams end as well once `leaving` says so: a server that stops waits for them."""
        self._leaving = leaving

    @property
    def ended(self) -> bool:
        """Whether streams are to end."""
        return self._ended.is_set() or self._leaving()

    @contextmanager
    def waiting(self, organization_id: UUID) -> Iterator[asyncio.Event]:
        """An event of the running loop that is set when something of the organization may be new."""
        one = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.setdefault(organization_id, set()).add(one)
        try:
            yield one[1]
        finally:
            with self._lock:
                self._waiting[organization_id].discard(one)
                if not self._waiting[organization_id]:
                    del self._waiting[organization_id]

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._wake(None)  # what came while nobody listened
                    while not self._ended.is_set():
                        for said in connection.notifies(timeout=LOOK_S):
                            self._wake(_organization(said.payload))
                        if self._leaving():
                            self._wake(None)
            except psycopg.Error as error:
                log.warning("no news of anomalies", error=type(error).__name__)
                self._ended.wait(RETRY_S)

    def _wake(self, organization_id: UUID | None) -> None:
        with self._lock:
            keys = list(self._waiting) if organization_id is None else [organization_id]
            found = [one for key in keys for one in self._waiting.get(key, ())]
        for loop, event in found:
            loop.call_soon_threadsafe(event.set)


def _organization(payload: str) -> UUID | None:
    try:
        return UUID(payload)
    except ValueError:
        return None
