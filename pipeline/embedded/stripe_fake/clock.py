"""The fake's clock: the machine's, shifted; or frozen. Only control requests move it."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Clock:
    """Seconds since 1970. `offset` is added to the machine's time unless `frozen` holds a time."""

    machine: Callable[[], float] = time.time
    offset: int = 0
    frozen: int | None = None

    def now(self) -> int:
        """The fake's present time in whole seconds."""
        return int(self.machine()) + self.offset if self.frozen is None else self.frozen

    def move_to(self, at: int) -> None:
        """Make it `at` now; time flows on from there unless the clock is frozen."""
        if self.frozen is None:
            self.offset = at - int(self.machine())
        else:
            self.frozen = at

    def freeze(self, stop: bool) -> None:
        """Stop the clock at its present time, or let it flow again from there."""
        now = self.now()
        self.frozen = now if stop else None
        self.move_to(now)
