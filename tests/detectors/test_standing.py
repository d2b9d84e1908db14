"""How a stream stands: warm-up as it goes, a rate, and drift from a frozen anchor."""

from detectors import layout as at
from detectors.detector import Controls, dump, load, new_state, score
from detectors.standing import drift, moment, reset_anchor, standing
from detectors.state import State
from detectors.tables import BIT
from tests.detectors.streams import block, lines, times_of

KINDS = [b"order %d accepted", b"cache hit for key %d", b"payment %d settled in full", b"lease %d renewed by its owner"]


def mixture(n: int, shares: tuple[int, int, int, int], first: int = 0) -> list[bytes]:
    """n lines of four forms, of ten `shares` each in turn."""
    turns = [kind for kind, share in enumerate(shares) for _ in range(share)]
    return [KINDS[turns[(7 * i) % len(turns)]] % (first + i) for i in range(n)]


def after(bodies: list[bytes], state: State | None = None, first: int = 0) -> State:
    times = times_of(first + len(bodies))[first:]
    return score(state or new_state(), block(bodies, times, None, first), None, Controls())[0]


def test_warm_up_and_rate_are_told_as_they_are() -> None:
    new = standing(new_state())
    assert (new.events, new.reference_n, new.per_day, new.anchor_n, new.drift) == (0, 0, 0, 0, None)
    part = standing(after(lines(700, 3)))
    assert part.events == 700
    assert 400 < part.reference_n < 700
    assert 0.9 * 86_400 < part.per_day < 1.1 * 86_400
    assert part.last_at == max(times_of(700))
    assert standing(after(lines(2_000, 3))).reference_n >= at.CALIBRATED_FROM


def test_there_is_something_new_each_minute_and_each_tenth_of_the_warm_up() -> None:
    state, moments = new_state(), set()
    for i in range(0, 1_200, 20):
        state = after(lines(20, i), state, i)
        moments.add(moment(state))
    assert 1_200 // 60 <= len(moments) <= 1_200 // 60 + 13


def test_a_stream_that_stays_as_it_was_does_not_drift() -> None:
    state = after(mixture(6_000, (4, 3, 2, 1)))
    assert int(state.head[at.H_ANCHOR_N]) == at.ANCHOR_EVENTS
    found = drift(state)
    assert found is not None
    assert found < BIT // 10


def test_slow_drift_shows_although_nothing_is_reported_and_ends_with_a_new_anchor() -> None:
    state, first = after(mixture(2_000, (4, 3, 2, 1))), 2_000
    seen = []
    for shares in ((4, 3, 2, 1), (3, 3, 2, 2), (3, 2, 2, 3), (2, 2, 2, 4), (1, 1, 2, 6)):
        state = after(mixture(3_000, shares, first), state, first)
        first += 3_000
        seen.append(drift(state) or 0)
    assert seen == sorted(seen)
    assert seen[-1] > BIT // 2  # .93 bits by the shares themselves
    kept = load(dump(state))
    assert standing(kept) == standing(state)
    reset_anchor(kept)
    assert (drift(kept) or 0) < BIT // 20
    assert (drift(after(mixture(3_000, (4, 3, 2, 1), first), kept, first)) or 0) > BIT // 4
    small = after(mixture(900, (4, 3, 2, 1)))
    reset_anchor(small)
    assert standing(small).anchor_n == 0
    assert standing(after(mixture(1_500, (1, 1, 1, 1), 900), small, 900)).anchor_n == at.ANCHOR_EVENTS
