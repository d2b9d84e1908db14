"""How records become events: the table of records.py, and that whatever arrives never raises and is never lost."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import MAX_FAILURES_PER_RECORD, Dead, Event, Headers, describe, read, simple
from schemas.topics import MAX_EVENT_BYTES

JSON_TYPE = [("content-type", b"application/json; charset=utf-8")]
NDJSON_TYPE = [("content-type", b"application/x-ndjson")]
TEXT_TYPE = [("content-type", b"text/plain")]
ORGANIZATION = "6f1f3e0e-8f0b-5d63-9e3b-2d4d53a5a101"


def records(value: bytes | None, headers: Headers = None) -> tuple[list[Event], list[Dead]]:
    return read(value, describe(headers))


def bodies(value: bytes, headers: Headers = None) -> list[tuple[int, bytes]]:
    events, dead = records(value, headers)
    assert not dead
    return [(index, body) for index, body, _, _ in events]


def reasons(value: bytes | None, headers: Headers = None) -> list[tuple[int, str]]:
    return [(index, kind) for index, kind, _, _ in records(value, headers)[1]]


def nearly_json(value: object) -> bytes:
    """JSON, or almost: Python spells some of it otherwise."""
    return repr(value).replace("'", '"').encode()


NAMES = st.sampled_from(["content-type", "x-stream", "x-organization-id", "traceparent", "X-Stream", "otelcol.signal"])
HEADERS = st.none() | st.lists(
    st.tuples(
        NAMES,
        st.none()
        | st.binary(max_size=20)
        | st.sampled_from(
            [
                b"application/json",
                b"application/x-ndjson",
                b"text/plain",
                b"application/x-protobuf",
                b"logs",
                b"web",
                ORGANIZATION.encode(),
            ]
        ),
    ),
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["stream", "event_id", "m", ""]), inner, max_size=3)
    ),
    max_leaves=8,
)
BYTES = (
    st.binary(max_size=200)
    | JSON.map(nearly_json)
    | st.lists(JSON.map(nearly_json) | st.binary(max_size=9), max_size=5).map(b"\n".join)
    | st.binary(max_size=30).map(lambda tail: b"{" + tail)
    | st.binary(max_size=30).map(lambda tail: b"[" + tail)
)


@given(st.none() | BYTES, HEADERS)
def test_whatever_arrives_becomes_events_or_dead_letters(value: bytes | None, headers: Headers) -> None:
    described = describe(headers)
    events, dead = read(value, described)
    indexes = [index for index, *_ in events] + [index for index, *_ in dead]
    assert sorted(indexes) == list(range(len(indexes)))
    assert indexes
    assert [index for index, *_ in events] == sorted(index for index, *_ in events)
    for _, body, stream, event_id in events:
        body.decode()
        assert 0 < len(body) <= MAX_EVENT_BYTES
        assert 0 < len(stream.encode()) <= 128
        assert len(event_id) <= 128
    short = simple(value, described.stream) if described.usual else None
    if short is not None:
        assert (events, dead) == ([(0, value, *short)], [])


@given(st.dictionaries(st.text(max_size=5), st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5), min_size=1))
def test_one_object_keeps_its_bytes(content: dict[str, int | str]) -> None:
    value = b" " + orjson.dumps({**content, "stream": "web", "event_id": 7}, option=orjson.OPT_INDENT_2) + b"\n"
    for headers in (None, JSON_TYPE):
        assert records(value, headers) == ([(0, value, "web", b"7")], [])
    assert simple(value.strip(), "default") == ("web", b"7")


def test_arrays_lines_and_text() -> None:
    array = b'[{"a":1}, "text", {"stream":"s","event_id":"e"}]'
    assert bodies(array) == [(0, b'{"a":1}'), (1, b"text"), (2, b'{"stream":"s","event_id":"e"}')]
    assert records(array, JSON_TYPE)[0][2][2:] == ("s", b"e")
    lines = b'{"a":1}\r\n\n{ "b" : 2 }\n'
    assert bodies(lines) == bodies(lines, NDJSON_TYPE) == [(0, b'{"a":1}'), (1, b'{ "b" : 2 }')]
    for text in (b"[2026-01-01 10:00:00] [error] x", b"plain \xc3\xa9\nsecond line", b"[] empty: x"):
        assert bodies(text) == bodies(text, TEXT_TYPE) == [(0, text)]
    assert bodies(b'{"a":1}', TEXT_TYPE) == [(0, b'{"a":1}')]
    assert bodies(b'"quoted"', JSON_TYPE) == [(0, b"quoted")]


def test_what_fails_is_a_dead_letter_of_its_own_and_the_others_live() -> None:
    events, dead = records(b'{"a":1}\n{"b":\n{"c":3}\n5')
    assert [(index, body) for index, body, _, _ in events] == [(0, b'{"a":1}'), (2, b'{"c":3}')]
    assert [(index, kind, body) for index, kind, _, body in dead] == [(1, "json", b'{"b":'), (3, "shape", b"5")]
    large = orjson.dumps([{"a": 1}, {"m": "x" * MAX_EVENT_BYTES}, {"b": 2}])
    assert reasons(large) == [(1, "too large")]
    assert len(records(large)[0]) == 2


@pytest.mark.parametrize(
    ("value", "headers", "kind"),
    [
        (None, None, "empty"),
        (b"", JSON_TYPE, "empty"),
        (b"[]", JSON_TYPE, "empty"),
        (b"\n \n", NDJSON_TYPE, "empty"),
        (b'{"a":', None, "json"),
        (b'[{"a":1},', None, "json"),
        (b"[1,2", JSON_TYPE, "json"),
        (b'{"a":NaN}', JSON_TYPE, "json"),
        (b"5", JSON_TYPE, "shape"),
        (b"\xff\xfe", None, "encoding"),
        (b"\xff\xfe", TEXT_TYPE, "encoding"),
        (b'{"m":"\xff"}', None, "json"),
        (b'{"stream":5}', None, "stream"),
        (b'{"stream":""}', None, "stream"),
        (b'{"stream":"%s"}' % (b"x" * 129), None, "stream"),
        (b'{"stream":"a\\u0000"}', None, "stream"),
        (b'{"event_id":true}', None, "event id"),
        (b'{"event_id":""}', None, "event id"),
        (b'{"event_id":"%s"}' % (b"x" * 129), None, "event id"),
        (b'{"m":"%s"}' % (b"x" * MAX_EVENT_BYTES), None, "too large"),
        (b"x" * (MAX_EVENT_BYTES + 1), None, "too large"),
        (b"[" * 600 + b"]" * 600, JSON_TYPE, "json"),
        (b'[{"a":' + b"[" * 600 + b"]" * 600 + b"}]", None, "json"),
        (b"{}", [("content-type", b"application/x-protobuf")], "content-type"),
        (b"{}", [("content-type", b"text/plain; charset=latin-1")], "content-type"),
        (b"{}", [("x-stream", None)], "stream"),
        (b"{}", [("x-stream", b"\xff")], "stream"),
        (b"{}", [("x-organization-id", b"42")], "organization"),
        (b"{}", [("x-stream", b"a"), ("X-Stream", b"b")], "headers"),
        (b"[" + b"1," * MAX_FAILURES_PER_RECORD + b"1]", None, "too many failures"),
    ],
)
def test_one_dead_letter(value: bytes | None, headers: Headers, kind: str) -> None:
    assert reasons(value, headers) == [(0, kind)]
    assert records(value, headers)[0] == []
    described = describe(headers)
    assert not described.usual or simple(value, described.stream) is None


def test_the_header_names_the_stream_where_the_event_does_not() -> None:
    headers = [
        ("x-stream", b"from-header"),
        ("x-organization-id", ORGANIZATION.upper().encode()),
        ("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
    ]
    described = describe(headers)
    assert described.organization_id == ORGANIZATION
    assert described.trace == f"00-{'a' * 32}-{'b' * 16}-01"
    assert [stream for _, _, stream, _ in read(b'[{"stream":"own"},{"stream":null},"t"]', described)[0]] == [
        "own",
        "from-header",
        "from-header",
    ]
    assert records(b"{}")[0][0][2] == "default"


def test_a_record_may_name_its_events() -> None:
    headers: Headers = [("content-type", "application/x-ndjson"), ("x-event-ids", "request-1/7")]
    described = describe(headers)
    assert not described.usual
    events, dead = read(b'{"a":1}\nbroken\n{"event_id":5}\n"text"', described)
    assert [(index, event_id) for index, _, _, event_id in events] == [
        (0, b"request-1/7"),
        (2, b"5"),
        (3, b"request-1/10"),
    ]
    assert [index for index, *_ in dead] == [1]
    for wrong in ("", "x", "x/", "/1", "x/-1", "x" * 65 + "/1", "x/1\n", "x/1234567890"):
        assert describe([("x-event-ids", wrong)]).ids is None
