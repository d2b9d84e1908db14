"""The number channel: what it reads, what it finds in a series and says of it, and what it must not be moved by."""

import json
import re
from collections.abc import Callable

import numpy as np
import pytest

from detectors import layout as at
from detectors.detector import CHANNELS, Controls, EpisodeUpdate, Results, State, dump, load, new_state, score
from detectors.evidence import splitmix
from detectors.fields import digits_of, in_unit
from detectors.number import square_root
from detectors.objects import read_number
from tests.detectors.streams import WORDS, block, lines, metric, times_of, values

N, AT, LONG = 4000, 3000, 150
NUMBER = CHANNELS.index("number")
LOUD = Controls(0.7, 1000)


def told(
    bodies: list[bytes], minutes: int = 0, controls: Controls = LOUD
) -> tuple[State, Results, list[EpisodeUpdate]]:
    """What is said of a stream, one event a second or every so many minutes."""
    times = [1_700_000_000_000 + 60_000 * minutes * i for i in range(len(bodies))] if minutes else times_of(len(bodies))
    return score(new_state(), block(bodies, times), None, controls)


@pytest.mark.parametrize(
    ("text", "mantissa", "exponent"),
    [
        ("0", 0, 0),
        ("-0.0", 0, 0),
        ("93.1", 931, -1),
        ("-12e+3", -12, 3),
        ("0.00025", 25, -5),
        ("1e400", 1, 400),
        ("1e99999", 1, 400),
        ("5E-999999", 5, -400),
        ("9" * 30, 10**18 - 1, 12),
        ("0." + "1" * 30, int("1" * 18), -18),
        (str(2**63), int(str(2**63)[:18]), 1),
    ],
)
def test_numbers_are_read_exactly(text: str, mantissa: int, exponent: int) -> None:
    body = np.frombuffer(text.encode(), np.uint8)
    assert read_number(body, 0, len(body))[2:] == (mantissa, exponent)


def test_a_unit_holds_any_number() -> None:
    """14 digits of the first value; a larger one makes the unit coarser, but what is beyond a million widths is cut."""
    state = new_state()
    state.numbers[0, at.N_SHIFT] = at.NO_SHIFT
    assert in_unit(state.numbers, 0, 931, -1) == 93_100_000_000_000
    assert in_unit(state.numbers, 0, -5, -20) == 0
    assert in_unit(state.numbers, 0, 1, 400) == 10**13
    state.numbers[0, at.N_COUNT] = at.NUMBER_SETTLED
    assert in_unit(state.numbers, 0, -(10**18) + 1, 400) == -(10**16)
    state.numbers[0, at.N_WIDTH] = 10**12
    assert in_unit(state.numbers, 0, 12345, 400) == 12345 * 10**9
    assert state.numbers[0, at.N_WIDTH] == 10**8
    assert [digits_of(v) for v in (0, 1, 9, 10, 10**18 - 1, 10**18, 2**63 - 1)] == [0, 1, 1, 2, 18, 19, 19]


def test_the_root_is_exact() -> None:
    for value in (0, 1, 2, 3, 4, 15, 16, 17, 10**12 - 1, 10**12, 2**48, 2**61 + 12345, 2**62 - 1):
        root = square_root(value)
        assert root * root <= value < (root + 1) * (root + 1)


def shifted(v: list[int]) -> list[object]:
    return [x + 150 * (AT <= i < AT + LONG) for i, x in enumerate(v)]


def spike(v: list[int]) -> list[object]:
    return [x + 900 * (i == AT) for i, x in enumerate(v)]


def stuck(v: list[int]) -> list[object]:
    return [v[AT] if AT <= i < AT + LONG else x for i, x in enumerate(v)]


def restless(v: list[int]) -> list[object]:
    return [500 + 5 * (x - 500) if AT <= i < AT + LONG else x for i, x in enumerate(v)]


def stopped(v: list[int]) -> list[object]:
    """A counter of requests that stops."""
    total, out = 10**9, list[object]()
    for i, x in enumerate(v):
        total += 0 if AT <= i < AT + LONG else x
        out.append(total)
    return out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (shifted, r"`cpu\.load` (was \d+\.5; usually \d+ to \d+|is about \d+ (now, after|at this time))"),
        (spike, r"`cpu\.load` (was \d+\.5; usually \d+ to \d+|is about \d+ now, after)"),
        (stuck, r"`cpu\.load` was \d+\.5 in \d+ events in a row; usually (at most \d+|never twice) in a row"),
        (restless, r"`cpu\.load` (was|varies more than usual|is about)"),
        (stopped, r"`cpu\.load` (grew by 0 in \d+ events in a row; usually|grows by about|grew by)"),
    ],
)
def test_changes_of_a_metric_are_found_and_told(change: Callable[[list[int]], list[object]], says: str) -> None:
    _, results, updates = told(metric([f"{v}.5" for v in change(values(N, 3))]))
    assert updates
    assert {u.kind for u in updates} == {"number"}
    starts = {int(u.reference.split()[1]) for u in updates}
    assert all(AT - 64 <= s <= AT + LONG for s in starts)
    assert re.match(says, updates[0].explanation.sentence), updates[0].explanation.sentence
    assert results.channels[AT : AT + LONG + 10, NUMBER].max() > results.channels[500:AT, NUMBER].max()


