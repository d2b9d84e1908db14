"""The agent's rule: whatever two packers wrote, each event is taken once, in order, or a gap is told."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.places import admit
from schemas.errors import GapInFrames
from schemas.frames import Block, Frame, Place, Range, columns, decode, encode

SIZES = st.lists(st.integers(0, 4), min_size=1, max_size=8)


def places(sizes: Sequence[int]) -> list[Place]:
    """Places of the events of records that hold `sizes` events each."""
    return [(offset, index) for offset, size in enumerate(sizes) for index in range(size)]


def frame(start: Place, stop: Place, events: Sequence[Place], topic_id: str = "t") -> Frame:
    taken = [e for e in events if start <= e < stop]
    n = len(taken)
    return Frame(
        (Range("events", topic_id, 0, start, stop, 1),),
        (),
        columns([0] * n, [i for _, i in taken], [o for o, _ in taken], [0] * n, [b""] * n, [b"x"] * n),
    )


@st.composite
def packers(draw: st.DrawFn) -> tuple[list[Place], list[tuple[Place, Place]]]:
    """Events, and the ranges that packers wrote, each of which started at a place already written (a commit)."""
    sizes = draw(SIZES)
    events = places(sizes)
    ends = sorted({*events, *((offset, 0) for offset in range(len(sizes) + 1))})
    done = 0
    written: list[tuple[Place, Place]] = []
    while done < len(ends) - 1:
        start = draw(st.integers(0, done))
        stop = draw(st.integers(start, len(ends) - 1))
        if draw(st.booleans()):
            stop = max(stop, min(done + 1, len(ends) - 1))
        written.append((ends[start], ends[stop]))
        done = max(done, stop)
        if len(written) > 60:
            written.append((ends[done], ends[-1]))
            break
    return events, written


@given(packers())
def test_each_event_is_taken_once_and_in_order(case: tuple[list[Place], list[tuple[Place, Place]]]) -> None:
    events, written = case
    expected: dict[tuple[str, int], Place] = {}
    taken: list[Place] = []
    for start, stop in written:
        one = frame(start, stop, events)
        mask, after = admit(expected, one)
        assert expected == {} or expected is not after
        expected = after
        taken += [(int(o), int(i)) for o, i in zip(one.events.offset[mask], one.events.index[mask], strict=True)]
    assert taken == events
    assert expected == {("t", 0): written_end(written)}


def written_end(written: Sequence[tuple[Place, Place]]) -> Place:
    return max(stop for _, stop in written)


@given(SIZES, st.integers(1, 7))
def test_a_gap_is_told_and_changes_nothing(sizes: list[int], skipped: int) -> None:
    events = places(sizes)
    expected = {("t", 0): (0, 1)}
    with pytest.raises(GapInFrames, match="missing"):
        admit(expected, frame((skipped, 0), (skipped + 1, 0), events))
    assert expected == {("t", 0): (0, 1)}


def test_a_topic_made_again_is_another_source() -> None:
    _, expected = admit({}, frame((0, 0), (5, 0), places([1] * 5)))
    again = frame((0, 0), (2, 0), places([1, 1]), topic_id="u")
    mask, expected = admit(expected, again)
    assert mask.all()
    assert expected == {("t", 0): (5, 0), ("u", 0): (2, 0)}


def test_sources_of_one_frame_are_judged_apart() -> None:
    ranges = (Range("a", "A", 0, (0, 0), (3, 0), 1), Range("b", "B", 1, (0, 0), (3, 0), 1))
    events = columns([0, 1, 0, 1], [0, 0, 1, 2], [1, 1, 1, 1], [0] * 4, [b""] * 4, [b""] * 4)
    both = decode(encode(Frame(ranges, (Block("o", "s", 0, 4),), events)))
    mask, after = admit({("A", 0): (1, 1), ("B", 1): (1, 2)}, both)
    assert mask.tolist() == [False, False, True, True]
    assert after == {("A", 0): (3, 0), ("B", 1): (3, 0)}
