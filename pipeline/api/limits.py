"""Rate limits: a token bucket for each key or user, of as many requests a minute as the plan admits."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.api.problems import Answered

_MOST = 50_000


@dataclass
class Bucket:
    """`left` requests as of `at` (seconds of any clock)."""

    left: float
    at: float


@dataclass
class Buckets:
    """A bucket for each name. Full again, a bucket says nothing and is forgotten, so they stay few."""

    clock: Callable[[], float]
    of: dict[str, Bucket] = field(default_factory=dict)

    def take(self, name: str, a_minute: int) -> int:
        """Take one request: 0, or in how many seconds there is one. A bucket holds a minute's requests."""
        now = self.clock()
        if len(self.of) >= _MOST:
            self.of = {n: b for n, b in self.of.items() if now - b.at < 60}
        bucket = self.of.setdefault(name, Bucket(float(a_minute), now))
        bucket.left = min(float(a_minute), bucket.left + (now - bucket.at) * a_minute / 60)
        bucket.at = now
        if bucket.left >= 1:
            bucket.left -= 1
            return 0
        return max(1, round((1 - bucket.left) * 60 / a_minute + 0.5))

    def require(self, name: str, a_minute: int) -> None:
        """429 with Retry-After where there is none left."""
        if wait := self.take(name, a_minute):
            raise Answered(
                429, f"over {a_minute} requests a minute: the plan's limit for each key", {"Retry-After": str(wait)}
            )