def test_an_hour_that_is_unlike_the_same_hour_of_other_days_is_found() -> None:
    """A day's curve with the night's value at noon: a usual value, that never came at that time."""
    day = [100 + (abs(t - 48) < 24) * 50 for t in range(96)]
    noise = [int(x) % 5 for x in splitmix(5, 96 * 30)]
    series = [day[i % 96] + noise[i] for i in range(96 * 30)]
    at_ = 96 * 25 + 30
    series[at_ : at_ + 30] = [100 + x for x in noise[at_ : at_ + 30]]
    _, results, _ = told(metric(series), minutes=15)
    number = results.channels[:, NUMBER]
    assert number[at_ : at_ + 40].max() > number[96 * 8 : at_].max()


@pytest.mark.parametrize("seed", [1, 2])
def test_steady_metrics_have_no_findings(seed: int) -> None:
    total = np.cumsum(values(N, seed)).tolist()
    few = [int(x) % 4 for x in splitmix(seed, N)]
    for series in (values(N, seed), total, few, [7] * N):
        assert told(metric(series), controls=Controls())[2] == []


def test_the_unit_of_a_number_is_not_its_content() -> None:
    """Bytes or megabytes, the same series has the same scores."""
    series = shifted(values(1500, 4))
    want = told(metric(series))[1].channels[:, NUMBER]
    for spelt in ([f"{v}e9" for v in series], [f"{v}e-30" for v in series], [f"{v}.000" for v in series]):
        assert told(metric(spelt))[1].channels[:, NUMBER].tolist() == want.tolist()


def test_a_freak_value_does_not_make_a_field_blind() -> None:
    series = shifted(values(N, 3))
    for place in (0, 1, 30, 700):
        bodies = metric([*series[:place], "-1e300", *series[place + 1 :]])
        _, results, _ = told(bodies)
        number = results.channels[:, NUMBER]
        assert number[AT : AT + LONG].max() > number[2000:AT].max(), place


def test_numbers_with_changing_words_count_only_where_they_move_like_a_series() -> None:
    draws = splitmix(9, 2 * N).reshape(N, 2).tolist()
    words = [f"{WORDS[a % 7]} {WORDS[b % 5]}" for a, b in draws]
    flows = [json.dumps({"m": w, "bytes": a % 10_000}).encode() for w, (a, _) in zip(words, draws, strict=True)]
    assert told(flows)[1].channels[:, NUMBER].max() == 0
    walk = [(n, 40 * v) for n, v in enumerate(np.cumsum([b % 3 - 1 for _, b in draws]).tolist())]
    loads = [json.dumps({"m": w, "load": 500 + v}).encode() for w, (_, v) in zip(words, walk, strict=True)]
    loads[AT:] = [b.replace(b'"load": ', b'"load": 9') for b in loads[AT:]]
    assert told(loads)[1].channels[AT : AT + 10, NUMBER].max() > 0


def test_fields_that_come_and_go_do_not_take_the_rows_of_those_that_stay() -> None:
    series = values(N, 3)
    bodies = [b'{"cpu": %d, "k%d": 1}' % (v, i) if i % 2 else b'{"cpu": %d}' % v for i, v in enumerate(series)]
    bodies = [b'{"cpu": %d}' % v for v in series[:500]] + bodies[500:]
    state = told(bodies)[0]
    assert state.numbers[:, at.N_SEEN].max() >= N - 600
    assert (state.numbers[:, at.N_KEY] != 0).sum() <= at.FIELDS


def test_words_have_no_numbers() -> None:
    assert told(lines(500, 3))[1].channels[:, NUMBER].max() == 0


def test_any_split_and_restart_of_a_metric_says_the_same() -> None:
    bodies = metric(shifted(values(N, 6)))
    times = times_of(N)
    _, want, _ = told(bodies)
    state, rows = new_state(), []
    for start in range(0, N, 777):
        state = load(dump(state))
        state, results, _ = score(state, block(bodies[start : start + 777], times[start : start + 777]), None, LOUD)
        rows.append(results.rows)
    assert np.concatenate(rows).tobytes() == want.rows.tobytes()
