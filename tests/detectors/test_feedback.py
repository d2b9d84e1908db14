"""Feedback: what a person called normal is not told again in that stream, all else is; what was confirmed never becomes normal."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from detectors import layout as at
from detectors.detector import Controls, EpisodeUpdate, Results, State, Ticks, dump, load, new_state, score
from detectors.feedback import Pattern, Verdict, teach
from detectors.feedback import taught as taught_of
from detectors.state import dump_raw
from tests.detectors.streams import block, lines, times_of, values
from tests.detectors.timed import HOUR, MINUTE, SECOND, heartbeat

FLOOD = [b"upstream timed out while connecting to backend %d" % (i % 3) for i in range(60)]
LONGER = FLOOD * 5
"""Of more than twice the bits: the same again would be told as seldom as it comes (habits.py), whatever a person said."""
OTHER = [b"segmentation fault in renderer thread %d, restarting" % (i % 3) for i in range(60)]


def told(
    bodies: Sequence[bytes], state: State | None = None, first: int = 0, controls: Controls | None = None
) -> tuple[State, Results, list[EpisodeUpdate]]:
    """The next events of a stream, one a second from event `first` on."""
    times = times_of(first + len(bodies))[first:]
    return score(state or new_state(), block(bodies, times, None, first), None, controls or Controls())


def said_of(updates: Sequence[EpisodeUpdate]) -> dict[bytes, tuple[Pattern, ...]]:
    """What each episode was told for, as its last revision says."""
    return {u.reference: u.patterns for u in updates}


def after(bodies: Sequence[bytes], verdict: Verdict | None) -> tuple[State, dict[bytes, tuple[Pattern, ...]]]:
    """The state after a stream and 100 quiet events, with a verdict on all that was told."""
    state, _, updates = told([*bodies, *lines(100, 9)])
    known = said_of(updates)
    assert known
    if verdict is not None:
        for patterns in known.values():
            assert patterns
            teach(state, patterns, verdict)
    return state, known


START = [*lines(3_000, 5), *FLOOD]
THEN = len(START) + 100


def test_a_flood_that_was_called_normal_is_not_told_again_and_another_is() -> None:
    quiet = lines(1_500, 6)
    plain, _ = after(START, None)
    taught, _ = after(START, "normal")
    rows = [told(quiet, state, THEN)[1] for state in (plain, taught)]
    assert rows[0].score.tobytes() == rows[1].score.tobytes()  # what was said moves no score by itself
    later = THEN + len(quiet)
    assert told([*LONGER, *lines(70, 7)], plain, later)[2]
    assert told([*LONGER, *lines(70, 7)], taught, later)[2] == []
    found = told([*OTHER, *lines(70, 8)], taught, later + len(LONGER) + 70)[2]
    assert found
    assert all("renderer" in u.explanation.event for u in found)


def test_another_stream_still_tells_it() -> None:
    after(START, "normal")
    fresh, _ = after(START, None)
    assert told([*lines(1_500, 6), *LONGER], fresh, THEN)[2]


def test_a_real_fault_within_what_is_normal_is_told_for_itself() -> None:
    taught, _ = after(START, "normal")
    both = [body for pair in zip(FLOOD, OTHER, strict=True) for body in pair]
    found = told([*lines(1_500, 6), *FLOOD[:20], *both, *lines(70, 8)], taught, THEN)[2]
    assert found
    assert all("renderer" in u.explanation.event for u in found)


def test_an_odd_line_that_was_called_normal_is_not_told_again() -> None:
    loud = Controls(0.8, 1_000)
    odd = [b"panic: index out of range in pricing rule %d: dump follows" % i for i in range(4)]
    state, _, updates = told([*lines(3_000, 5), *odd[:2], *lines(100, 9)], controls=loud)
    again = load(dump(state))
    known = said_of(updates)
    assert known
    for patterns in known.values():
        teach(state, patterns, "normal")
    rest = [*lines(300, 6), *odd[2:], *lines(100, 7)]
    assert told(rest, again, 3_102, loud)[2]
    assert told(rest, state, 3_102, loud)[2] == []


def spiked(n: int, seed: int, far: int) -> list[bytes]:
    """A metric with a spike in the middle that lasts eight events."""
    series = values(n, seed)
    series[n // 2 : n // 2 + 8] = [series[n // 2] + far] * 8
    return [json.dumps({"load": value}).encode() for value in series]


def test_a_number_is_normal_up_to_where_it_went() -> None:
    state, _, updates = told(spiked(6_000, 3, 900))
    assert {u.kind for u in updates} == {"number"}
    for patterns in said_of(updates).values():
        teach(state, patterns, "normal")
    same, further = load(dump(state)), load(dump(state))
    assert told(spiked(2_000, 4, 900), same, 6_000)[2] == []
    assert told(spiked(2_000, 4, 20_000), further, 6_000)[2]


def silent(minutes: int, state: State, first_ms: int) -> list[EpisodeUpdate]:
    """What is told of a heartbeat of 20 s for ten hours with one silence in the middle."""
    times = [t + first_ms for t in heartbeat(20 * SECOND, 10 * HOUR, 3)]
    begin = times[0] + 5 * HOUR
    times = [t for t in times if not begin <= t < begin + minutes * MINUTE]
    return score(state, block([b"beat"] * len(times), times), Ticks(times[-1]), Controls())[2]


def test_a_silence_is_normal_up_to_its_length() -> None:
    state = new_state()
    first = silent(12, state, 0)
    assert {u.kind for u in first} == {"silence"}
    assert len(first[-1].patterns) == 1
    teach(state, first[-1].patterns, "normal")
    same, longer = load(dump(state)), load(dump(state))
    assert silent(12, same, 10 * HOUR) == []
    assert {u.kind for u in silent(40, longer, 10 * HOUR)} == {"silence"}


def test_a_rate_is_normal_up_to_its_ratio() -> None:
    def busy(state: State, first_ms: int, times_as_many: int) -> list[EpisodeUpdate]:
        usual = heartbeat(2 * SECOND, 6 * HOUR, 3)
        begin = usual[0] + 4 * HOUR
        extra = [begin + i * (2 * SECOND // times_as_many) for i in range(150 * times_as_many)]
        times = sorted(t + first_ms for t in [*usual, *extra])
        return score(state, block([b"beat"] * len(times), times), None, Controls())[2]

    state = new_state()
    updates = busy(state, 0, 5)
    assert {u.kind for u in updates} == {"rate"}
    for patterns in said_of(updates).values():
        teach(state, patterns, "normal")
    same, more = load(dump(state)), load(dump(state))
    assert busy(same, 6 * HOUR, 5) == []
    assert busy(more, 6 * HOUR, 40)


def lasting(n: int) -> list[bytes]:
    return [b"heartbeat lost on node %d, retrying" % (i % 3) for i in range(n)]


def test_what_was_confirmed_never_becomes_normal() -> None:
    begun = [*lines(3_000, 31), *lasting(400)]
    state, _, updates = told(begun)
    assert updates
    assert not updates[-1].closed
    adopting = load(dump(state))
    teach(state, updates[-1].patterns, "confirmed")
    _, _, usual = told(lasting(at.ADOPT_AFTER + 3_000), adopting, len(begun))
    _, _, confirmed = told(lasting(at.ADOPT_AFTER + 3_000), state, len(begun))
    assert any(u.closed for u in usual)
    assert not any("new normal" in u.explanation.sentence for u in confirmed)
    assert int(state.head[at.H_LONG]) <= int(adopting.head[at.H_LONG])


def test_a_verdict_is_kept_replaced_and_taken_back() -> None:
    state = new_state()
    teach(state, [(5, 10), (6, 0)], "normal")
    teach(state, [(5, 3)], "normal")
    assert taught_of(state) == [(6, 0, at.NORMAL), (5, 10, at.NORMAL)]
    teach(state, [(5, 3)], "confirmed")
    assert taught_of(state)[-1] == (5, 3, at.CONFIRMED)
    before = dump_raw(state)
    teach(state, [(5, 3)], "confirmed")
    assert dump_raw(state) == before == dump_raw(load(dump(state)))
    teach(state, [(5, 3), (6, 0), (7, 0)], "none")
    assert dump_raw(state) == dump_raw(new_state())


def test_the_table_is_bounded_and_forgets_the_oldest() -> None:
    state = new_state()
    for key in range(1, 3 * at.TAUGHT):
        teach(state, [(key, 0)], "normal")
    assert int(state.head[at.H_TAUGHT_N]) == at.TAUGHT
    assert [key for key, _, _ in taught_of(state)] == list(range(2 * at.TAUGHT, 3 * at.TAUGHT))


@pytest.mark.parametrize("seed", range(3))
def test_a_taught_stream_says_the_same_however_it_is_cut(seed: int) -> None:
    taught, _ = after(START, "normal")
    kept = dump(taught)
    rest = [*lines(400, 6), *FLOOD, *lines(80, 7), *OTHER, *lines(100, 8)]
    whole, rows, updates = told(rest, load(kept), THEN)
    state, cuts = load(kept), sorted(np.random.default_rng(seed).integers(0, len(rest), 6).tolist())
    parts, more = [], []
    for start, stop in zip([0, *cuts], [*cuts, len(rest)], strict=True):
        state, results, found = told(rest[start:stop], load(dump(state)), THEN + start)
        parts.append(results.score)
        more += [EpisodeUpdate(**{**vars(u), "index": u.index + start}) for u in found]
    assert np.concatenate(parts).tobytes() == rows.score.tobytes()
    assert more == updates
    assert dump_raw(state) == dump_raw(whole)
