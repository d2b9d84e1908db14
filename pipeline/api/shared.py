"""What many wait for is waited for once: all that ask for the same key while it is looked for get what is found.

For what may be joined at any time: whoever waits is told by PostgreSQL that there is more, also of what came before a late one joined.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Coming(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


@dataclass
class Shared(Generic[T]):
    """Searches under way by key; one that nobody waits for any more is cancelled."""

    coming: dict[Hashable, _Coming[T]] = field(default_factory=dict)

    async def get(self, key: Hashable, search: Callable[[], Awaitable[T]]) -> T:
        """What `search` gives, begun by the first that asks for the key. Raises what it raises."""
        mine = self.coming.get(key)
        if mine is None:
            mine = self.coming[key] = _Coming(asyncio.ensure_future(_run(search)))
            mine.task.add_done_callback(lambda _: self._forget(key, mine))
        mine.waiting += 1
        try:
            return await asyncio.shield(mine.task)
        finally:
            mine.waiting -= 1
            if not mine.waiting:
                self._forget(key, mine)
                mine.task.cancel()

    def _forget(self, key: Hashable, mine: _Coming[T] | None) -> None:
        if self.coming.get(key) is mine:
            del self.coming[key]


async def _run(search: Callable[[], Awaitable[T]]) -> T:
    return await search()
