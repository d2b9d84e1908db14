"""Where reading goes on: the stored place, the log's start, or one clear line."""

import pytest

from pipeline.packer.sources import Stored, life, metadata, require_same, resume, stored
from schemas.errors import OffsetLost, TopicRecreated


def test_what_is_committed_is_read_back() -> None:
    assert stored(7, metadata("id#2", 3)) == Stored(7, 3, "id#2")
    assert stored(-1001, None) is None


@pytest.mark.parametrize("said", [None, "", "{", "[]", '{"index":"x"}', '{"index":1e999}', "5"])
def test_metadata_that_are_not_ours_mean_the_start_of_the_record(said: str | None) -> None:
    assert stored(7, said) == Stored(7, 0, None)


def test_where_reading_goes_on() -> None:
    assert resume("events", 0, "id", None, 4, 9) == (4, 0)
    assert resume("events", 0, "id", Stored(6, 2, "id"), 4, 9) == (6, 2)
    assert resume("events", 0, "id", Stored(9, 0, "id"), 4, 9) == (9, 0)
    assert resume("events", 0, "id", Stored(6, 2, None), 4, None) == (6, 2)
    assert resume("events", 0, life("id", 1), Stored(6, 2, "id"), 4, 9) == (4, 0)


@pytest.mark.parametrize(("offset", "said"), [(3, "the log starts at 4"), (10, "the log ends at 9")])
def test_a_lost_offset_is_told_with_the_command(offset: int, said: str) -> None:
    with pytest.raises(OffsetLost, match=f"{said}.*--accept-new-topic events"):
        resume("events", 0, "id", Stored(offset, 0, "id"), 4, 9)


def test_another_topic_of_the_same_name_is_told() -> None:
    require_same("events", None, "new")
    require_same("events", "old", "old")
    with pytest.raises(TopicRecreated, match="--accept-new-topic events"):
        require_same("events", "old", "new")
