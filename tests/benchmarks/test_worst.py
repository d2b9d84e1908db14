"""The worst events are what they are called."""

import random

import orjson
import pytest

from tests.benchmarks import worst


@pytest.mark.parametrize("make", [worst.ordinary, *worst.WORST], ids=lambda make: make.__name__)
def test_each_has_the_size_of_the_largest_event(make: worst.Make) -> None:
    assert worst.SIZE - 16 <= len(make(random.Random(1))) <= worst.SIZE


def test_members_are_ten_thousand_and_depth_is_a_thousand() -> None:
    rng = random.Random(1)
    assert worst.keys(rng).count(b'":0') == 10_000
    assert len(orjson.loads(worst.keys(rng))) > 5_500  # keys of one character are given again
    assert worst.depth(rng).count(b"{") == worst.depth(rng).count(b"}") == 1_000
    assert orjson.loads(worst.ordinary(rng))["message"]
