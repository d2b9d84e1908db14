"""Ids: fixed for ever, different for different places."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from schemas import identity

ORGANIZATION = "7a6f3f0c-4a3b-4a57-9a54-3d3f1d0f6a01"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
places = st.tuples(st.text(max_size=5), st.integers(0, 9), st.integers(0, 99), st.integers(0, 9))


@given(places, places)
def test_an_event_id_is_its_place(one: tuple[str, int, int, int], other: tuple[str, int, int, int]) -> None:
    assert (identity.placed_event_id(*one) == identity.placed_event_id(*other)) == (one == other)


def test_ids_never_change_between_releases() -> None:
    event = identity.placed_event_id("tid", 1, 2, 3)
    assert event == UUID("a6439eaf-343b-5c3f-ae42-82b22fc26117")
    assert identity.anomaly_id(ORGANIZATION, "s", event) == UUID("7655e134-5bba-5dce-a246-7110c7c58771")
    assert identity.blocks_partition(ORGANIZATION, "default", 4) == 3


@given(st.text(max_size=20), st.integers(0, 99), st.integers(0, 1 << 62), st.integers(0, 1 << 20))
def test_bytes_of_an_id_are_those_of_the_id(text: str, partition: int, offset: int, index: int) -> None:
    place = (text, partition, offset, index)
    assert identity.placed_event_bytes(*place) == identity.placed_event_id(*place).bytes
    assert identity.named_event_bytes("o", text, "id") == identity.named_event_id("o", text, "id").bytes


@given(TEXT, TEXT, st.lists(TEXT, max_size=20))
def test_many_ids_are_those_of_each(stream: str, before: str, own: list[str]) -> None:
    said = identity.named_event_ids(ORGANIZATION, stream, [one.encode() for one in own], before.encode())
    assert said == [str(identity.named_event_id(ORGANIZATION, stream, before + one)) for one in own]
