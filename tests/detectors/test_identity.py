"""The ring of ids: 4,096 exactly, on both sides of the horizon, and only where ids are given."""

import numpy as np

from detectors.detector import Controls, dump, load, new_state, score
from detectors.evidence import splitmix
from tests.detectors.streams import block


def duplicates(ids: list[int], saved_at: int | None = None) -> list[bool]:
    state = new_state()
    cut = saved_at or 0
    out: list[bool] = []
    for part in (ids[:cut], ids[cut:]):
        state, results, _ = score(state, block([b"x"] * len(part), [0] * len(part), part), None, Controls())
        out += results.duplicate.tolist()
        state = load(dump(state))
    return out


def test_a_repeat_within_the_horizon_is_dropped_and_beyond_it_scored() -> None:
    first = list(range(1, 4097))
    assert not any(duplicates(first))
    assert duplicates([*first, 1])[-1] is True
    assert duplicates([*first, 4097, 1])[-1] is False
    assert duplicates([*first, 4097, 2])[-1] is True


def test_a_dropped_repeat_does_not_move_the_horizon() -> None:
    assert duplicates([1, *[2] * 5000, 1])[-1] is True


def test_no_id_is_never_a_repeat() -> None:
    assert not any(duplicates([0] * 50))


def test_the_ring_is_exact_against_a_plain_one() -> None:
    ids = (splitmix(9, 30_000) % np.uint64(6000) + np.uint64(1)).tolist()
    ids = [i * 0x9E3779B97F4A7C15 % 2**64 or 1 for i in ids]
    ring: list[int] = []
    expected = []
    for value in ids:
        expected.append(value in ring)
        if not expected[-1]:
            ring = [*ring[-4095:], value]
    assert duplicates(ids, 17_000) == expected


def test_a_stream_without_ids_has_no_ring() -> None:
    state, _, _ = score(new_state(), block([b"x"] * 10, [0] * 10), None, Controls())
    assert len(state.ids) == 0
