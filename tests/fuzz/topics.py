"""What lies on Kafka's topics: records and their headers, frames, messages of our own, places; and the detector on any body."""

import struct
from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

import numpy as np
import orjson
import zstandard

from detectors.detector import Controls, Events, State, new_state, score, warm_up
from pipeline.packer import control, sources
from schemas import records
from schemas.controls import SettingsControl, StreamControl
from schemas.errors import FrameError
from schemas.frames import MAGIC, Block, Frame, Range, columns, decode, encode
from schemas.models import Anomaly, DeadLetter, Message, OrganizationControl, SourceControl, usage_from_bytes
from tests.detectors.streams import block, times_of

ORGANIZATION = "00000000-0000-5000-8000-000000000001"
_HEADERS: tuple[records.Headers, ...] = (
    None,
    [("x-organization-id", ORGANIZATION.encode()), ("content-type", b"application/json"), ("x-stream", b"shop")],
    [("content-type", b"application/x-ndjson"), ("x-event-ids", b"name-1/7")],
    [("content-type", b"text/plain; charset=utf-8")],
    [("content-type", b"application/x-protobuf"), ("otelcol.signal", b"logs")],
    [("content-type", b"application/x-protobuf"), ("otelcol.signal", b"metrics")],
    [("content-type", b"application/x-protobuf"), ("otelcol.signal", b"traces")],
    [("Content-Type", "application/vnd.shop+json"), ("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")],
)


def record(data: bytes) -> object:
    """A source record: its events and dead letters, each with an index of its own; the short way says the same where it says anything."""
    described = records.describe(_HEADERS[(data[:1] or b"\x00")[0] % len(_HEADERS)])
    value = data[1:]
    events, dead = records.read(value, described)
    indexes = [index for index, *_ in (*events, *dead)]
    if not indexes or len(set(indexes)) != len(indexes):
        raise AssertionError("no event and no dead letter, or two of one index")
    short = records.simple(value, described.stream) if described.usual else None
    if short is not None and (dead or [(stream, own) for _, _, stream, own in events] != [short]):
        raise AssertionError("the short way says something else")
    return events, dead


def record_values() -> Sequence[bytes]:
    """Values of source records."""
    return (
        b'\x00{"message":"paid","stream":"shop/1","event_id":"a-1"}',
        b'\x00{"event_id":18446744073709551615,"stream":null}',
        b'\x00{"a":1}\n{"b":2}\n',
        b"\x00[2026-01-01] a line",
        b'\x01[{"a":1},"b"]',
        b'\x02{"a":1}\nno\n',
        b"\x03GET / 200",
        b'\x01"text"',
    )


def headers(data: bytes) -> object:
    """Headers of a record, as `name NUL value NUL ...`, on an ordinary topic and on one of OTLP."""
    parts = data.split(b"\x00")
    said = [
        (name.decode("utf-8", "replace"), value or None) for name, value in zip(parts[::2], parts[1::2], strict=False)
    ]
    return records.describe(said), records.describe(said, "logs")


def header_lists() -> Sequence[bytes]:
    """Lists of headers."""
    names = [
        b"x-organization-id\x00" + ORGANIZATION.encode(),
        b"x-stream\x00shop/1",
        b"content-type\x00application/json; charset=utf-8",
    ]
    return (
        b"\x00".join(names),
        b"otelcol.signal\x00logs\x00content-type\x00application/x-protobuf",
        b"x-event-ids\x00name/12\x00traceparent\x0000-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
        b"x-stream\x00a\x00X-Stream\x00b",
        b"content-type\x00text/plain;charset=\x00x-stream\x00\xff",
    )


def frame(data: bytes) -> object:
    """A message of `blocks`: any bytes, or a well packed frame of any bytes, or one with a header of any bytes. What is decoded can be encoded again."""
    chosen, rest = (data[:1] or b"\x00")[0], data[1:]
    if chosen % 3 == 1:
        rest = MAGIC + zstandard.ZstdCompressor(level=1).compress(rest)
    if chosen % 3 == 2:
        size = rest[:2].ljust(2, b"\x00")
        head, tail = rest[2 : 2 + int.from_bytes(size, "little")], rest[2 + int.from_bytes(size, "little") :]
        rest = MAGIC + zstandard.ZstdCompressor(level=1).compress(struct.pack("<I", len(head)) + head + tail)
    found = decode(rest)
    if sum(len(range(block.start, block.stop)) for block in found.blocks) != len(found):
        raise AssertionError("the blocks do not hold the frame's events")
    if encode(decode(encode(found))) != encode(found):
        raise AssertionError("it is encoded otherwise")
    return found


