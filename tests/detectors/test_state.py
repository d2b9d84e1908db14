"""Saved states: sizes, versions, and what is not a state."""

import numpy as np
import pytest

from detectors import layout as at
from detectors.detector import Controls, StateError, dump, load, new_state, score
from detectors.evidence import splitmix
from tests.detectors.streams import block, lines, times_of


def test_a_quiet_stream_is_small_and_a_new_one_smaller() -> None:
    assert len(dump(new_state())) < 1024
    state, _, _ = score(new_state(), block(lines(100, 2), times_of(100)), None, Controls())
    assert len(dump(state)) < 64 << 10


def test_the_busiest_stream_is_below_the_limit() -> None:
    """Random words, keys, identifiers and numbers fill every table with what does not compress."""
    draws = splitmix(3, 10_000 * 30).reshape(-1, 30)
    bodies = []
    for i, row in enumerate(draws.tolist()):
        words = " ".join(f"{v % 3**20:x}g" for v in row)
        fields = ",".join(f'"k{i % 40}{j}":{v % 10**9}' for j, v in enumerate(row[:8]))
        bodies.append(f'{{"m":"{words}",{fields}}}'.encode() if i % 2 else words.encode())
    ids = splitmix(4, len(bodies)).tolist()
    state, _, _ = score(new_state(), block(bodies, times_of(len(bodies)), ids), None, Controls())
    assert len(state.slots) == at.SLOTS_MAX * at.SLOT_COLUMNS
    assert len(state.symbols) == 16384
    assert len(dump(state)) <= 512 << 10
    pairs = 8 * 2 * at.FILTER_MAX - state.seen.nbytes  # random words make no pairs: what the filter could still grow
    assert sum(v.nbytes for v in vars(state).values() if isinstance(v, np.ndarray)) + pairs <= 1 << 20


@pytest.mark.parametrize(
    "data", [b"", b"DLS", b"DLS\x01", b"DLS\x02abc", b"garbage" * 100, b"DLS\x01" + b"\x28\xb5\x2f\xfd" * 9]
)
def test_garbage_is_a_state_error(data: bytes) -> None:
    with pytest.raises(StateError):
        load(data)


def test_a_damaged_state_is_a_state_error() -> None:
    state, _, _ = score(new_state(), block(lines(300, 2), times_of(300)), None, Controls())
    good = dump(state)
    for place in range(4, len(good), max(1, len(good) // 60)):
        with pytest.raises(StateError):
            load(good[:place])
        with pytest.raises(StateError):
            load(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
