"""Which numbers of a text line are tokens of the burst channel: those that are a category in their context."""

from collections.abc import Callable

import numpy as np
import pytest

from detectors.burst import is_category
from detectors.detector import Controls, new_state, score
from detectors.evidence import splitmix
from detectors.layout import CONTEXTS
from tests.detectors.streams import block, times_of

N = 4000
DRAWS = [int(d) for d in splitmix(9, N)]
SLOTS: dict[str, tuple[Callable[[int], int], bool]] = {
    "status codes": (lambda i: [200, 200, 200, 304, 404, 500][DRAWS[i] % 6], True),
    "levels": (lambda i: DRAWS[i] % 8, True),
    "always the same": (lambda i: 7 + 0 * i, True),
    "a clock": (lambda i: i // 60, False),
    "a date, midnight after midnight": (lambda i: 23 + i // 1000, False),
    "identifiers": (lambda i: DRAWS[i], False),
    "process ids of sessions": (lambda i: 100 + DRAWS[i // 20] % 800, False),
    "sizes": (lambda i: DRAWS[i] % 1000, False),
}


@pytest.mark.parametrize("name", SLOTS)
def test_a_category_returns_to_its_few_values(name: str) -> None:
    value, expected = SLOTS[name]
    contexts = np.zeros((CONTEXTS, 2), np.int64)
    verdicts = [bool(is_category(contexts, 5, value(i) * 0x9E3779B1 & 0xFFFFFFFF)) for i in range(N)]
    assert verdicts[-1] is expected
    if not expected:
        assert not any(verdicts[N // 2 :])


def test_a_new_value_of_a_category_is_a_token_at_once() -> None:
    contexts = np.zeros((CONTEXTS, 2), np.int64)
    for i in range(N):
        is_category(contexts, 5, DRAWS[i] % 6 << 8)
    assert is_category(contexts, 5, 60 << 8)


def test_contexts_are_learned_apart() -> None:
    contexts = np.zeros((CONTEXTS, 2), np.int64)
    for i in range(N):
        is_category(contexts, 5, DRAWS[i] & 0xFFFFFFFF)
        is_category(contexts, 6, DRAWS[i] % 4 << 8)
    assert not is_category(contexts, 5, 1 << 8)
    assert is_category(contexts, 6, 1 << 8)


def test_a_session_of_one_process_is_no_burst() -> None:
    """Lines of sessions, each under a number of its own, in a usual order: the number ties them, and tells nothing."""
    steps = [b"begin", b"read row", b"write row", b"commit"]
    bodies = [b"app [%d] INFO %s" % (100 + DRAWS[i // 20] % 800, steps[i % 4]) for i in range(N)]
    _, results, updates = score(new_state(), block(bodies, times_of(N)), None, Controls())
    assert updates == []
    assert int(results.channels[1000:, 0].max()) < 1 << 15
