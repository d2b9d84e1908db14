"""Rules of episodes: warm-up, budget, adoption of a new normal, false starts at their nominal rate."""

import numpy as np

from detectors import layout as at
from detectors.detector import Controls, levels, new_state, score, severity
from detectors.evidence import splitmix
from detectors.tables import BIT, exact_log2
from tests.detectors.streams import block, lines, times_of


def skewed(n: int, seed: int) -> list[bytes]:
    """Stationary lines of 200 kinds, the rare ones seen once in some thousand events."""
    draws = splitmix(seed, 2 * n).reshape(n, 2)
    kinds = [200 * (int(a) % 65536) ** 4 // 65536**4 for a in draws[:, 0]]
    return [
        b"unit %03d state s%d code %d" % (k, k % 7, b % 10) for k, b in zip(kinds, draws[:, 1].tolist(), strict=True)
    ]


def test_false_starts_come_at_their_nominal_rate() -> None:
    """Starts (after 64 events above the level) with p <= .01 and .001 among 60,000 stationary events, and what is reported."""
    n = 60_000
    _, results, updates = score(new_state(), block(skewed(n, 21), times_of(n)), None, Controls())
    for bits, most in ((exact_log2(100), 0.012), (exact_log2(1000), 0.0013)):
        low = np.nonzero(results.surprisal[1000:] >= bits)[0]
        starts = int((np.diff(low, prepend=-65) > 64).sum())
        assert starts <= most * n
    assert (results.surprisal[1000:] >= exact_log2(100)).sum() > n // 2000
    assert sum(u.revision == 1 for u in updates) <= 2 * n // 10_000


def test_before_fifty_scores_nothing_is_found_and_before_a_thousand_it_is_marked() -> None:
    early = [b"steady line %d" % (i % 3) for i in range(700)]
    early[40] = b"out of all proportion: never seen before"
    early[600:660] = [b'{"fire": "in the engine room"}'] * 60
    _, results, updates = score(new_state(), block(early, times_of(700)), None, Controls(0.9, 10_000))
    assert (results.episode[:64] == -1).all()
    assert updates
    assert not any(u.calibrated for u in updates)
    assert all(u.reference_n < 1000 for u in updates)


def test_a_flood_that_lasts_becomes_the_new_normal_once() -> None:
    n = at.ADOPT_AFTER + 12_000
    bodies = lines(3000, 31) + [b"heartbeat lost on node %d, retrying" % (i % 3) for i in range(n)]
    _, _, updates = score(new_state(), block(bodies, times_of(len(bodies))), None, Controls())
    floods = [u for u in updates if u.closed and "new normal" in u.explanation.sentence]
    assert len({u.reference for u in updates}) <= 2
    assert len(floods) <= 1
    if not floods:
        assert any(u.closed and u.index < 3000 + at.ADOPT_AFTER for u in updates)


def test_the_slider_is_log_linear() -> None:
    for sensitivity, rate in ((0, 10**6), (0.25, 10**5), (0.5, 10**4), (0.75, 10**3), (1, 100)):
        assert abs(levels(Controls(sensitivity))[0] - exact_log2(rate)) <= 2


def test_a_budget_of_nothing_reports_nothing() -> None:
    bodies = lines(3000, 31)
    bodies[2500:2600] = [b"ERROR all is lost"] * 100
    assert score(new_state(), block(bodies, times_of(3000)), None, Controls(1.0))[2]
    assert score(new_state(), block(bodies, times_of(3000)), None, Controls(1.0, 0))[2] == []


def test_the_budget_tightens_with_the_streams_own_rate() -> None:
    """Ten a day at 86.4 million events a day: nothing above 1.2e-7 is reported."""
    n = 4000
    bodies = lines(n, 31)
    slow = score(new_state(), block(bodies, [86_400_000 * i // 100 for i in range(n)]), None, Controls())[0]
    fast = score(new_state(), block(bodies, list(range(n))), None, Controls())[0]
    assert abs(int(slow.head[at.H_RATE_BITS]) - exact_log2(100)) < BIT // 8
    assert (
        abs(int(fast.head[at.H_RATE_BITS]) - exact_log2(n)) < BIT // 8
    )  # a stream younger than a day counts as one day old


def test_severity_is_a_band_of_p() -> None:
    got = [severity(exact_log2(10**e)) for e in (2, 3, 4, 5, 6, 7)]
    assert got == ["low", "low", "medium", "high", "critical", "critical"]
