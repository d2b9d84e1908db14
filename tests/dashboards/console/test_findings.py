"""The event's text with its surprising parts marked."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dashboards.console.findings import segments
from schemas.models import BIT


def token(text: str, bits: int) -> dict[str, Any]:
    return {"token": text, "bits": bits * BIT}


@given(st.text(max_size=60), st.lists(st.tuples(st.text(max_size=8), st.integers(0, 40)), max_size=6))
def test_the_parts_are_the_text_whatever_the_evidence(event: str, tokens: list[tuple[str, int]]) -> None:
    parts = segments(event, [token(text, bits) for text, bits in tokens])
    assert "".join(part.text for part in parts) == event


def test_a_value_is_marked_where_its_key_stands() -> None:
    parts = segments('{"a": 7, "b": 7}', [token("b: 7", 13)])
    assert [(p.text, p.bits, p.strength) for p in parts] == [
        ('{"a": 7, "b": ', None, 0),
        ("7", 13 * BIT, 3),
        ("}", None, 0),
    ]


def test_what_overlaps_is_marked_once_by_what_costs_most() -> None:
    parts = segments("connection refused", [token("refused", 5), token("connection refused", 25)])
    assert [(p.text, p.strength) for p in parts] == [("connection refused", 4)]


def test_a_part_without_a_place_is_no_mark() -> None:
    assert [p.bits for p in segments("GET /", [token("this form of event", 9)])] == [None]
