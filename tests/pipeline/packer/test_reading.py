"""Packing: however records are cut into polls and flushes and read again, each event is admitted once, in order."""

from collections.abc import Sequence
from typing import cast

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from pipeline.packer.control import Control
from pipeline.packer.pending import Pending
from pipeline.packer.reading import Reader
from pipeline.packer.sources import Source
from pipeline.places import admit
from schemas import frames
from schemas.frames import Frame, Place
from schemas.models import DeadLetter
from schemas.records import describe, read

PARTITIONS = 3
KNOWN = "00000000-0000-5000-8000-000000000001"
OTHER = "00000000-0000-5000-8000-000000000002"
TRACE = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
Record = tuple[bytes | None, list[tuple[str, bytes | str | None]]]

VALUES = st.sampled_from(
    [
        b'{"stream":"a","m":1}',
        b'{"stream":"b","event_id":"7"}',
        b'{"stream":5}',
        b'[{"stream":"a"},"text",5,{"stream":"c"},{}]',
        b'{"stream":"b"}\n{"broken\n{"stream":"a"}',
        b"plain",
        b"\xff",
        b"",
        None,
    ]
)
ORGANIZATIONS = st.sampled_from([KNOWN, KNOWN, OTHER, "nobody", "00000000-0000-5000-8000-00000000000f"])
RECORDS = st.lists(
    st.tuples(
        VALUES,
        ORGANIZATIONS.map(lambda o: [("x-organization-id", o.encode())])
        | st.just([("x-organization-id", KNOWN.encode()), ("traceparent", TRACE)])
        | st.just([]),
    ),
    min_size=1,
    max_size=14,
)


class Known:
    """A control topic that knows two organizations, one of them only when asked again."""

    def __init__(self) -> None:
        self.organizations = {KNOWN}
        self.version = 1

    def catch_up(self) -> None:
        if OTHER not in self.organizations:
            self.organizations.add(OTHER)
            self.version += 1


def messages(records: Sequence[Record]) -> list[Message]:
    return [
        Message("events", 0, offset, None, value, headers or None, None, (1, 1000 + offset))
        for offset, (value, headers) in enumerate(records)
    ]


def truth(records: Sequence[Record]) -> tuple[list[tuple[str, str, Place, bytes, bytes]], set[Place]]:
    """The events (organization, stream, place, id, body) and the places of dead letters, straight from the rule."""
    events, dead = [], set()
    for offset, (value, headers) in enumerate(records):
        said = describe(headers)
        if said.wrong or said.organization_id not in {KNOWN, OTHER}:
            dead.add((offset, 0))
            continue
        alive, lost = read(value, said)
        events += [(said.organization_id, s, (offset, i), event_id, body) for i, body, s, event_id in alive]
        dead |= {(offset, index) for index, *_ in lost}
    return events, dead


class Written:
    """What packers wrote: the frames of each partition, the dead letters, and the places where flushes stopped."""

    def __init__(self) -> None:
        self.frames: list[list[Frame]] = [[] for _ in range(PARTITIONS)]
        self.dead: list[DeadLetter] = []
        self.stops: list[Place] = [(0, 0)]


def pack(
    records: Sequence[Record], start: Place, limit: int, cuts: Sequence[int], written: Written, flushes: int
) -> None:
    """A packer's life: from `start`, polls of `cuts` records, until it did `flushes` flushes or came to the end."""
    pending = Pending(PARTITIONS)
    source = Source("events", "T", 0, 0, None, start, *start)

    class Ended(Exception):
        pass

    def flush() -> None:
        out, _ = pending.frames((source.range(0),))
        for partition, data in enumerate(out):
            written.frames[partition].append(frames.decode(data))
        written.dead += [DeadLetter.from_bytes(value) for _, value in pending.letters]
        pending.clear()
        source.start = (source.offset, source.index)
        written.stops.append(source.start)
        if len(written.stops) > 1 + flushes:
            raise Ended

    flushes += len(written.stops) - 1
    reader = Reader(pending, cast("Control", Known()), limit, flush)
    reader.sources = {("events", 0): source}
    left = messages(records)[start[0] :]
    try:
        for cut in [*cuts, len(left)]:
            reader.take(left[:cut], lambda _message, _source: None)
            left = left[cut:]
            if cut % 2:
                flush()
        flush()
    except Ended:
        pass


