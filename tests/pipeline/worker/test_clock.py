"""Detector time: the least of what was read of all sources, held up by one that stands still, never by one that is gone."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.clock import GONE_MS, Clock, advance
from schemas.frames import Range


def ranges(**through: int) -> list[Range]:
    return [Range(topic, f"id-{topic}", 0, (0, 0), (0, 0), at) for topic, at in through.items()]


def run(*frames: dict[str, int]) -> list[int]:
    clock, times = Clock(), []
    for frame in frames:
        clock = advance(clock, ranges(**frame))
        times.append(clock.now)
    return times


def test_time_is_that_of_the_source_that_lags() -> None:
    assert run({"a": 100, "b": 90}, {"a": 200, "b": 90}, {"a": 300, "b": 250}) == [90, 90, 250]


def test_a_source_that_was_not_read_yet_holds_time_up() -> None:
    assert run({"a": 100, "b": 0}, {"a": 200, "b": 0}) == [0, 0]


def test_another_packers_source_counts_while_its_frames_are_missing() -> None:
    assert run({"a": 100}, {"b": 80}, {"a": 500}, {"a": 900}) == [100, 100, 100, 100]


def test_time_never_goes_back() -> None:
    assert run({"a": 100}, {"a": 50}, {"a": 0}, {"a": 120}) == [100, 100, 100, 120]


def test_a_removed_topic_stops_holding_time_up_after_an_hour_of_work() -> None:
    steps = [{"a": 1_000_000 + 5_000 * i} for i in range(GONE_MS // 5_000 + 3)]
    times = run({"a": 1_000_000, "gone": 1_000_000}, *steps)
    assert times[GONE_MS // 5_000 - 1] == 1_000_000
    assert times[-1] == steps[-1]["a"]


def test_while_no_packer_runs_nothing_is_gone() -> None:
    """After two days of standstill the first packer to come back does not speak for the other's sources."""
    assert run({"a": 1_000, "b": 1_000}, {"a": 172_800_000}) == [1_000, 1_000]


def test_a_topic_made_again_takes_its_own_place() -> None:
    clock = advance(Clock(), [Range("a", "one", 0, (0, 0), (9, 0), 100)])
    clock = advance(clock, [Range("a", "two", 0, (0, 0), (1, 0), 900)])
    assert clock.now == 900


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 10**6), min_size=1), max_size=30))
def test_it_is_never_later_than_any_source_named_and_never_goes_back(frames: list[dict[str, int]]) -> None:
    times = run(*frames)
    assert times == sorted(times)
    for n, frame in enumerate(frames):
        assert times[n] <= max(min(frame.values()), times[n - 1] if n else 0)
