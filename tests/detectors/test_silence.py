"""Silence: the same however time and events are cut, told once, ended by the next event, and only where one was due."""

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.detector import Controls, EpisodeUpdate, Ticks, due, dump, load, new_state, score
from detectors.state import dump_raw
from tests.detectors.streams import block, mixed
from tests.detectors.test_laws import columns
from tests.detectors.timed import DAY, HOUR, MINUTE, SECOND, START, heartbeat, poisson, slower, switching

NOTHING = block([], [])
BEATS = slower(heartbeat(20 * SECOND, DAY, 3), 18 * HOUR, 18 * HOUR + 14 * MINUTE, 0, 1)
TIMES = slower(poisson(20 * SECOND, DAY, 3), 14 * HOUR, 15 * HOUR, 0, 1)
TIMES = slower(TIMES, 20 * HOUR, 20 * HOUR + 12 * MINUTE, 0, 1)
N = len(TIMES)
BODIES = mixed(N)
TICKS = list(range(START + 13 * HOUR, START + DAY + 3 * HOUR, 7 * MINUTE))
EVERYTHING = Controls(0.9, 10_000)


def run(times: list[int], through: int | None = None, controls: Controls | None = None) -> list[EpisodeUpdate]:
    bodies = [b"beat"] * len(times)
    ticks = Ticks(through) if through else None
    return score(new_state(), block(bodies, times), ticks, controls or Controls())[2]


def steps() -> list[tuple[int, int]]:
    """Events and ticks in the order of time: (number of the event, 0) or (-1, the tick's time)."""
    both = [(t, 0, i) for i, t in enumerate(TIMES)] + [(t, 1, -1) for t in TICKS]
    return [(i, t if i < 0 else 0) for t, _, i in sorted(both)]


STEPS = steps()


def told(cuts: set[int], saved: set[int], ticked: bool) -> tuple[bytes, list[EpisodeUpdate], bytes]:
    """Everything said when calls end before the steps in `cuts`; ticks of one call that no event follows count as the last."""
    state = new_state()
    rows: list[np.ndarray] = []
    updates: list[EpisodeUpdate] = []
    first, waiting, through = 0, 0, 0

    def call() -> None:
        nonlocal state, first, waiting, through
        if waiting or through:
            ticks = Ticks(through) if through and ticked else None
            events = block(BODIES[first : first + waiting], TIMES[first : first + waiting], None, first)
            state, results, more = score(state, events, ticks, EVERYTHING)
            rows.append(columns(results))
            updates.extend(EpisodeUpdate(**{**vars(u), "index": u.index + first}) for u in more)
        first, waiting, through = first + waiting, 0, 0

    for place, (event, time) in enumerate(STEPS):
        if place in cuts or (event >= 0 and through):
            call()
        if place in saved:
            call()
            state = load(dump(state))
        if event >= 0:
            waiting += 1
        else:
            through = time
    call()
    state, _, more = score(state, NOTHING, Ticks(TICKS[-1]), EVERYTHING)
    updates += [EpisodeUpdate(**{**vars(u), "index": N - 1}) for u in more]
    return np.concatenate(rows).tobytes(), updates, dump_raw(state)


WHOLE = told(set(), set(), ticked=True)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.integers(0, len(STEPS)), max_size=30), st.randoms(use_true_random=False))
def test_any_cut_of_events_and_ticks_says_the_same(cuts: set[int], random: Random) -> None:
    saved = {c for c in cuts if random.random() < 0.5}
    assert told(cuts, saved, ticked=True) == WHOLE


def test_without_ticks_all_is_said_with_the_next_event() -> None:
    assert told(set(), set(), ticked=False) == WHOLE


def test_the_laws_have_something_to_hold_of() -> None:
    silences = {u.reference for u in WHOLE[1] if u.silence}
    assert len(silences) >= 2  # one that ended and one at the end of the stream
    assert any(not u.silence for u in WHOLE[1])
    assert any(u.silence and u.revision > 1 and not u.closed for u in WHOLE[1])