@given(
    RECORDS,
    st.lists(
        st.tuples(
            st.integers(0, 50),
            st.integers(1, 2000),
            st.lists(st.integers(0, 5), max_size=4),
            st.integers(1, 6),
        ),
        max_size=4,
    ),
)
def test_every_event_once_whatever_the_cuts_and_restarts(
    records: list[Record], lives: list[tuple[int, int, list[int], int]]
) -> None:
    written = Written()
    for back, limit, cuts, flushes in lives:
        # A packer starts where some flush stopped: an older commit, or the place another one is beyond by now.
        pack(records, written.stops[back % len(written.stops)], limit, cuts, written, flushes)
    pack(records, max(written.stops), 500, [], written, 1_000)
    events, dead = truth(records)
    seen = []
    for partition in written.frames:
        expected: dict[tuple[str, int], Place] = {}
        for frame in partition:
            mask, expected = admit(expected, frame)
            bodies, at = [], 0
            for length in frame.events.body_length.tolist():
                bodies.append(frame.events.body[at : at + length])
                at += length
            ids, at = [], 0
            for length in frame.events.id_length.tolist():
                ids.append(frame.events.ids[at : at + length])
                at += length
            for block in frame.blocks:
                for i in range(block.start, block.stop):
                    place = (int(frame.events.offset[i]), int(frame.events.index[i]))
                    assert (0, place[0]) in frame.traces or ("traceparent", TRACE) not in records[place[0]][1]
                    assert frame.events.received_at[i] == 1000 + place[0]
                    if mask[i]:
                        seen.append((block.organization_id, block.stream, place, ids[i], bodies[i]))
        assert expected[("T", 0)] == (len(records), 0)
    assert sorted(seen) == sorted(events)
    for stream in {(o, s) for o, s, *_ in events}:
        mine = [place for o, s, place, *_ in seen if (o, s) == stream]
        assert mine == sorted(mine)
    assert {(letter.offset, letter.index) for letter in written.dead} == dead


def received(
    topic: str, owner: str | None, headers: list[tuple[str, bytes | str | None]]
) -> tuple[list[int], list[str]]:
    """Times of the events that a record of a topic becomes, and the reasons of its dead letters; it was appended at 1000."""
    pending = Pending(1)
    source = Source(topic, "T", 0, 0, owner, (0, 0), 0, 0)
    reader = Reader(pending, cast("Control", Known()), 1 << 20, lambda: None)
    reader.sources = {(topic, 0): source}
    value = b'{"m":1}'
    record = Message(topic, 0, 0, None, value, [("x-organization-id", KNOWN.encode()), *headers], None, (1, 1000))
    reader.take([record], lambda _message, _source: None)
    assert source.read_to == 1000
    out, _ = pending.frames((source.range(0),))
    times = frames.decode(out[0]).events.received_at.tolist()
    return times, [DeadLetter.from_bytes(value).reason for _, value in pending.letters]


def test_only_the_operators_topic_lets_a_header_say_the_time() -> None:
    said: list[tuple[str, bytes | str | None]] = [("x-time", b"17")]
    assert received("seeds", None, said) == ([17], [])
    assert received("events", None, said) == ([1000], [])
    assert received(f"events.{KNOWN}", KNOWN, said) == ([1000], [])
    assert received("seeds", None, [("x-time", b"1001")]) == ([1000], [])  # nothing was before it was


def test_an_event_of_the_past_without_its_time_is_a_dead_letter() -> None:
    wrongs: list[list[tuple[str, bytes | str | None]]] = [
        [],
        [("x-time", b"soon")],
        [("x-time", b"-5")],
        [("x-time", b"5"), ("X-Time", b"6")],
    ]
    for wrong in wrongs:
        assert received("seeds", None, wrong) == ([], ["no header x-time with the time of the event in ms"])
