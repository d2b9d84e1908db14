"""Events in discrete steps through packers, partitions and workers: latency and utilisation of a size. Deterministic from a seed."""

import heapq
import random
from dataclasses import dataclass

_ARRIVAL, _PACKED, _SCORED = range(3)


@dataclass(frozen=True)
class Flow:
    """What goes through: batches arrive at random moments. Times in seconds; costs of a server of one core."""

    batches_per_s: float
    events_a_batch: int
    packers: int
    workers: int
    partitions: int
    packer_s: float
    worker_s: float
    wait_s: float
    """Costs of an event; how long an event waits for its flush at most."""


@dataclass(frozen=True)
class Seen:
    """Utilisation of all packers and all workers; seconds from arrival until scored of each batch, in the order of arrival."""

    packers: float
    workers: float
    latencies: tuple[float, ...]

    def quantile(self, share: float) -> float:
        """A quantile of the latencies."""
        return sorted(self.latencies)[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def run(flow: Flow, seconds: float, seed: int) -> Seen:
    """Simulate arrivals for some seconds, and what is left of them afterwards. What arrives depends on the seed alone, not on the size."""
    rng = random.Random(seed)
    moments: list[tuple[float, int, int, int]] = []
    arrived: list[float] = []
    partition: list[int] = []
    now = rng.expovariate(flow.batches_per_s)
    while now < seconds:
        heapq.heappush(moments, (now + rng.random() * flow.wait_s, len(arrived), _ARRIVAL, 0))
        arrived.append(now)
        partition.append(rng.randrange(1 << 30))
        now += rng.expovariate(flow.batches_per_s)
    free = {_ARRIVAL: [0.0] * flow.packers, _PACKED: [0.0] * flow.workers}
    cost = {_ARRIVAL: flow.events_a_batch * flow.packer_s, _PACKED: flow.events_a_batch * flow.worker_s}
    done = [0.0] * len(arrived)
    while moments:
        at, batch, what, _ = heapq.heappop(moments)
        if what == _SCORED:
            done[batch] = at - arrived[batch]
            continue
        place = partition[batch] % flow.partitions
        servers = free[what]
        server = (batch if what == _ARRIVAL else place) % len(servers)
        servers[server] = max(at, servers[server]) + cost[what]
        heapq.heappush(moments, (servers[server], batch, what + 1, 0))
    whole = max([seconds, *free[_ARRIVAL], *free[_PACKED]])
    busy = [len(arrived) * one for one in cost.values()]
    return Seen(busy[0] / whole / flow.packers, busy[1] / whole / flow.workers, tuple(done))
