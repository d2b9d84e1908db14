"""Laws of any channel, now or later: what must not matter does not, a repeat is nothing, a flood does not hide."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.detector import Controls, EpisodeUpdate, Results, State, new_state, score
from tests.detectors.spelling import spelling
from tests.detectors.streams import block, mixed, times_of
from tests.quality import bases, everyday, inject
from tests.quality.labelled import Event, Labelled, body
from tests.quality.measures import average_precision

Said = tuple[Results, list[EpisodeUpdate]]
START = 1_780_000_000_000
BASES = {"web": bases.web, "orders": bases.orders, "batches": bases.batches}
ADOPTION = 8192
"""Events of a stream after which an open episode is taken as the new normal (detectors/README.md)."""
ROUNDING = 0.02
"""What average precision may move by a change of hashes alone; the shared judge allows as much."""


def said(events: Sequence[Event], shift: int = 0, controls: Controls | None = None) -> Said:
    """What the detector says of events that come twice a second, all `shift` ms later."""
    times = [START + shift + 500 * i for i in range(len(events))]
    _, results, updates = score(new_state(), block([body(e) for e in events], times), None, controls or Controls())
    return results, updates


@cache
def labelled(name: str) -> Labelled:
    return everyday.stream(name)


@cache
def plain(name: str) -> Said:
    return said([row.event for row in labelled(name).rows])


def precision(name: str, results: Results) -> float:
    return average_precision(labelled(name).anomalous[500:], results.score[500:].astype(np.float64))


def correlation(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Spearman's, ties sharing their mean rank; the first 500 events are left out."""

    def rank(values: NDArray[np.int64]) -> NDArray[np.float64]:
        _, where, count = np.unique(values, return_inverse=True, return_counts=True)
        ranks: NDArray[np.float64] = (np.cumsum(count) - (count - 1) / 2)[where]
        return ranks

    return float(np.corrcoef(rank(one[500:]), rank(other[500:]))[0, 1])


NAMES = ("made_orders", "made_web", "made_batches")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [1, 2])
def test_another_spelling_ranks_alike(name: str, seed: int) -> None:
    """Words and field names by a bijection; names of streams are no argument of the detector."""
    anew = spelling(seed)
    results, _ = said([anew(row.event) for row in labelled(name).rows])
    assert precision(name, results) == pytest.approx(precision(name, plain(name)[0]), abs=ROUNDING)
    assert correlation(results.score, plain(name)[0].score) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_field_changes_little(name: str) -> None:
    """The same field, or the same words in every line, in every event: average precision within ROUNDING, ranks correlated above .9
    (.85 where events have many lines: a word more in each reaches the limit of an event's tokens sooner).

    Not the same scores: a mean over fields has one more, and a place in the line moves.
    """
    longer = [{**e, "region": "eu-1"} if isinstance(e, dict) else "\n".join(f"{line} eu" for line in e.split("\n")) for e in (r.event for r in labelled(name).rows)]  # fmt: skip
    results, _ = said(longer)
    assert precision(name, results) == pytest.approx(precision(name, plain(name)[0]), abs=ROUNDING)
    assert correlation(results.score, plain(name)[0].score) > (0.85 if name == "made_batches" else 0.9)


@settings(max_examples=4, deadline=None)
@given(st.integers(-1_000_000_000_000, 1_000_000_000_000))
def test_a_shift_of_time_changes_nothing(shift: int) -> None:
    events = [row.event for row in labelled("made_bursts").rows[:6000]]
    (before, told), (after, told_after) = said(events), said(events, shift)
    assert before.rows.tobytes() == after.rows.tobytes()
    assert told
    assert [(u.started_at + shift, u.last_at + shift, u.kind, u.count, u.revision) for u in told] == [
        (u.started_at, u.last_at, u.kind, u.count, u.revision) for u in told_after
    ]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_exact_repeat_of_the_past_raises_nothing(base: str, seed: int) -> None:
    events = BASES[base](np.random.default_rng(seed), 4000)
    _, updates = said([*events, *events])
    assert [u for u in updates if u.index >= len(events) and u.revision == 1] == []


@pytest.mark.parametrize("base", BASES)
def test_a_flood_stays_above_what_is_normal_until_it_is_adopted(base: str) -> None:
    """In each eighth of the ADOPTION events from its first on, nearly all of a flood outranks 99 % of the quiet events before."""
    stream = inject.flood("flood", BASES[base](np.random.default_rng(9), 14_000), np.random.default_rng(5), 8000)
    results, updates = said([row.event for row in stream.rows])
    first = int(np.flatnonzero(stream.anomalous)[0])
    above = results.score > np.quantile(results.score[500:first], 0.99)
    for start in range(first + 16, first + ADOPTION, ADOPTION // 8):
        part = slice(start, min(start + ADOPTION // 8, first + ADOPTION))
        assert above[part][stream.anomalous[part]].mean() > 0.95, start - first
    assert any(u.index >= first and int(u.reference.split()[1]) < first + 64 for u in updates)


@settings(max_examples=6, deadline=None)
@given(st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted), st.integers(1, 10_000))
def test_what_is_reported_grows_with_sensitivity(pair: list[float], budget: int) -> None:
    """A higher setting reports what a lower one does, at the same event or before, and more; with one budget."""
    events = [row.event for row in labelled("made_orders").rows[:6000]]
    first: list[dict[bytes, int]] = []
    rows = []
    for sensitivity in pair:
        results, updates = said(events, controls=Controls(sensitivity, budget))
        first.append({u.reference: u.index for u in updates if u.revision == 1})
        rows.append(np.column_stack((results.score, results.surprisal, results.episode)).tobytes())
    assert rows[0] == rows[1]
    assert all(first[1].get(reference, len(events)) <= index for reference, index in first[0].items())


STREAMS = {
    "a": mixed(1500, 1),
    "b": mixed(1500, 2),
    "c": [body(e) for e in bases.orders(np.random.default_rng(3), 1500)],
}


def _alone(name: str) -> bytes:
    return score(new_state(), block(STREAMS[name], times_of(1500)), None, Controls(1.0, 10_000))[1].rows.tobytes()


ALONE = {name: _alone(name) for name in STREAMS}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(sorted(STREAMS)), st.integers(1, 700)), max_size=20))
def test_streams_and_tenants_do_not_touch_each_other(turns: list[tuple[str, int]]) -> None:
    """However blocks of several streams follow each other, each says what it says alone."""
    states: dict[str, State] = {}
    done = dict.fromkeys(STREAMS, 0)
    rows: dict[str, list[NDArray[np.int64]]] = {name: [] for name in STREAMS}
    for name, size in [*turns, *((name, 1500) for name in STREAMS)]:
        start, stop = done[name], min(1500, done[name] + size)
        events = block(STREAMS[name][start:stop], times_of(1500)[start:stop], first=start)
        states[name], results, _ = score(states.get(name) or new_state(), events, None, Controls(1.0, 10_000))
        rows[name].append(results.rows)
        done[name] = stop
    assert {name: np.concatenate(parts).tobytes() for name, parts in rows.items()} == ALONE