def frames() -> Sequence[bytes]:
    """Frames, in each of the three ways."""
    source = Range("events", "id-1", 0, (0, 0), (2, 0), 1_772_445_600_000)
    events = columns([0, 0], [0, 0], [0, 1], [5, 6], [b"", b"a-1"], [b'{"a":1}', b"text"])
    blocks = (Block(ORGANIZATION, "shop", 0, 1), Block(ORGANIZATION, "cart", 1, 2))
    said = SettingsControl(organization_id=UUID(ORGANIZATION), version=1).model_dump(mode="json")
    whole = encode(Frame((source,), blocks, events, ({**said, "offset": 3},), {(0, 1): "00-aa-bb-01"}))
    raw = zstandard.ZstdDecompressor().decompress(whole[4:])
    (size,) = struct.unpack_from("<I", raw)
    return (
        b"\x00" + whole,
        b"\x01" + raw,
        b"\x02" + struct.pack("<H", size) + raw[4:],
        b"\x00" + encode(Frame((), (), columns([], [], [], [], [], []))),
        b"\x00DLF\x02",
    )


def controls(data: bytes) -> object:
    """A control message, as the packer reads it; what is read can be written into a frame."""
    found = control.parse(data)
    if isinstance(found, Message):
        orjson.dumps(found.model_dump(mode="json"))
    return found


def control_messages() -> Sequence[bytes]:
    """Control messages of several kinds."""
    of = {"organization_id": UUID(ORGANIZATION), "version": 3}
    return (
        OrganizationControl(id=UUID(ORGANIZATION), version=1).to_bytes(),
        SourceControl(topic="events", topic_id="id-1").to_bytes(),
        SettingsControl.model_validate({**of, "sensitivity": 500}).to_bytes(),
        StreamControl.model_validate({**of, "stream": "shop", "muted_until": 5}).to_bytes(),
        b'{"kind":"forget","organization_id":"x"}',
    )


def messages(data: bytes) -> object:
    """Anomalies, usage and dead letters, as sinks read them."""
    chosen, rest = (data[:1] or b"\x00")[0], data[1:]
    return (Anomaly.from_bytes, usage_from_bytes, DeadLetter.from_bytes)[chosen % 3](rest)


def message_values() -> Sequence[bytes]:
    """Messages of sinks' topics."""
    position = {"topic_id": "id-1", "partition": 0, "frame": 3, "event": 1}
    usage = {
        "usage_id": ORGANIZATION,
        "organization_id": ORGANIZATION,
        "detector_version": "1",
        "position": position,
        "occurred_at": 5,
    }
    return (
        b"\x01" + orjson.dumps({**usage, "is_anomaly": True, "stream": "shop", "count": 1, "calibrated": True}),
        b"\x01" + orjson.dumps({**usage, "is_anomaly": False, "count": 1, "duplicates": 0, "opened": {}}),
        b'\x02{"v":1,"id":"x"}',
        b'\x00{"v":1,"channels":{}}',
    )


def place(data: bytes) -> object:
    """What is committed beside a packer's offset."""
    return sources.stored(5, data.decode("utf-8", "replace"))


def places() -> Sequence[bytes]:
    """Metadata of commits."""
    return sources.metadata("id-1", 7).encode(), b'{"index":1e999}', b"[]", b""


@lru_cache(maxsize=1)
def _state() -> State:
    """A stream that has seen enough to be warm in all that an event may meet."""
    bodies = [b'{"message":"order %d paid in %d ms","n":%d}' % (i, i % 90, i % 7) for i in range(1_200)]
    return score(new_state(), block(bodies, times_of(len(bodies))), None, Controls(1.0, 10_000))[0]


def body(data: bytes) -> object:
    """An event's body, scored by a warm stream: as it is, and a line each. Scores are in range."""
    bodies = [data[: 64 << 10], *[line for line in data.split(b"\n") if line][:200]]
    at = 1_772_445_600_000 + 20_000_000
    events = Events(
        np.frombuffer(b"".join(bodies), np.uint8),
        np.concatenate([[0], np.cumsum([len(one) for one in bodies])]).astype(np.int64),
        at + np.arange(len(bodies), dtype=np.int64),
        np.zeros(len(bodies), np.uint64),
        lambda i: b"%d" % i,
    )
    _, results, updates = score(_state(), events, None, Controls(1.0, 10_000))
    if not ((results.score >= 0).all() and (results.surprisal >= 0).all()):
        raise AssertionError("a score is below zero")
    for update in updates:
        update.explanation.sentence.encode()
    return results


def bodies() -> Sequence[bytes]:
    """Bodies of events; kernels are compiled and caches filled before the first is counted."""
    several = (
        b'{"message":"order 17 paid in 3 ms","n":3}',
        b'{"a":{"b":[1,-2.5e-3,null,true,"x y"]},"\\u00e9":"\\ud83e"}',
        b"GET /orders/17 200 in 0x1f ms [k=v; q='a b']\nPOST /carts 500",
        b'{"a":' * 60 + b"1" + b"}" * 60,
        "ünïcödé 日本語".encode(),
    )
    warm_up()
    for one in several:
        body(one)
    return several


FRAME = (FrameError,)
