"""A partition that has work and does none for long is stuck; one that has none, or moves however slowly, is not."""

import pytest

from pipeline.liveness import Watch

Places = dict[int, tuple[int, int]]


def said(watch: Watch, *seen: tuple[float, Places]) -> str:
    last = ""
    for now, places in seen:
        last = watch.stuck(places, now)
    return last


def test_work_that_is_not_done_for_all_of_the_patience_is_stuck() -> None:
    watch = Watch(300)
    assert said(watch, (0, {0: (5, 9), 3: (1, 2)}), (299, {0: (5, 9), 3: (2, 4)})) == ""
    assert watch.stuck({0: (5, 9), 3: (2, 4)}, 300) == (
        "nothing moved for 300 s, and there is more to read: partition 0"
    )
    assert watch.stuck({0: (6, 9), 3: (2, 4)}, 400) == ""


@pytest.mark.parametrize(
    "then",
    [
        {0: (6, 9)},  # it moved
        {0: (9, 9)},  # there is nothing to do
        {},  # it is another's
    ],
)
def test_what_moves_or_has_nothing_to_do_is_not(then: Places) -> None:
    assert said(Watch(300), (0, {0: (5, 9)}), (200, then), (301, then or {0: (5, 9)})) == ""


def test_it_begins_anew_when_there_was_nothing_to_do() -> None:
    assert said(Watch(300), (0, {0: (5, 9)}), (250, {0: (9, 9)}), (500, {0: (9, 12)})) == ""
    assert "partition 0" in said(Watch(300), (0, {0: (9, 9)}), (10, {0: (9, 12)}), (400, {0: (9, 12)}))
