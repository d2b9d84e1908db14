"""A stream's course: bounded, the same however it is cut, and right about its largest values and its episodes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.scan.trace import BINS, Trace

N = 5000
RNG = np.random.default_rng(1)
SCORE, SURPRISAL = RNG.integers(0, 1 << 20, N), RNG.integers(0, 1 << 20, N)
TIME = np.arange(N, dtype=np.int64) * 250
EPISODE: NDArray[np.int64] = np.full(N, -1, np.int64)
EPISODE[[100, 101, 130]] = 4
EPISODE[[4000, 4999]] = 5


def traced(cuts: list[int], n: int = N) -> Trace:
    trace = Trace()
    for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
        part = slice(start, stop)
        trace.add(SCORE[part], SURPRISAL[part], TIME[part], EPISODE[part])
    return trace


def columns(trace: Trace) -> tuple[int, int, bytes, bytes, bytes, dict[int, tuple[int, int]]]:
    arrays = (trace.score.tobytes(), trace.surprisal.tobytes(), trace.time.tobytes())
    return trace.width, trace.count, *arrays, trace.members


@given(st.lists(st.integers(0, N), max_size=12).map(sorted))
def test_cutting_changes_nothing(cuts: list[int]) -> None:
    assert columns(traced(cuts)) == columns(traced([]))


@pytest.mark.parametrize("n", [1, BINS, BINS + 1, 2 * BINS + 1, N])
def test_runs_hold_the_largest_values(n: int) -> None:
    trace = traced([], n)
    assert trace.count == n
    assert -(-n // trace.width) <= BINS
    assert trace.width == 1 or n > BINS * trace.width // 2
    for run in range(-(-n // trace.width)):
        part = slice(run * trace.width, min(n, (run + 1) * trace.width))
        assert trace.score[run] == SCORE[part].max()
        assert trace.surprisal[run] == SURPRISAL[part].max()
        assert trace.time[run] == TIME[part][0]


def test_episodes_have_their_first_and_last_event() -> None:
    assert traced([101, 4500]).members == {4: (100, 130), 5: (4000, 4999)}


def test_nothing_is_no_run() -> None:
    assert traced([0, 0], 0).count == 0
