"""The token bucket: never more than a minute's requests at once, nor more than the rate in the long run."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.api.limits import Buckets


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 1_000), st.lists(st.floats(0, 120), max_size=60))
def test_no_more_than_the_rate(a_minute: int, pauses: list[float]) -> None:
    clock = Clock()
    buckets = Buckets(clock)
    taken = 0
    for pause in pauses:
        clock.now += pause
        while buckets.take("a", a_minute) == 0:
            taken += 1
            assert taken <= a_minute + (clock.now - 1_000) * a_minute / 60 + 1e-6


@given(st.integers(1, 10_000))
def test_after_the_wait_there_is_one(a_minute: int) -> None:
    clock = Clock()
    buckets = Buckets(clock)
    for _ in range(a_minute):
        assert buckets.take("a", a_minute) == 0
    wait = buckets.take("a", a_minute)
    assert 1 <= wait <= 61
    assert buckets.take("b", a_minute) == 0
    clock.now += wait
    assert buckets.take("a", a_minute) == 0
