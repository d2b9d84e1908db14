"""What every channel must do: stay silent on a steady stream, find its own kind, and say why."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from detectors.detector import BIT, CHANNELS, Controls, EpisodeUpdate, new_state, score
from tests.detectors.streams import block, lines, metric, objects, times_of, values

N = 8000
AT = 7500


def burst(steady: list[bytes]) -> list[bytes]:
    return [*steady[:AT], *[b"12:00:00 ERROR connection refused by database primary"] * 100, *steady[AT + 100 :]]


def template(steady: list[bytes]) -> list[bytes]:
    return [
        *steady[:AT],
        b"kernel panic: not syncing, fatal exception in interrupt handler of cpu three",
        *steady[AT + 1 :],
    ]


def value(steady: list[bytes]) -> list[bytes]:
    """A bracket where there never was one, in a line that is usual otherwise."""
    return [*steady[:AT], steady[AT].replace(b" in ", b" [in] "), *steady[AT + 1 :]]


def session(steady: list[bytes]) -> list[bytes]:
    """Events of four lines each, of which one lacks its last two."""
    ends = (b"allocated", b"received", b"verified", b"closed")
    events = [b"\n".join(b"block %d %s" % (i, end) for end in ends) for i in range(len(steady))]
    return [*events[:AT], b"\n".join(events[AT].split(b"\n")[:2]), *events[AT + 1 :]]


def number(steady: list[bytes]) -> list[bytes]:
    """A metric's value, some ten widths up from one event to the next."""
    return metric([v + 150 * (AT <= i < AT + 100) for i, v in enumerate(values(len(steady), 11))])


ALIKE = {"template": {"template", "value"}}
"""A line of a new form has new words in old places too; which of both leads is no promise."""
OF_TIME = {"rate", "silence"}
"""They say nothing of an event's content: test_rate.py and test_silence.py have their cases."""
SETTING = Controls(0.6)
"""A little above the default: these lines are noisy by themselves, with a rare word in one of fifty."""
CASES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "burst": burst,
    "template": template,
    "value": value,
    "session": session,
    "number": number,
}


def run(bodies: list[bytes], controls: Controls | None = None) -> list[EpisodeUpdate]:
    return score(new_state(), block(bodies, times_of(len(bodies))), None, controls or Controls())[2]


def test_every_channel_has_its_case() -> None:
    assert set(CASES) | OF_TIME == set(CHANNELS)


@pytest.mark.parametrize("make", [lines, objects])
def test_a_steady_stream_has_no_findings(make: Callable[[int, int], list[bytes]]) -> None:
    assert run(make(N, 11)) == []


@pytest.mark.parametrize("name", CASES)
def test_a_channel_finds_its_kind(name: str) -> None:
    updates = run(CASES[name](lines(N, 11)), SETTING)
    assert updates, "not found"
    first, last = updates[0], updates[-1]
    assert int(first.reference.split()[1]) in range(AT - 64, AT + 20)
    assert last.kind in ALIKE.get(name, {name})  # a flood of a new line begins as a new line
    assert first.calibrated
    assert 0 < last.channels[name] <= last.score_bits
    assert first.event_type == ("json" if name == "number" else "text")
    assert updates[-1].closed
    assert len({u.reference for u in updates}) == 1


@pytest.mark.parametrize("name", CASES)
def test_a_finding_is_explained(name: str) -> None:
    updates = run(CASES[name](lines(N, 11)), SETTING)
    assert updates
    for update in updates:
        told = update.explanation
        assert told.sentence.endswith(".")
        assert told.event.encode() in CASES[name](lines(N, 11))
        assert told.nearest_normal is not None
        assert told.tokens
        assert all(t.bits >= BIT for t in told.tokens)
        m = update.metrics
        assert 0 < m.window_bytes < m.both_bytes
        assert m.window_raw_bytes > m.window_bytes
        assert 0 < m.permutation_p <= BIT
        assert 0 < m.entropy < 8 * BIT
        assert m.library.startswith("zstd ")


def test_a_burst_counts_once_and_grows() -> None:
    updates = run(burst(lines(N, 11)))
    assert [u.closed for u in updates] == [False] * (len(updates) - 1) + [True]
    assert updates[-1].count >= 90
    assert all(b.count >= 2 * a.count for a, b in pairwise(updates[:-1]))
    assert "connection" in updates[0].explanation.event


def test_json_events_are_named_by_their_keys() -> None:
    bodies = objects(N, 11)
    bodies[AT : AT + 60] = [
        b'{"level":"fatal","message":"out of memory","http":{"status":500,"ms":9,"ok":false},"tags":[]}'
    ] * 60
    updates = run(bodies)
    assert updates[0].event_type == "json"
    assert any(": " in t.token for u in updates for t in u.explanation.tokens)
