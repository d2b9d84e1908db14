"""The state of one fake account: its objects, clock, faults, saved answers, usage and events. All bounded, all in memory."""

import hashlib
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipeline.embedded.stripe_fake.clock import Clock
from pipeline.embedded.stripe_fake.errors import ApiError, no_such
from pipeline.embedded.stripe_fake.faults import Rule
from pipeline.embedded.stripe_fake.idempotency import Keys
from pipeline.embedded.stripe_fake.usage import Usage

MOST_OBJECTS = 50_000
MOST_EVENTS = 10_000
MOST_LOGGED = 5_000
DAY = 86_400

Object = dict[str, Any]


@dataclass
class Webhooks:
    """Where events go. `hold` keeps them until they are asked for, so that a test chooses order and number."""

    url: str = ""
    secret: str = ""
    hold: bool = False
    tries: int = 3


@dataclass
class Sandbox:
    """One fake account, always in test mode."""

    seed: int
    clock: Clock = field(default_factory=Clock)
    objects: dict[str, OrderedDict[str, Object]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    rules: list[Rule] = field(default_factory=list)
    keys: Keys = field(default_factory=Keys)
    events: deque[Object] = field(default_factory=lambda: deque(maxlen=MOST_EVENTS))
    undelivered: deque[Object] = field(default_factory=lambda: deque(maxlen=MOST_EVENTS))
    webhooks: Webhooks = field(default_factory=Webhooks)
    log: deque[Object] = field(default_factory=lambda: deque(maxlen=MOST_LOGGED))
    drafts: dict[str, list[Object]] = field(default_factory=dict)
    thin: OrderedDict[str, Object] = field(default_factory=OrderedDict)
    rejects_later: bool = False
    ticks: list[Callable[["Sandbox"], None]] = field(default_factory=list)
    carts: dict[str, Object] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    made: int = 0
    due_at: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)  # noqa: S311 - faults, not secrets

    def move(self, target: int) -> None:
        """Move time forward day by day, so that what falls due on the way sees the usage and periods of its own time."""
        while self.clock.now() < target:
            self.clock.move_to(min(target, self.clock.now() + DAY))
            for tick in self.ticks:
                tick(self)

    def new_id(self, prefix: str) -> str:
        """An id as Stripe's look: the prefix and 14 characters, the same for the same seed and order."""
        self.made += 1
        return f"{prefix}_{hashlib.sha256(f'{self.seed}/{self.made}'.encode()).hexdigest()[:14]}"

    def all(self, kind: str) -> list[Object]:
        """The objects of a kind, newest first, as Stripe lists them."""
        return list(reversed(self.objects.get(kind, {}).values()))

    def find(self, kind: str, object_id: str) -> Object | None:
        """One object, or nothing."""
        return self.objects[kind].get(object_id) if kind in self.objects else None

    def get(self, kind: str, object_id: str, param: str = "id") -> Object:
        """One object; Stripe's error where there is none (400 where a parameter names it, 404 where the path does)."""
        found = self.find(kind, object_id)
        if found is None:
            raise no_such(kind.replace("_", " "), object_id, param, 404 if param == "id" else 400)
        return found

    def add(self, kind: str, prefix: str, content: Object, object_id: str | None = None) -> Object:
        """Keep a new object, with its id, name of its kind, time and mode."""
        kept = self.objects.setdefault(kind, OrderedDict())
        if object_id in kept:
            raise ApiError(400, f"{kind.capitalize()} already exists.", "resource_already_exists", "id")
        if len(kept) >= MOST_OBJECTS:
            raise ApiError(400, f"The fake holds at most {MOST_OBJECTS} objects of a kind.", "fake_full")
        made = {
            "id": object_id or self.new_id(prefix),
            "object": kind,
            "created": self.clock.now(),
            "livemode": False,
            **content,
        }
        kept[made["id"]] = made
        return made
