"""Idempotency-Key as Stripe documents it (docs.stripe.com/api/idempotent_requests).

The status and body of the first execution are kept and given again, a 500 too; other parameters under the same key are
an error; what failed validation is not kept. Keys are forgotten 24 hours after their first use.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from pipeline.embedded.stripe_fake.errors import ApiError

KEPT_SECONDS = 86_400
MOST_KEYS = 100_000


@dataclass(frozen=True)
class Saved:
    """The answer of the first execution."""

    at: int
    request: str
    status: int
    body: bytes


@dataclass
class Keys:
    """Saved answers by key, oldest first; at most `MOST_KEYS`."""

    saved: OrderedDict[str, Saved] = field(default_factory=OrderedDict)

    def find(self, key: str, request: str, now: int) -> Saved | None:
        """The saved answer of a key, or nothing. `request` is method, path and body."""
        if len(key) > 255:
            raise ApiError(400, "Idempotency keys are at most 255 characters long.", kind="idempotency_error")
        kept = self.saved.get(key)
        if kept is None:
            return None
        if now - kept.at >= KEPT_SECONDS:
            del self.saved[key]
            return None
        if kept.request != request:
            raise ApiError(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                "idempotency_error",
                kind="idempotency_error",
            )
        return kept

    def keep(self, key: str, request: str, now: int, status: int, body: bytes) -> None:
        """Save an answer; the oldest goes when there are too many."""
        self.saved[key] = Saved(now, request, status, body)
        while len(self.saved) > MOST_KEYS:
            self.saved.popitem(last=False)
