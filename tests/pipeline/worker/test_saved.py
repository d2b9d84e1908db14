"""What is saved is read back; what is none of ours is refused in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker import saved
from pipeline.worker.saved import Checkpoint, SavedPartition, SavedStateError, SavedStream

places = st.tuples(st.integers(0, 2**40), st.integers(0, 2**20))
expected = st.dictionaries(st.tuples(st.text(max_size=8), st.integers(0, 64)), places, max_size=4)
checkpoints = st.builds(Checkpoint, st.integers(0, 2**40), expected)


@given(st.text(min_size=1, max_size=30), st.integers(-1, 2**60), st.binary(max_size=100))
def test_a_stream_is_read_back(topic_id: str, position: int, dump: bytes) -> None:
    value = SavedStream(topic_id, position, dump)
    assert saved.decode_stream(saved.encode_stream(value)) == value


@given(st.lists(checkpoints, min_size=1, max_size=8), st.dictionaries(st.text(max_size=8), st.integers(-1, 2**60)))
def test_a_partition_is_read_back(points: list[Checkpoint], positions: dict[str, int]) -> None:
    value = SavedPartition("topic", 7, points[-1], tuple(points[:-1]), positions)
    assert saved.decode_partition(saved.encode_partition(value)) == value


@given(st.binary(max_size=60))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(SavedStateError) as raised:
        saved.decode_partition(data)
    assert "\n" not in str(raised.value)
    if data[:4] != b"DLS\x01":
        with pytest.raises(SavedStateError):
            saved.decode_stream(data)


def test_reading_starts_at_the_latest_checkpoint_that_reaches_back_far_enough() -> None:
    points = tuple(Checkpoint(n, {}) for n in (10, 20, 30))
    value = SavedPartition("topic", 29, points[-1], points[:-1])
    found = [value.start_for(frame) for frame in (9, 10, 19, 25, 99)]
    assert [None if point is None else point.low_water for point in found] == [None, 10, 10, 20, 30]
