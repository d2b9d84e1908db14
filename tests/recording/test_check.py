"""The checker: an episode is judged by its start, and the mark is exactly what the issue says."""

import pytest

from pipeline.stack.recording import Line
from tests.recording.check import BEFORE_S, MARGIN_S, Found, judge, shifted
from tests.recording.labels import Fault, Labels

FAULTS = tuple(Fault(name, ("a",), at, at + 10.0) for name, at in (("one", 100.0), ("two", 200.0), ("three", 300.0)))
LABELS = Labels(FAULTS, 20_000, 1, {})
LINES = [Line(400.0 * n / 10_000, stream, b"line") for n in range(10_000) for stream in ("a", "b")]
QUIET = 20_000 - 3 * 626  # a line each .04 s of stream a, from a fault's start to its end and margin


def _episode(start: float, stream: str = "a") -> Found:
    return Found(stream, start, start + 1.0)


def test_quiet_lines_are_those_of_streams_that_no_fault_touches_then() -> None:
    assert judge(LABELS, LINES, []).quiet_lines == QUIET


@pytest.mark.parametrize("start", [100.0 - BEFORE_S, 100.0, 109.0, 110.0 + MARGIN_S])
def test_an_episode_that_begins_in_a_fault_or_its_margin_finds_it(start: float) -> None:
    verdict = judge(LABELS, LINES, [_episode(start)])
    assert verdict.missed == ("two", "three")
    assert verdict.false == ()


@pytest.mark.parametrize("episode", [_episode(98.9), _episode(125.1), _episode(105.0, "b"), Found("a", 50.0, 105.0)])
def test_an_episode_that_begins_elsewhere_is_false(episode: Found) -> None:
    verdict = judge(LABELS, LINES, [episode])
    assert verdict.missed == ("one", "two", "three")
    assert verdict.false == (episode,)


def test_one_fault_may_be_missed_and_not_two() -> None:
    assert judge(LABELS, LINES, [_episode(105.0), _episode(305.0)]).passed
    assert not judge(LABELS, LINES, [_episode(105.0), _episode(106.0)]).passed


def test_two_false_episodes_in_10_000_quiet_lines_are_too_many_when_there_are_three_of_them_in_fewer_than_15_000() -> (
    None
):
    found = [_episode(105.0), _episode(205.0)]
    few = LINES[: len(LINES) // 2 + 2_000]
    assert judge(LABELS, LINES, [*found, *(_episode(10.0 * n) for n in range(3))]).passed
    assert not judge(LABELS, few, [*found, *(_episode(10.0 * n) for n in range(3))]).passed


def test_times_of_a_later_publication_are_shifted_back() -> None:
    assert shifted([Found("a", 1105.0, 1106.0)], 1000.0) == [Found("a", 105.0, 106.0)]
