"""Token buckets in memory: how often a client may do what costs us, without an account."""

from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import ip_address

MOST_CLIENTS = 10_000


@dataclass
class Limit:
    """`burst` at once, then one each `every` seconds, for each client. Who was seen longest ago is forgotten first."""

    burst: int
    every: float
    clients: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)


def take(limit: Limit, client: str, now: float) -> int:
    """Take one: 0 where it is granted, else after how many seconds it may be asked again. `now` in seconds, monotonic."""
    left, at = limit.clients.pop(client, (float(limit.burst), now))
    left = min(float(limit.burst), left + (now - at) / limit.every)
    granted = left >= 1
    limit.clients[client] = (left - 1 if granted else left, now)
    while len(limit.clients) > MOST_CLIENTS:
        limit.clients.popitem(last=False)
    return 0 if granted else max(1, round((1 - left) * limit.every + 0.5))


def network(address: str) -> str:
    """Who counts as one client: an IPv4 address, or the /64 of an IPv6 one, which one person has whole.

    >>> network("2001:db8:1:2:3:4:5:6"), network("192.0.2.7")
    ('2001:db8:1:2', '192.0.2.7')
    """
    try:
        known = ip_address(address)
    except ValueError:
        return address
    return (
        str(known)
        if known.version == 4
        else ":".join(part.lstrip("0") or "0" for part in known.exploded.split(":")[:4])
    )
