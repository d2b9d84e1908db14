"""Which scores page: the first of an episode, and what is a quarter above; however the scores are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scan.paging import QUIET_EVENTS, Paged, held_back


@pytest.mark.parametrize(
    ("scores", "peaks"),
    [
        ([0, 0, 8, 8, 10, 11, 9], [0, 0, 8, 0, 0, 11, 0]),
        ([8] + [3] * 63 + [8, 9], [8] + [0] * 65),
        ([8] + [3] * 64 + [4], [8] + [0] * 64 + [4]),
        ([8] + [3] * 60 + [4] + [3] * 64 + [5], [8] + [0] * 125 + [5]),
        ([0] * 100, [0] * 100),
    ],
)
def test_what_pages(scores: list[int], peaks: list[int]) -> None:
    assert held_back(scores, Paged()) == peaks


@given(st.lists(st.integers(0, 1 << 31), max_size=300), st.integers(0, 300))
def test_any_cut_pages_the_same_and_nothing_is_made_up(scores: list[int], cut: int) -> None:
    whole = held_back(scores, Paged())
    paged = Paged()
    assert held_back(scores[:cut], paged) + held_back(scores[cut:], paged) == whole
    assert all(peak in (0, score) for score, peak in zip(scores, whole, strict=True))
    assert 5 * max(whole, default=0) >= 4 * max(scores, default=0)
    pages = [(i, peak) for i, peak in enumerate(whole) if peak]
    assert all(4 * b > 5 * a or j - i > QUIET_EVENTS for (i, a), (j, b) in pairwise(pages))
