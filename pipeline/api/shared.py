"""Reads that many open streams want at once are made once: what the first asks for is answered to all that wait with it.

Who asks while one runs gets the next one's answer, never that of a read which began before he asked. So a thousand streams of
an organization cost two reads for each change, not a thousand.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Slot(Generic[T]):
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    coming: asyncio.Task[T] | None = None
    waiting: int = 0


@dataclass
class Shared(Generic[T]):
    """Reads by key; nothing is kept of a key that nobody waits for."""

    slots: dict[Hashable, _Slot[T]] = field(default_factory=dict)

    async def get(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gives, begun after this was called; shared with all that ask for the same key. Raises what it raises."""
        slot = self.slots.setdefault(key, _Slot())
        slot.waiting += 1
        try:
            if slot.coming is None:
                slot.coming = asyncio.get_running_loop().create_task(_run(slot, read))
            return await asyncio.shield(slot.coming)
        finally:
            slot.waiting -= 1
            if not slot.waiting and self.slots.get(key) is slot:
                del self.slots[key]


async def _run(slot: _Slot[T], read: Callable[[], Awaitable[T]]) -> T:
    async with slot.lock:
        slot.coming = None  # who asks from now on wants what is not read yet
        return await read()
