"""A body becomes records that the packer reads as the API answered: the same events, ids and streams."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.api import intake
from pipeline.api.problems import Answered
from schemas import records
from schemas.identity import named_event_id
from schemas.topics import EVENT_IDS_HEADER

ORGANIZATION = "6f1f3e0e-8f0b-4d63-9e3b-2d4d53a5a101"
TYPES = ("application/json", "application/x-ndjson", "text/plain")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "stream", "event_id"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def batch(body: bytes, kind: str, stream: str = "web") -> intake.Batch:
    described = intake.describe([("content-type", kind), ("x-stream", stream)])
    return intake.read(body, described, kind, ORGANIZATION, "key")


def packed(made: intake.Batch) -> tuple[list[str], list[tuple[bytes, str]]]:
    ids, events = [], []
    for first, value, kind in made.runs:
        headers = [("content-type", kind), ("x-stream", made.stream), (EVENT_IDS_HEADER, f"{made.name}/{first}")]
        found, dead = records.read(value, records.describe(headers))
        assert dead == []
        ids += [str(named_event_id(ORGANIZATION, stream, name.decode())) for _, _, stream, name in found]
        events += [(body, stream) for _, body, stream, _ in found]
    return ids, events


def content(body: bytes) -> object:
    """An object's content, however it is spelt; a text as it is, also one that begins like an object."""
    try:
        return orjson.loads(body) if body[:1] == b"{" else body
    except orjson.JSONDecodeError:
        return body


@given(st.lists(VALUES, max_size=8), st.sampled_from(["array", "lines", "one"]))
def test_the_packer_reads_what_was_answered(values: list[object], form: str) -> None:
    if form == "array":
        body, kind = orjson.dumps(values), TYPES[0]
    elif form == "lines":
        body, kind = b"\r\n\n".join(map(orjson.dumps, values)), TYPES[1]
    else:
        body, kind = orjson.dumps(values[0] if values else {}, option=orjson.OPT_INDENT_2), TYPES[0]
    direct, _ = (
        records.read(body, records.describe([("content-type", kind), ("x-stream", "web")])) if body else ([], [])
    )
    if not direct:
        with pytest.raises(Answered) as refused:
            batch(body, kind)
        assert refused.value.status == 400
        return
    made = batch(body, kind)
    ids, events = packed(made)
    assert ids == list(made.ids)
    assert [stream for _, stream in events] == [stream for _, _, stream, _ in direct]
    assert [content(b) for b, _ in events] == [content(b) for _, b, _, _ in direct]
    assert len({r.index for r in made.rejected}) == len(made.rejected)


def test_rejected_items_do_not_move_the_ids_of_others() -> None:
    whole = batch(b'[{"a":1},{"a":2},{"a":3}]', TYPES[0])
    holed = batch(b'[{"a":1},7,{"a":3}]', TYPES[0])
    assert holed.ids == (whole.ids[0], whole.ids[2])
    assert [first for first, _, _ in holed.runs] == [0, 2]
    assert [(r.index, r.code) for r in holed.rejected] == [(1, "shape")]


def test_large_batches_become_several_records() -> None:
    made = batch(b"\n".join([b'"' + b"x" * 60_000 + b'"'] * 50), TYPES[1])
    assert len(made.runs) > 1
    assert all(len(value) <= intake.MAX_RECORD_BYTES for _, value, _ in made.runs)
    assert packed(made)[0] == list(made.ids)


def test_own_ids_are_kept() -> None:
    made = batch(b'{"event_id": "mine"}', TYPES[0])
    assert made.ids == (str(named_event_id(ORGANIZATION, "web", "mine")),)


@pytest.mark.parametrize("headers", [[], [("content-type", "application/xml")], [("content-type", "x")]])
def test_another_type_is_415(headers: list[tuple[str, str | bytes | None]]) -> None:
    with pytest.raises(Answered) as refused:
        intake.describe(headers)
    assert refused.value.status == 415
