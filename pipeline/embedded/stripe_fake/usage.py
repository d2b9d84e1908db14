"""Usage that meter events reported, aggregated as Stripe documents it.

With a time window, only the most recent event of a customer's window counts: a newer one overwrites
(docs.stripe.com/billing/subscriptions/usage-based/recording-usage). Stripe does not say whether "most recent" goes by
arrival or by the event's timestamp: `newest_by` chooses, and tests run both. Without a window every event is added.
Summaries are eventually consistent: `lag` seconds pass before they show an event.
"""

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

IDENTIFIER_SECONDS = 86_400
MOST_WINDOWS = 1_000_000
MOST_IDENTIFIERS = 500_000
WINDOW_SECONDS = {"hour": 3600, "day": 86_400}
RAW_SECONDS = 60
"""Events of a meter without a window are kept in minutes, the finest that summaries can ask for."""


@dataclass(frozen=True)
class MeterEvent:
    """One event that passed validation. `value` is in units, `timestamp` in seconds."""

    meter: str
    customer: str
    identifier: str
    timestamp: int
    value: int
    width: int
    overwrite: bool


@dataclass
class Window:
    """A customer's events of one window: what counts, and what will count once `lag` has passed, as (seen at, stamp, value)."""

    stamp: int = -1
    value: int = 0
    coming: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass
class Usage:
    """All usage of an account."""

    newest_by: Literal["arrival", "timestamp"] = "arrival"
    lag: int = 0
    windows: dict[tuple[str, str], dict[int, Window]] = field(default_factory=dict)
    identifiers: OrderedDict[str, int] = field(default_factory=OrderedDict)
    late: list[tuple[int, int, MeterEvent]] = field(default_factory=list)
    count: int = 0
    held: int = 0
    postponed: int = 0

    def known(self, identifier: str, now: int) -> bool:
        """Whether an identifier was used within the last 24 hours; older ones are forgotten."""
        while self.identifiers:
            oldest, at = next(iter(self.identifiers.items()))
            if now - at < IDENTIFIER_SECONDS and len(self.identifiers) <= MOST_IDENTIFIERS:
                break
            del self.identifiers[oldest]
        return identifier in self.identifiers

    def apply(self, event: MeterEvent, now: int) -> bool:
        """Count an event; False if its identifier is known."""
        if self.known(event.identifier, now):
            return False
        self.identifiers[event.identifier] = now
        start = event.timestamp - event.timestamp % event.width
        hours = self.windows.setdefault((event.meter, event.customer), {})
        if start not in hours:
            if self.held >= MOST_WINDOWS:
                del hours[min(hours)]
                self.held -= 1
            hours[start] = Window()
            self.held += 1
        window = hours[start]
        self._settle(window, now, overwrite=event.overwrite)
        window.coming.append((now + self.lag, event.timestamp, event.value))
        self._settle(window, now, overwrite=event.overwrite)
        self.count += 1
        return True

    def apply_later(self, event: MeterEvent, at: int) -> None:
        """Count an event when the clock reaches `at`: a request whose answer was lost and that lands late."""
        self.postponed += 1
        heapq.heappush(self.late, (at, self.postponed, event))

    def catch_up(self, now: int) -> None:
        """Count what was to land by now, in the order of its times."""
        while self.late and self.late[0][0] <= now:
            at, _, event = heapq.heappop(self.late)
            self.apply(event, at)

    def _settle(self, window: Window, now: int, *, overwrite: bool) -> None:
        waiting = []
        for seen_at, stamp, value in window.coming:
            if seen_at > now:
                waiting.append((seen_at, stamp, value))
            elif not overwrite:
                window.stamp, window.value = stamp, window.value + value
            elif self.newest_by == "arrival" or stamp >= window.stamp:
                window.stamp, window.value = stamp, value
        window.coming = waiting

    def shown(self, meter: str, customer: str, start: int, end: int, now: int, *, overwrite: bool) -> dict[int, int]:
        """Start of window → units, of the windows in [start, end) that have events, as summaries show them now."""
        hours = self.windows.get((meter, customer), {})
        found = {}
        for at in sorted(hours):
            if start <= at < end:
                self._settle(hours[at], now, overwrite=overwrite)
                if hours[at].stamp >= 0:
                    found[at] = hours[at].value
        return found

    def peek(self, meter: str, customer: str, at: int, *, overwrite: bool) -> dict[int, int]:
        """Start of window → units as they will be shown at a later time, if nothing more comes; changes nothing."""
        found = {}
        for start, window in sorted(self.windows.get((meter, customer), {}).items()):
            copied = Window(window.stamp, window.value, list(window.coming))
            self._settle(copied, at, overwrite=overwrite)
            found[start] = copied.value
        return found
