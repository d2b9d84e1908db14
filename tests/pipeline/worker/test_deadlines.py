"""Deadlines: each stream when its time has passed, in order, and never more than one entry of it."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.deadlines import NEVER, Deadlines


def test_a_stream_that_keeps_sending_is_never_due() -> None:
    deadlines = Deadlines()
    for now in range(0, 1000, 10):
        deadlines.set("busy", now + 50)
        assert list(deadlines.due(now)) == []
    assert list(deadlines.due(2000)) == ["busy"]
    assert list(deadlines.due(3000)) == []


def test_the_boundary_belongs_to_the_event() -> None:
    deadlines = Deadlines({"a": 100})
    assert list(deadlines.due(100)) == []
    assert list(deadlines.due(101)) == ["a"]


def test_a_stream_without_a_deadline_is_left_alone() -> None:
    deadlines = Deadlines({"a": 100})
    deadlines.set("a", NEVER)
    assert list(deadlines.due(10**9)) == []
    assert deadlines.at == {}


CHANGE = st.tuples(st.sampled_from("abcd"), st.integers(0, 100), st.integers(0, 100))


@given(st.lists(CHANGE, max_size=60), st.integers(0, 60))
def test_it_says_what_a_scan_of_all_streams_would_say(changes: list[tuple[str, int, int]], restart: int) -> None:
    deadlines, plain = Deadlines(), dict[str, int]()
    for n, (key, time, now) in enumerate(changes):
        if n == restart:
            deadlines = Deadlines(deadlines.at)
        deadlines.set(key, time)
        plain[key] = time
        want = sorted((t, k) for k, t in plain.items() if t < now)
        assert list(deadlines.due(now)) == [k for _, k in want]
        for _, k in want:
            del plain[k]
        assert deadlines.at == plain
