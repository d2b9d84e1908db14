"""What judges a soak: the slope by least squares. The soak itself is `make soak`."""

import random

import pytest

from tests.scenarios.soak import slope


def test_a_line_has_its_slope_and_noise_has_none() -> None:
    rng = random.Random(1)
    at = [5.0 * i for i in range(200)]
    assert slope([(x, 100 + 0.25 * x) for x in at]) == pytest.approx(0.25)
    assert abs(slope([(x, 100 + rng.uniform(-1, 1)) for x in at])) < 0.001
    assert slope([(x, 100.0) for x in at]) == 0


def test_too_few_points_say_nothing() -> None:
    assert (slope([]), slope([(1.0, 2.0)]), slope([(1.0, 2.0), (1.0, 3.0)])) == (0, 0, 0)
