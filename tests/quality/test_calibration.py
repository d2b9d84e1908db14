"""How starts are counted, when a band is left, and a small run of what `make calibration` does at length."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.detector import BIT, Controls
from tests.quality import calibration, curves, measures
from tests.quality.calibration import EIGHTHS, LEVELS, Counted, count, nominal, outside, pooled, table
from tests.quality.measures import share_interval

N = 200_000


@given(st.lists(st.sampled_from([1, 7, 11, 14, 18]), min_size=10, max_size=600), st.integers(1, 300))
def test_starts_are_counted_as_the_judge_does_however_cut(bits: list[int], size: int) -> None:
    counted = Counted(len(bits))
    for start in range(0, len(bits), size):
        counted.add(np.array(bits[start : start + size], np.int64) * BIT)
    p = 2.0 ** -np.array(bits, np.float64)
    for k, level in enumerate(LEVELS):
        assert counted.starts[k].sum() == measures.starts(p, level).sum()
    assert counted.per_eighth.sum() == len(bits)


def _counted(starts: list[int], last: int | None = None) -> Counted:
    """Two million events with so many starts at each level, evenly spread, or with `last` of 1e-2 in the last eighth."""
    counted = Counted(2_000_000, 2_000_000, per_eighth=np.full(EIGHTHS, 250_000, np.int64))
    counted.starts[:] = (np.array(starts) // EIGHTHS)[:, None]
    if last is not None:
        counted.starts[0, -1] = last
    return counted


def test_a_band_is_left_when_the_interval_lies_beyond_it() -> None:
    assert outside("fine", _counted([10_000, 1800, 200, 16])) == []
    assert outside("few", _counted([800, 80, 8, 0])) == []
    (much,) = outside("much", _counted([10_000, 1800, 800, 16]))
    assert "much: at p <= 0.0001 4.0" in much
    (late,) = outside("late", _counted([10_000, 1800, 200, 16], last=4000))
    assert "the last eighth has" in late


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    rows = {"one": _counted([10_000, 1800, 200, 16]), "none": _counted([0, 0, 0, 0])}
    for counted in rows.values():
        counted.units = {"0": 0, "1": 500, "default": 3}
    curves.calibration(rows, tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert '"process":"one"' in calibration.as_json("one", rows["one"])


@pytest.mark.parametrize("process", ["skewed"])
def test_false_starts_stay_as_rare_as_they_say(process: str) -> None:
    """In the last eighth of 200,000 events the rate at .01 is within .5 to 2 of nominal (its 95 % interval meets the band)."""
    counted = count(
        process,
        N,
        calibration.SEED,
        {"0.5": Controls(0.5, calibration.NO_BUDGET), "1": Controls(1.0, calibration.NO_BUDGET)},
    )
    low, high = share_interval(int(counted.starts[0, -1]), int(counted.per_eighth[-1]))
    assert low <= 2 * nominal(0.01)
    assert high >= 0.5 * nominal(0.01)
    assert outside(process, counted) == []
    assert counted.units["0.5"] <= counted.units["1"]
    assert counted.units["0.5"] <= 2 * 1e-4 * N
    assert f"{N:,} events" in table(process, counted)
    assert pooled([counted, counted]).starts.sum() == 2 * counted.starts.sum()