def test_a_tick_before_the_deadline_changes_nothing() -> None:
    state, _, _ = score(new_state(), block([b"beat"] * len(BEATS), BEATS), None, Controls())
    before = dump_raw(state)
    time = due(state)
    assert time > BEATS[-1] + 10 * SECOND
    for through in (BEATS[-1], time - 1, time):
        state, _, updates = score(state, NOTHING, Ticks(through), Controls())
        assert updates == []
        assert dump_raw(state) == before
        assert due(state) == time
    state, _, _ = score(state, NOTHING, Ticks(time + 1), Controls())
    assert dump_raw(state) != before
    assert due(state) > time


def test_a_heartbeat_that_stops_is_told_once_and_ends_with_the_next() -> None:
    updates = run(BEATS)
    assert [u.revision for u in updates] == list(range(1, len(updates) + 1))
    assert {u.kind for u in updates} == {"silence"}
    assert len({u.reference for u in updates}) == 1
    assert [u.closed for u in updates] == [False] * (len(updates) - 1) + [True]
    assert all(u.silence and u.calibrated and u.count == 1 for u in updates)
    first = updates[0]
    last = BEATS[first.index]
    assert first.reference == b"event %d" % first.index
    assert last + 20 * SECOND < first.started_at < last + 3 * MINUTE
    assert updates[-1].last_at == BEATS[first.index + 1]
    assert updates[-1].explanation.sentence == "No event for 14 min; usually one every 21 s."
    assert updates[-1].explanation.event == "beat"


def test_a_stream_that_stays_away_is_told_ever_more_rarely_and_at_last_taken_as_normal() -> None:
    times = heartbeat(20 * SECOND, DAY, 3)
    updates = run(times, times[-1] + 30 * DAY)
    assert updates[-1].closed
    assert len(updates) <= 16
    assert {u.reference for u in updates} == {b"event %d" % (len(times) - 1)}
    again = run([*times, times[-1] + 30 * DAY])
    assert again[: len(updates)] == updates
    assert len(again) == len(updates)


def test_an_open_episode_takes_its_silence_in() -> None:
    """Errors, then nothing: one episode, not two."""
    times = heartbeat(20 * SECOND, DAY, 3)
    bodies = [b"order 1 paid"] * (len(times) - 5) + [b"fatal: out of memory in the allocator of shard 7"] * 5
    state, _, updates = score(new_state(), block(bodies, times), None, Controls(1.0, 10_000))
    assert len({u.reference for u in updates}) == 1
    _, _, more = score(state, NOTHING, Ticks(times[-1] + 2 * HOUR), Controls(1.0, 10_000))
    assert more
    assert {u.reference for u in more} == {updates[0].reference}
    assert not any(u.silence or u.closed for u in more)
    assert len(more) == 1
    assert "; no event since, for " in more[0].explanation.sentence


def test_an_event_late_for_its_silence_does_not_turn_time_back() -> None:
    state, _, _ = score(new_state(), block([b"beat"] * len(BEATS), BEATS), None, Controls())
    state, _, told_ = score(state, NOTHING, Ticks(BEATS[-1] + HOUR), Controls())
    assert told_
    _, _, updates = score(state, block([b"beat"], [BEATS[-1] + SECOND]), None, Controls())
    assert updates[-1].closed
    assert updates[-1].last_at >= told_[-1].last_at


@pytest.mark.parametrize(
    "times",
    [
        heartbeat(20 * SECOND, 2 * DAY, 1),
        poisson(20 * SECOND, 4 * DAY, 1),
        switching(MINUTE, SECOND // 2, 10 * MINUTE, MINUTE, 2 * DAY, 1),
        [START] * 3000,
        list(range(3000)),
        [0] * 3000,
        [1000 * i for i in range(3000)],
        [START + 1000 * (i % 1000) for i in range(4000)],
    ],
    ids=["heartbeat", "poisson", "switching", "equal", "counter", "none", "seconds", "reversals"],
)
def test_no_silence_where_none_is(times: list[int]) -> None:
    assert [u for u in run(times) if u.kind in {"silence", "rate"} and u.calibrated] == []
