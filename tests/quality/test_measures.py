"""The measures, on cases worked by hand and against slow definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.quality.measures import (
    Answers,
    average_precision,
    episodes,
    measure,
    quiet,
    ratio_interval,
    roc_area,
    share_interval,
    spans,
    starts,
)

CASES = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40)


def said(p: list[float], alarm: list[int], episode: list[str | None]) -> Answers:
    return Answers(-np.log2(np.array(p)), np.array(p), np.array(alarm, bool), episode)


def test_average_precision_by_hand() -> None:
    label = np.array([1, 0, 1, 0], bool)
    assert average_precision(label, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert average_precision(label, np.ones(4)) == pytest.approx(0.5)  # one threshold takes all
    assert math.isnan(average_precision(np.zeros(4, bool), np.ones(4)))


@given(CASES)
def test_roc_area_is_the_share_of_pairs_in_order(rows: list[tuple[bool, int]]) -> None:
    label, score = np.array([r[0] for r in rows]), np.array([float(r[1]) for r in rows])
    if label.all() or not label.any():
        assert math.isnan(roc_area(label, score))
        return
    won = [(a > b) + (a == b) / 2 for a in score[label] for b in score[~label]]
    assert roc_area(label, score) == pytest.approx(np.mean(won))


@given(CASES)
def test_average_precision_is_the_area_of_steps(rows: list[tuple[bool, int]]) -> None:
    label, score = np.array([r[0] for r in rows]), np.array([float(r[1]) for r in rows])
    if label.all() or not label.any():
        return
    total, before, area = label.sum(), 0.0, 0.0
    for level in sorted(set(score), reverse=True):
        taken = score >= level
        recall = label[taken].sum() / total
        area += (recall - before) * label[taken].mean()
        before = recall
    assert average_precision(label, score) == pytest.approx(area)


def test_spans_join_what_is_near() -> None:
    mask = np.array([0, 1, 1, 0, 0, 1, 0], bool)
    assert spans(mask) == [(1, 2), (5, 5)]
    assert spans(mask, 1) == [(1, 2), (5, 5)]
    assert spans(mask, 2) == [(1, 5)]


def test_a_start_comes_after_64_events_above_the_level() -> None:
    p = np.ones(300)
    p[[0, 3, 68, 132, 200]] = 0.01  # 64 lie between 3 and 68, 63 between 68 and 132
    assert np.flatnonzero(starts(p, 0.01)).tolist() == [0, 68, 200]


def test_quiet_events_are_100_away() -> None:
    label = np.zeros(500, bool)
    label[250] = True
    assert np.flatnonzero(~quiet(label)).tolist() == list(range(150, 351))


def test_episodes_by_hand() -> None:
    label = np.zeros(1000, bool)
    label[300:310], label[600] = True, True
    alarm, episode = [0] * 1000, [None] * 1000
    for i, name in ((304, "x"), (305, "x"), (900, "y"), (902, "y")):
        alarm[i], episode[i] = 1, name  # type: ignore[call-overload]
    found = episodes(label, said([1.0] * 1000, alarm, episode))  # type: ignore[arg-type]
    assert found["recall"] == 0.5
    assert found["precision"] == 0.5
    assert found["F1"] == 0.5
    assert found["delay"] == 4
    assert found["per10k"] == pytest.approx(10_000 / quiet(label).sum())


def test_who_says_nothing_has_no_precision_and_an_f1_of_nothing() -> None:
    label = np.arange(1000) == 500
    found = episodes(label, said([1.0] * 1000, [0] * 1000, [None] * 1000))
    assert found["recall"] == found["F1"] == found["per10k"] == 0
    assert math.isnan(found["precision"])
    assert math.isnan(found["delay"])


def test_the_measures_of_series_are_their_mean() -> None:
    label = np.tile(np.arange(200) % 100 == 99, 2)
    p = np.r_[np.where(label[:200], 0.1, 0.5), np.where(label[:200], 0.5, 0.1)]
    row, false = measure(label, ["a"] * 200 + ["b"] * 200, said(p.tolist(), [0] * 400, [None] * 400))
    assert row["ROC"] == pytest.approx(0.5)
    assert row["AP"] == pytest.approx((1 + 2 / 170) / 2)
    assert false.quiet == 0
    assert math.isnan(row["fa.01"])


def test_intervals() -> None:
    assert share_interval(10, 1000) == pytest.approx((0.00544, 0.01831), abs=1e-5)
    assert share_interval(0, 0) == (0.0, 1.0)
    ratio, low, high = ratio_interval(100, 1000, 50, 1000)
    assert ratio == pytest.approx(100.5 / 50.5)
    assert low < ratio < high
    assert ratio_interval(50, 1000, 100, 1000)[0] == pytest.approx(1 / ratio)
