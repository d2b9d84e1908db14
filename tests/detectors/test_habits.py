"""A flood that comes again and again is told as seldom as it comes; what is told of others stays the same."""

import pytest

from detectors import layout as at
from detectors.detector import Controls, EpisodeUpdate, dump, load, new_state, score
from tests.detectors.streams import block, lines, times_of

QUIET = 6_000
BETWEEN = 1_500
FLOOD = 30


def stream(floods: list[bytes], between: int = BETWEEN) -> list[bytes]:
    """A quiet start, then each flood of one line followed by quiet lines."""
    quiet = lines(QUIET + len(floods) * between, 11)
    out = quiet[:QUIET]
    for number, line in enumerate(floods):
        start = QUIET + number * between
        out += [line] * FLOOD + quiet[start : start + between]
    return out


def told(bodies: list[bytes]) -> list[EpisodeUpdate]:
    """The first words of each reported episode."""
    _, _, updates = score(new_state(), block(bodies, times_of(len(bodies))), None, Controls())
    return [update for update in updates if update.revision == 1]


def tells(bodies: list[bytes], word: str) -> int:
    """How many of them quote a word in what they show of the event."""
    return sum(word in update.explanation.event for update in told(bodies))


def test_the_same_flood_soon_again_is_not_told_again() -> None:
    assert tells(stream([b"ALERT disk quota exceeded"] * 6), "quota") == 1


def test_another_flood_is_told_although_floods_came_before() -> None:
    bodies = stream([b"ALERT disk quota exceeded"] * 3 + [b"FATAL kernel oops cpu stuck"])
    assert tells(bodies, "quota") == 1
    assert tells(bodies, "oops") == 1


def test_it_is_told_again_after_as_long_as_the_level_promises() -> None:
    """At 1e-4 the estimate 2 / (s + 1) passes from s = 20,000 events on."""
    flood = [b"ALERT disk quota exceeded"] * 2
    assert tells(stream(flood, between=19_000), "quota") == 1
    assert tells(stream(flood, between=21_000), "quota") == 2


def test_scores_and_episodes_do_not_know_of_it() -> None:
    """Each of them is an episode of results; only the report is missing."""
    bodies = stream([b"ALERT disk quota exceeded"] * 4)
    _, results, _ = score(new_state(), block(bodies, times_of(len(bodies))), None, Controls())
    for number in range(4):
        first = QUIET + number * (BETWEEN + FLOOD)
        episode = results.episode[first : first + FLOOD]
        assert (episode >= 0).sum() >= FLOOD // 2
    assert results.surprisal[QUIET : QUIET + FLOOD].max() >= 13 << 16


@pytest.mark.parametrize("cut", [QUIET + 10, QUIET + FLOOD + 40, QUIET + BETWEEN + FLOOD + 3])
def test_habits_survive_a_save_at_any_place(cut: int) -> None:
    bodies = stream([b"ALERT disk quota exceeded"] * 2)
    times = times_of(len(bodies))
    state, _, first = score(new_state(), block(bodies[:cut], times[:cut]), None, Controls())
    state = load(dump(state))
    _, _, second = score(state, block(bodies[cut:], times[cut:], first=cut), None, Controls())
    opened = [update for update in [*first, *second] if update.revision == 1 and "quota" in update.explanation.event]
    assert len(opened) == 1
    assert state.habits[:, at.A_KEY].any()
