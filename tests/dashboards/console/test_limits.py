"""How often a client may ask."""

from dashboards.console import limits
from dashboards.console.limits import Limit, network, take


def test_a_burst_is_granted_then_one_each_interval() -> None:
    limit = Limit(burst=3, every=10.0)
    assert [take(limit, "a", 0.0) for _ in range(4)] == [0, 0, 0, 10]
    assert take(limit, "b", 0.0) == 0
    assert take(limit, "a", 5.0) > 0
    assert take(limit, "a", 10.0) == 0


def test_memory_is_bounded_whoever_asks() -> None:
    limit = Limit(burst=1, every=1.0)
    for number in range(limits.MOST_CLIENTS + 50):
        take(limit, str(number), 0.0)
    assert len(limit.clients) == limits.MOST_CLIENTS


def test_addresses_of_one_network_are_one_client() -> None:
    assert network("2001:db8::1") == network("2001:db8:0:0:ffff::2")
    assert network("2001:db8:0:1::1") != network("2001:db8::1")
    assert network("192.0.2.1") != network("192.0.2.2")
    assert network("not an address") == "not an address"
