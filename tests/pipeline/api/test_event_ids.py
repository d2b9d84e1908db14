"""Ids made many at once are those that are made one by one."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.api.event_ids import event_ids
from schemas.identity import named_event_id

ORGANIZATION = "6f1f3e0e-8f0b-4d63-9e3b-2d4d53a5a101"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@given(TEXT, TEXT, st.lists(TEXT, max_size=20))
def test_many_ids_are_those_of_each(stream: str, before: str, own: list[str]) -> None:
    said = event_ids(ORGANIZATION, stream, [one.encode() for one in own], before.encode())
    assert said == [str(named_event_id(ORGANIZATION, stream, before + one)) for one in own]


def test_every_length_around_a_block_is_padded_right() -> None:
    own = ["x" * size for size in range(200)]
    for stream in ("", "s" * 7, "s" * 40):
        said = event_ids(ORGANIZATION, stream, [one.encode() for one in own])
        assert said == [str(named_event_id(ORGANIZATION, stream, one)) for one in own]
