"""How a source record becomes events: the one rule, whichever way the record came. Pure; whatever arrives, nothing raises.

| content-type (parameters left out) | what the value is |
|---|---|
| application/json, */*+json | one event, or an array of events |
| application/x-ndjson, application/ndjson, application/jsonl | an event a line; empty lines are left out |
| text/* | one text event |
| application/x-protobuf | an OTLP batch (otlp.py) of the signal that the header otelcol.signal says, or that the topic has |
| none, with a signal | the same |
| none | `{`: a JSON object, else an object a line; `[`: an array of events, or text where what follows could not be one (`[2026-01-01] ...`); else text |

An event is a JSON object, or text; a JSON string is a text event of its content. The body of a record that is one event, or
of one line, is the bytes as they came; of an element of an array, the element as orjson writes it. In an object `stream`
(text) and `event_id` (text or 64-bit integer) belong to us; they stay in the body. null counts as not given.
The header x-event-ids, `<name>/<first>`, names the events that have no id of their own: the one with index i in the record
is `<name>/<first + i>`. Our API writes it, so that a request that is sent again gives the same ids.
Whatever can't be an event is a dead letter: an element or a line alone, where the others can be read; else the whole record.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from schemas import otlp
from schemas.topics import (
    CONTENT_TYPE_HEADER,
    DEFAULT_STREAM,
    EVENT_IDS_HEADER,
    MAX_EVENT_BYTES,
    MAX_ID_BYTES,
    MAX_STREAM_BYTES,
    ORGANIZATION_HEADER,
    OTLP,
    OTLP_CONTENT_TYPE,
    SIGNAL_HEADER,
    STREAM_HEADER,
    TIME_HEADER,
    TRACE_HEADER,
)

MAX_EVENTS_PER_RECORD = 1 << 20
MAX_FAILURES_PER_RECORD = 1_000
"""A record of which more can't be read is one dead letter, so that a record can't grow a thousandfold in dead letters."""

Event = tuple[int, bytes, str, bytes]
"""(index in the record, body, stream, producer's id or b"")."""

Dead = tuple[int, str, str, bytes]
"""(index in the record, class of the reason, the reason, the bytes that could not be read)."""

Headers = Sequence[tuple[str, bytes | str | None]] | None

_GUESS, _JSON, _NDJSON, _TEXT, _OTLP, _WRONG = range(6)
_NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_EVENT_IDS = re.compile(r"([A-Za-z0-9-]{1,64})/(\d{1,9})")
_TIME = re.compile(r"[1-9][0-9]{0,12}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Described:
    """What the headers of a record say. `organization_id` is None where there is none; `wrong` is (class, reason) or None.

    `time`: when its events were, in ms; None where that is when the broker appended them, as in every topic but `seeds`.
    """

    kind: int = _GUESS
    stream: str = DEFAULT_STREAM
    organization_id: str | None = None
    trace: str = ""
    wrong: tuple[str, str] | None = None
    ids: tuple[str, int] | None = None
    signal: str = ""
    time: int | None = None

    @property
    def usual(self) -> bool:
        """Whether `simple` may be asked: JSON as far as the headers say, without a trace, names of events or a time."""
        return self.kind <= _JSON and not self.trace and self.ids is None and self.time is None

    @property
    def several(self) -> bool:
        """Whether the headers say that each line is an event."""
        return self.kind == _NDJSON

    @property
    def json(self) -> bool:
        """Whether the headers say that the value is one JSON document."""
        return self.kind == _JSON

    @property
    def known(self) -> bool:
        """Whether the headers say what the value is."""
        return self.kind in {_JSON, _NDJSON, _TEXT}


def describe(headers: Headers, signal: str = "") -> Described:  # noqa: PLR0911 - each thing that is wrong is a line
    """What headers say; the same headers say the same, so a caller may remember it. `signal` is that of an OTLP topic."""
    if not headers:
        return Described(_OTLP, signal=signal) if signal else Described()
    said: dict[str, bytes] = {}
    for name, value in headers:
        key = name.lower()
        raw = value.encode() if isinstance(value, str) else b"" if value is None else value
        if said.setdefault(key, raw) != raw and key in {
            ORGANIZATION_HEADER,
            STREAM_HEADER,
            CONTENT_TYPE_HEADER,
            EVENT_IDS_HEADER,
            SIGNAL_HEADER,
        }:
            return Described(_WRONG, wrong=("headers", f"the header {key} is given twice, and differs"))
    organization = said.get(ORGANIZATION_HEADER)
    organization_id = None if organization is None else organization.decode("ascii", "replace").lower()
    if organization_id is not None and not _UUID.fullmatch(organization_id):
        return Described(_WRONG, wrong=("organization", f"the header {ORGANIZATION_HEADER} is not a UUID"))
    kind = _kind(said.get(CONTENT_TYPE_HEADER, b""))
    if kind is None:
        reason = "the content type is none of JSON, NDJSON and text in UTF-8, or OTLP in protobuf"
        return Described(_WRONG, organization_id=organization_id, wrong=("content-type", reason))
    given = said.get(SIGNAL_HEADER, b"").decode("ascii", "replace")
    if wrong := _wrong_signal(kind, given, signal):
        return Described(_WRONG, organization_id=organization_id, wrong=wrong)
    signal = given or signal
    stream = DEFAULT_STREAM
    if STREAM_HEADER in said:
        try:
            stream = said[STREAM_HEADER].decode()
        except UnicodeDecodeError:
            stream = ""
        if reason := wrong_stream(stream):
            return Described(
                _WRONG, organization_id=organization_id, wrong=("stream", f"header {STREAM_HEADER}: {reason}")
            )
    trace = said.get(TRACE_HEADER, b"").decode("ascii", "replace")
    return Described(
        _OTLP if signal else kind,
        stream,
        organization_id,
        trace if _TRACE.fullmatch(trace) else "",
        ids=event_ids(said.get(EVENT_IDS_HEADER, b"").decode("ascii", "replace")),
        signal=signal,
    )


def time_of(headers: Headers) -> int | None:
    """The header x-time, which counts in the topic `seeds` alone: ms of UTC since 1970. None where it is none, or not one."""
    given = [value for name, value in headers or () if name.lower() == TIME_HEADER]
    said = given[0] if len(given) == 1 else None
    text = said.decode("ascii", "replace") if isinstance(said, bytes) else said or ""
    return int(text) if _TIME.fullmatch(text) else None


def event_ids(said: str) -> tuple[str, int] | None:
    """(name, first) of the header x-event-ids; None where it is none."""
    ids = _EVENT_IDS.fullmatch(said)
    return (ids[1], int(ids[2])) if ids else None


def _wrong_signal(kind: int, given: str, topic: str) -> tuple[str, str] | None:
    """(class, reason) where a content type, the header's signal and the topic's do not go together."""
    if given and given not in OTLP:
        return "signal", f"the header {SIGNAL_HEADER} is none of {', '.join(OTLP)}"
    if given and topic and given != topic:
        return "signal", f"the header {SIGNAL_HEADER} says {given}, in a topic of {topic}"
    if kind == _OTLP and not (given or topic):
        return "content-type", f"{OTLP_CONTENT_TYPE} without the header {SIGNAL_HEADER}"
    if (given or topic) and kind not in {_OTLP, _GUESS}:
        return "content-type", f"a batch of {given or topic} must be {OTLP_CONTENT_TYPE}"
    return None


def _kind(content_type: bytes) -> int | None:
    name, _, parameters = content_type.decode("ascii", "replace").lower().partition(";")
    name = name.strip()
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters)
    if charset and charset[1] not in {"utf-8", "utf8", "us-ascii"}:
        return None
    if not name:
        return _GUESS
    if name == "application/json" or name.endswith("+json"):
        return _JSON
    if name in _NDJSON_TYPES:
        return _NDJSON
    if name == OTLP_CONTENT_TYPE:
        return _OTLP
    return _TEXT if name.startswith("text/") else None


@lru_cache(maxsize=65_536)
def wrong_stream(stream: str) -> str:
    """Why some text can't be a stream's name; nothing where it can."""
    if not stream:
        return "a stream's name is empty or not UTF-8"
    if len(stream.encode("utf-8", "replace")) > MAX_STREAM_BYTES:
        return f"a stream's name is longer than {MAX_STREAM_BYTES} bytes"
    return "a stream's name has a control character" if _CONTROL_CHARACTERS.search(stream) else ""


def simple(value: bytes | None, stream: str, known: Container[str] = ()) -> tuple[str, bytes] | None:
    """Stream and producer's id of a record that is one JSON object with nothing wrong: the short way of the usual case.

    `stream` is the header's; what the headers say must be `usual`. `known` holds names of streams known to be right.

    None: ask `read`, which gives the same for such a record and also knows all others.
    """
    if not value or value[0] != 123 or len(value) > MAX_EVENT_BYTES:  # 123: {
        return None
    try:
        parsed = orjson.loads(value)
    except ValueError:
        return None
    if "stream" in parsed:
        own = parsed["stream"]
        if own is not None:
            if type(own) is not str or (own not in known and wrong_stream(own)):
                return None
            stream = own
    if "event_id" not in parsed:
        return stream, b""
    said = _event(parsed, value, stream)
    return (said[1], said[2]) if len(said) == 3 else None


def read(value: bytes | None, described: Described) -> tuple[list[Event], list[Dead]]:
    """The events and dead letters of a record, each with an index that no other of this record has, counted from 0."""
    events, dead = _read(value, described)
    if described.ids is not None:
        name, first = described.ids
        events = [
            (index, body, stream, event_id or f"{name}/{first + index}".encode())
            for index, body, stream, event_id in events
        ]
    return events, dead


def read_pieces(parsed: Sequence[Any], bodies: Sequence[bytes], described: Described) -> tuple[list[Event], list[Dead]]:
    """The same of a record that is one piece a line: each as it was parsed (or the `ValueError`), and its bytes.

    An event without a producer's id has none here: whoever parsed it gives it one.
    """
    return _several(list(zip(parsed, bodies, strict=True)), b"", described.stream)


def _read(value: bytes | None, described: Described) -> tuple[list[Event], list[Dead]]:  # noqa: C901, PLR0911 - a table of cases
    if described.wrong is not None:
        return [], [(0, *described.wrong, value or b"")]
    if not value:
        return [], [(0, "empty", "the record has no value", b"")]
    kind = described.kind
    if kind == _OTLP:
        return otlp.read(value, described.signal, described.stream)
    if kind == _TEXT:
        return _one(_text(value, value, described.stream), value)
    if kind == _NDJSON:
        return _lines(value, described.stream)
    first = value[:1]
    if first.isspace():
        first = value.lstrip()[:1]
    if kind == _GUESS and first not in {b"{", b"["}:
        return _one(_text(value, value, described.stream), value)
    try:
        parsed = orjson.loads(value)
    except ValueError as error:
        if kind == _GUESS:
            return _not_json(value, first, described.stream, error)
        return [], [(0, "json", f"not JSON: {error}", value)]
    if type(parsed) is list:
        return _elements(parsed, value, described.stream)
    return _one(_event(parsed, value, described.stream), value)


_Said = tuple[bytes, str, bytes] | tuple[str, str]
"""(body, stream, producer's id), or (class, reason)."""


def _event(parsed: Any, body: bytes, stream: str) -> _Said:  # noqa: PLR0911 - each reason is one line
    if type(parsed) is not dict:
        if type(parsed) is str:
            return _text(parsed.encode(), body, stream)
        return "shape", "an event must be a JSON object or text"
    if len(body) > MAX_EVENT_BYTES:
        return "too large", f"an event of {len(body)} bytes: the limit is {MAX_EVENT_BYTES}"
    own = parsed.get("stream")
    if own is not None:
        if type(own) is not str:
            return "stream", "stream must be text"
        if reason := wrong_stream(own):
            return "stream", reason
        stream = own
    given = parsed.get("event_id")
    if given is None:
        return body, stream, b""
    if type(given) is not str and type(given) is not int:
        return "event id", "event_id must be text or a 64-bit integer"
    event_id = str(given).encode()
    if not 0 < len(event_id) <= MAX_ID_BYTES:
        return "event id", f"event_id must have 1 to {MAX_ID_BYTES} bytes"
    return body, stream, event_id


def _text(body: bytes, original: bytes, stream: str) -> _Said:
    if len(body) > MAX_EVENT_BYTES:
        return "too large", f"an event of {len(original)} bytes: the limit is {MAX_EVENT_BYTES}"
    if not body:
        return "empty", "a text event is empty"
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return "encoding", f"not UTF-8: {error.reason} at byte {error.start}"
    return body, stream, b""


def _one(said: _Said, value: bytes) -> tuple[list[Event], list[Dead]]:
    if len(said) == 3:
        return [(0, *said)], []
    return [], [(0, *said, value)]


def _not_json(value: bytes, first: bytes, stream: str, error: ValueError) -> tuple[list[Event], list[Dead]]:
    """A record without a content type that starts as JSON and is not: an object a line, or a log line that looks alike."""
    whole: Dead = (0, "json", f"not JSON, nor an object a line: {error}", value)
    if first == b"[":
        follows = value.lstrip()[1:].lstrip()[:1]
        return ([], [whole]) if follows in {b"{", b'"'} else _one(_text(value, value, stream), value)
    events, dead = _lines(value, stream)
    return (events, dead) if events else ([], [whole])


def _lines(value: bytes, stream: str) -> tuple[list[Event], list[Dead]]:
    pieces: list[tuple[Any, bytes]] = []
    for line in value.split(b"\n"):
        body = line.strip()
        if body:
            try:
                parsed = orjson.loads(body)
            except ValueError as error:
                parsed = error
            pieces.append((parsed, body))
            if len(pieces) > MAX_EVENTS_PER_RECORD:
                break
    return _several(pieces, value, stream)


def _elements(elements: list[Any], value: bytes, stream: str) -> tuple[list[Event], list[Dead]]:
    if len(elements) > MAX_EVENTS_PER_RECORD:
        return [], [_too_many(value)]
    try:
        return _several([(element, orjson.dumps(element)) for element in elements], value, stream)
    except orjson.JSONEncodeError:  # what can be read may be nested four times deeper than what can be written
        return [], [(0, "json", "an element is nested too deeply", value)]


def _several(pieces: list[tuple[Any, bytes]], value: bytes, stream: str) -> tuple[list[Event], list[Dead]]:
    if not pieces:
        return [], [(0, "empty", "the record holds no event", value)]
    if len(pieces) > MAX_EVENTS_PER_RECORD:
        return [], [_too_many(value)]
    events: list[Event] = []
    dead: list[Dead] = []
    for index, (parsed, body) in enumerate(pieces):
        if isinstance(parsed, ValueError):
            dead.append((index, "json", f"not JSON: {parsed}", body))
        else:
            said = _event(parsed, body, stream)
            if len(said) == 3:
                events.append((index, *said))
            else:
                dead.append((index, *said, body))
        if len(dead) > MAX_FAILURES_PER_RECORD:
            return [], [(0, "too many failures", f"over {MAX_FAILURES_PER_RECORD} of its events can't be read", value)]
    return events, dead


def _too_many(value: bytes) -> Dead:
    return 0, "too many events", f"the record holds more than {MAX_EVENTS_PER_RECORD} events", value
