"""Every parser of the outside: only declared errors, work bounded by the input's length, nothing kept."""

import gc
import itertools
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.laws import Broken, Parser, check
from tests.fuzz.parsers import PARSERS
from tests.fuzz.shapes import inputs

KEPT_BYTES = 64 << 10
"""What may lie in caches and in the interpreter after the same inputs again."""


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_laws_hold_of_any_bytes(name: str, data: st.DataObject) -> None:
    check(PARSERS[name], data.draw(inputs(PARSERS[name].seeds())))


@pytest.mark.parametrize("name", PARSERS)
def test_laws_hold_of_seeds_some_of_which_are_good(name: str) -> None:
    accepted = [check(PARSERS[name], seed)[1] for seed in PARSERS[name].seeds()]
    assert any(accepted)


@pytest.mark.parametrize("name", PARSERS)
def test_the_same_inputs_again_keep_nothing(name: str) -> None:
    parser = PARSERS[name]
    small = [seed for seed in parser.seeds() if len(seed) < 1_000] * (1 if name in {"evidence", "body"} else 20)

    def turn() -> int:
        for seed in small:
            try:
                parser.parse(seed)
            except parser.errors:
                continue
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    turn()
    tracemalloc.start()
    try:
        turn()
        said = [turn() for _ in range(4)]
        # What leaks grows with every turn; a cache of the interpreter's grows once.
        assert min(after - before for before, after in itertools.pairwise(said)) < KEPT_BYTES
    finally:
        tracemalloc.stop()


def _squared(data: bytes) -> None:
    for _ in data:
        for one in data:
            abs(one)


def test_an_error_that_is_not_declared_is_told() -> None:
    parser = Parser({b"": 0}.__getitem__, (ValueError,), 10, tuple)
    with pytest.raises(Broken, match="KeyError, which is not declared"):
        check(parser, b"x")


def test_work_that_grows_with_the_square_is_told() -> None:
    parser = Parser(_squared, (), 10, tuple)
    check(parser, bytes(20))
    with pytest.raises(Broken, match="calls for 200 bytes"):
        check(parser, bytes(200))
