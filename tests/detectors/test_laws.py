"""Laws of the detector: how a stream is cut, saved, loaded or wanted changes nothing."""

from random import Random

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.detector import Controls, EpisodeUpdate, Results, dump, load, new_state, score
from detectors.state import dump_raw
from tests.detectors.streams import block, mixed, objects, times_of

N = 3000
BODIES = mixed(N)
IDS = [(i if i % 11 else i - 11) % 2**64 for i in range(1, N + 1)]
TIMES = times_of(N)
EVERYTHING = Controls(1.0, 10_000)
Told = tuple[np.ndarray, list[EpisodeUpdate], bytes, dict[int, int]]


def columns(results: Results) -> np.ndarray:
    return np.column_stack(
        (
            results.score, results.channels, results.surprisal, results.reference_n, results.extrapolated, results.duplicate,
            results.episode, results.reported,
        )
    )  # fmt: skip


def told(cuts: list[int], saved: set[int], controls: Controls = EVERYTHING) -> Told:
    """Everything said of the stream when it is cut at `cuts`, and saved and loaded at those of them in `saved`."""
    state = new_state()
    parts, updates = [], []
    opened: dict[int, int] = {}
    for start, stop in zip([0, *cuts], [*cuts, N], strict=True):
        if start in saved:
            state = load(dump(state))
        events = block(BODIES[start:stop], TIMES[start:stop], IDS[start:stop], start)
        state, results, more = score(state, events, None, controls)
        parts.append(columns(results))
        updates += [EpisodeUpdate(**{**vars(u), "index": u.index + start}) for u in more]
        for bits, count in results.opened.items():
            opened[bits] = opened.get(bits, 0) + count
    return np.concatenate(parts), updates, dump_raw(state), opened


WHOLE = told([], set())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.integers(0, N), max_size=40), st.randoms(use_true_random=False))
def test_any_split_and_any_restart_says_the_same(cuts: set[int], random: Random) -> None:
    saved = {c for c in cuts if random.random() < 0.5}
    rows, updates, state, opened = told(sorted(cuts), saved)
    assert rows.tobytes() == WHOLE[0].tobytes()
    assert updates == WHOLE[1]
    assert state == WHOLE[2]
    assert opened == WHOLE[3]


def test_one_event_a_block_says_the_same() -> None:
    rows, updates, state, _ = told(list(range(1, N)), set())
    assert (rows.tobytes(), updates, state) == (WHOLE[0].tobytes(), WHOLE[1], WHOLE[2])


def test_the_stream_shows_something() -> None:
    """The laws above would hold of a detector that says nothing."""
    kinds = {u.kind for u in WHOLE[1]}
    assert "burst" in kinds
    assert len(kinds) > 1
    assert any(u.closed for u in WHOLE[1])
    assert any(u.revision > 1 and not u.closed for u in WHOLE[1])
    assert WHOLE[3]


@settings(max_examples=5, deadline=None)
@given(st.floats(0, 1), st.integers(0, 100))
def test_sensitivity_changes_only_what_is_reported(sensitivity: float, budget: int) -> None:
    rows, updates, _, opened = told([], set(), Controls(sensitivity, budget))
    assert rows[:, :-1].tobytes() == WHOLE[0][:, :-1].tobytes()
    assert opened == WHOLE[3]
    assert {u.reference for u in updates} <= {u.reference for u in WHOLE[1]}


def test_at_most_one_episode_is_open_and_starts_are_in_order() -> None:
    starts = [int(u.reference.split()[1]) for u in WHOLE[1]]
    assert starts == sorted(starts)
    closed: set[bytes] = set()
    revision: dict[bytes, int] = {}
    for u in WHOLE[1]:
        assert u.reference not in closed
        assert u.revision == revision.get(u.reference, 0) + 1
        revision[u.reference] = u.revision
        if u.closed:
            closed.add(u.reference)
    assert len(set(starts)) - len(closed) <= 1


def test_the_envelope_is_not_content() -> None:
    plain = [b.replace(b'"event_id": ', b'"event_id": "x", "stream": ', 1) for b in objects(400, 3)]
    other = [b'{"event_id": {"deep": [1, "}"]}, ' + b[b.index(b'"level"') :] for b in objects(400, 3)]
    a = score(new_state(), block(plain, times_of(400)), None, EVERYTHING)[1]
    b = score(new_state(), block(other, times_of(400)), None, EVERYTHING)[1]
    assert columns(a).tobytes() == columns(b).tobytes()


def test_a_key_order_is_not_content_of_form() -> None:
    """Two orders of the same fields have the same template: a stream that mixes them is not surprised."""
    bodies = [b'{"a": "x", "b": %d}' % (i % 3) if i % 200 else b'{"b": %d, "a": "x"}' % (i % 3) for i in range(1001)]
    results = score(new_state(), block(bodies, times_of(1001)), None, EVERYTHING)[1]
    assert results.channels[1000, 1] == 0
