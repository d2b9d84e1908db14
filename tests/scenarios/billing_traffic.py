"""Usage records of several plans, and what must become of each unit: counted here in whole numbers, nothing of billing/."""

import random
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.models import AnomalyUsage, Position, ScoredUsage

HOUR_MS = 3_600_000
PLANS = {"developer": (1_000, 1_200), "standard": (50_000, 60_000), "growth": (500_000, 600_000)}
"""Plan → units included, cap: the numbers of the design, not those of the program's file."""


@dataclass(frozen=True)
class Tenant:
    """Who uses. Units occur in hours [first, last) ms; those of `late_first` on are of a period closed long ago.

    `limits`: units included and cap where they are not the plan's. `at_first`: it uses no more until 6 tenths of all were
    said (0: as it likes). Share 0: its records are made by a worker, not here.
    """

    name: str
    id: uuid.UUID
    plan: str
    share: int
    first: int
    last: int
    partitions: tuple[int, ...] = (0,)
    late_first: int = 0
    limits: tuple[int, int] | None = None
    at_first: int = 0


@dataclass
class Truth:
    """What was sent: units by (tenant, calibrated), events scored and dropped as repeats by tenant, messages by their fate."""

    units: Counter[tuple[str, bool]] = field(default_factory=Counter)
    scored: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    fates: Counter[str] = field(default_factory=Counter)

    def used(self, tenant: Tenant) -> int:
        """Units said so far, those in warm-up too."""
        return self.units[tenant.name, True] + self.units[tenant.name, False]

    def dispositions(self, tenant: Tenant) -> dict[str, int]:
        """Units by disposition. All of a tenant's are of one period, so their order does not matter."""
        included, cap = tenant.limits or PLANS[tenant.plan]
        used, free = self.units[tenant.name, True], tenant.plan == "developer"
        within, over, more = min(used, included), max(0, min(used, cap) - included), max(0, used - cap)
        return {
            "billable": within if free else within + over,
            "waived": over if free else 0,
            "capped": 0 if free else more,
            "free_withheld": more if free else 0,
            "warmup": self.units[tenant.name, False],
        }


@dataclass(frozen=True)
class Message:
    """A record for the topic: its partition there, key and value."""

    partition: int
    key: bytes
    value: bytes


def messages(
    tenants: list[Tenant], blocks_id: str, units: int, partitions: int, seed: int, truth: Truth
) -> Iterator[Message]:
    """Records until so many units were said: a tenth of all again, soon or long after, a few that are broken.

    Positions in `blocks` and times of a tenant rise; what is repeated goes where it first went, as a worker repeats.
    """
    rng = random.Random(seed)
    frames: Counter[tuple[str, int]] = Counter()
    said: list[Message] = []
    total = 0
    while total < units:
        tenant = rng.choices(tenants, [one.share for one in tenants])[0]
        count = rng.choice((1, 1, 1, 2, 5, 20, 40))
        if tenant.at_first and total < units * 6 // 10 and truth.used(tenant) + count > tenant.at_first:
            continue
        blocks = rng.choice(tenant.partitions)
        frames[tenant.name, blocks] += 1
        position = Position(topic_id=blocks_id, partition=blocks, frame=frames[tenant.name, blocks], event=0)
        at = tenant.first + (tenant.last - tenant.first - 1) * total // units
        if tenant.late_first and rng.random() < 0.1:
            at = tenant.late_first + rng.randrange(24 * HOUR_MS)
        to = (zlib.crc32(tenant.id.bytes) + blocks) % partitions
        key, identity = str(tenant.id).encode(), uuid.UUID(int=rng.getrandbits(128), version=4)
        if rng.random() < 0.85:
            calibrated = rng.random() < 0.95
            usage: AnomalyUsage | ScoredUsage = AnomalyUsage(
                usage_id=identity, organization_id=tenant.id, stream=f"s{blocks}", is_anomaly=True, count=count,
                calibrated=calibrated, occurred_at=at, position=position, detector_version="chaos",
            )  # fmt: skip
            truth.units[tenant.name, calibrated] += count
            truth.fates["written"] += 1
            total += count
        else:
            events = rng.randrange(1, 1_000)
            usage = ScoredUsage(
                usage_id=identity, organization_id=tenant.id, is_anomaly=False, count=events, duplicates=0,
                opened={"7": 1}, occurred_at=at, position=position,
            )  # fmt: skip
            truth.scored[tenant.name] += events
            truth.fates["not_anomaly"] += 1
        message = Message(to, key, usage.to_bytes())
        said.append(message)
        yield message
        if rng.random() < 1 / 9:
            truth.fates["duplicates"] += 1
            yield rng.choice(said[-20:] if rng.random() < 0.5 else said)
        if rng.random() < 0.001:
            truth.fates["dead_letters"] += 1
            yield Message(to, key, b'{"organization_id": "nobody", "count": 0}')
