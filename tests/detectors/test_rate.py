"""Rate: what is found, what stays quiet, and how often it is wrong on streams whose law does not change."""

from collections.abc import Callable

import numpy as np
import pytest

from detectors import layout as at
from detectors.counts import evidence, fine_log2
from detectors.detector import Controls, EpisodeUpdate, Results, new_state, score
from detectors.tables import BIT, exact_log2
from tests.detectors.streams import block
from tests.detectors.test_episodes import skewed
from tests.detectors.timed import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    START,
    daily,
    faster,
    heartbeat,
    poisson,
    slower,
    switching,
)


def run(times: list[int], sensitivity: float = 0.5) -> tuple[Results, list[EpisodeUpdate]]:
    _, results, updates = score(new_state(), block(skewed(len(times), 3), times), None, Controls(sensitivity))
    return results, updates


def test_logarithms_are_fine_enough_for_large_counts() -> None:
    for k in (1, 2, 8191, 8192, 8193, 12_345, 1 << 20, (1 << 20) + 1, (1 << 27) - 1):
        assert abs(fine_log2(k) - exact_log2(k)) <= 2


def test_evidence_is_the_ratio_of_two_gamma_poisson_likelihoods() -> None:
    """Of a count n, mean n against mean mu, both of shape r: the terms that differ."""
    for n, mu, r in ((50, 10, 10), (0, 10, 4), (3, 10, 64), (300, 60, 20), (10, 10, 1)):
        want = (n + r) * (exact_log2(mu + r) - exact_log2(n + r))
        want += n * (exact_log2(n) - exact_log2(mu)) if n else 0
        assert abs(evidence(n << 8, mu << 8, r << 8) - want) <= BIT >> 4


def test_evidence_of_counts_without_bound_is_that_of_their_ratio() -> None:
    assert evidence(10**9 << 8, 10**9 << 8, 256 << 8) <= BIT >> 3
    large = evidence(5 * 10**9 << 8, 10**9 << 8, 8 << 8)
    assert abs(large - evidence(5 * 4000 << 8, 4000 << 8, 8 << 8)) <= BIT >> 3


CHANGES: dict[str, tuple[list[int], int, int]] = {
    "five times as many": (
        faster(poisson(SECOND, 2 * DAY, 2), 40 * HOUR, 40 * HOUR + 5 * MINUTE, 5, 1),
        40 * HOUR,
        40 * HOUR + 5 * MINUTE,
    ),
    "a fifth for five minutes": (
        slower(poisson(SECOND, 2 * DAY, 2), 40 * HOUR, 40 * HOUR + 5 * MINUTE, 5, 1),
        40 * HOUR,
        40 * HOUR + 5 * MINUTE,
    ),
    "a fifth for an hour": (
        slower(poisson(20 * SECOND, 14 * DAY, 2), 10 * DAY, 10 * DAY + HOUR, 5, 1),
        10 * DAY,
        10 * DAY + 2 * HOUR,
    ),
    "a weekend like a weekday": (
        faster(daily(4 * SECOND, 80 * SECOND, 28 * DAY, 3), 26 * DAY + 10 * HOUR, 26 * DAY + 14 * HOUR, 20, 1),
        26 * DAY + 10 * HOUR,
        26 * DAY + 14 * HOUR,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_once(name: str) -> None:
    """The broken week only at p = 10^-3: in its fourth week a stream still remembers how odd its first days and nights were."""
    times, start, end = CHANGES[name]
    _, updates = run(times, 0.75 if name == "a weekend like a weekday" else 0.5)
    found = [u for u in updates if u.kind in {"rate", "silence"} and start - HOUR <= u.started_at - START < end]
    assert len({u.reference for u in found}) == 1
    assert found[-1].closed


STATIONARY: dict[str, Callable[[], list[int]]] = {
    "poisson": lambda: poisson(2 * SECOND, 4 * DAY, 5),
    "slow poisson": lambda: poisson(10 * MINUTE, 400 * DAY, 5),
    "switching": lambda: switching(4 * SECOND, SECOND // 5, 10 * MINUTE, 2 * MINUTE, 2 * DAY, 5),
    "clusters": lambda: switching(5 * MINUTE, SECOND // 10, 10 * MINUTE, 2 * SECOND, 30 * DAY, 5),
    "day and night": lambda: daily(10 * SECOND, 200 * SECOND, 28 * DAY, 5),
    "heartbeat": lambda: heartbeat(20 * SECOND, 10 * DAY, 5),
}


@pytest.mark.parametrize("name", STATIONARY)
def test_time_is_wrong_at_most_at_its_nominal_rate(name: str) -> None:
    """Starts of what rate or silence says, with p at most .01 and .001 (after 64 events above), and what is reported of them."""
    times = STATIONARY[name]()
    results, updates = run(times)
    said = results.channels[:, [at.CH_RATE, at.CH_SILENCE]].max(axis=1) * at.TIME_SCALE
    for bits, rate in ((exact_log2(100), 100), (exact_log2(1000), 1000)):
        low = np.nonzero(said >= bits)[0]
        assert int((np.diff(low, prepend=-65) > 64).sum()) <= max(len(times) // rate, 3)
    assert sum(u.revision == 1 and u.kind in {"rate", "silence"} for u in updates) <= 2


def test_a_flood_of_a_fast_stream_is_one_episode() -> None:
    """8,192 events of tokens are a new normal; a rate becomes normal with time, and ends when it ends."""
    times = faster(poisson(100, 12 * HOUR, 2), 10 * HOUR, 10 * HOUR + 10 * MINUTE, 5, 1)
    _, updates = run(times)
    found = {u.reference for u in updates if u.kind == "rate"}
    assert len(found) == 1
    floods = [u for u in updates if u.reference in found]
    assert floods[-1].closed
    assert floods[-1].count > 20_000
    assert floods[-1].last_at - START < 10 * HOUR + 12 * MINUTE


def test_rate_and_silence_rank_no_event() -> None:
    """An event of a flood is as usual as it ever was; the span is not, and has its own p."""
    times, *_ = CHANGES["five times as many"]
    results, _ = run(times)
    assert results.channels[:, at.CH_RATE].max() > 0
    assert (results.score == results.channels[:, : at.CH_RATE].max(axis=1)).all()
    assert (results.surprisal >= results.channels[:, at.CH_RATE] * at.TIME_SCALE).all()
