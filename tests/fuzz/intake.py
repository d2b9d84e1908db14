"""What comes by HTTP: events, OTLP, packed bodies, Stripe's webhooks. The first byte of an input chooses the headers."""

import gzip
import zlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import orjson
import zstandard
from google.protobuf.message import Message
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from billing import events as stripe_events
from billing.stripe_gateway import sign_webhook, verify_webhook
from pipeline.api import bounds, intake
from pipeline.api.problems import Answered
from pipeline.api.routes_otlp import read as read_otlp
from schemas.otlp import MESSAGES
from schemas.records import Described
from schemas.topics import CONTENT_TYPE_HEADER, SIGNAL_HEADER, STREAM_HEADER
from tests.schemas import batches

ORGANIZATION = "00000000-0000-5000-8000-000000000001"
_TYPES = (
    "application/json",
    "application/x-ndjson",
    "text/plain",
    "application/json; charset=latin-1",
    "image/png",
    "",
)
_SIGNALS = tuple(MESSAGES)
_SIGNED_BY = "whsec_of_the_fuzzer"
_NOW = int(datetime(2026, 3, 2, 10, tzinfo=UTC).timestamp())


def _described(signal: str) -> Described:
    return intake.describe([(SIGNAL_HEADER, signal)])


def events(data: bytes) -> object:
    """`POST /v1/events`: headers, then the body as items."""
    chosen, body = data[:1] or b"\x00", data[1:]
    content_type = _TYPES[chosen[0] % len(_TYPES)]
    described = intake.describe([(CONTENT_TYPE_HEADER, content_type), (STREAM_HEADER, b"shop")])
    batch = intake.read(body, described, content_type, ORGANIZATION, "key")
    if len(batch.ids) + len(batch.rejected) == 0:
        raise AssertionError("neither an event nor a reason")
    return batch


def event_bodies() -> Sequence[bytes]:
    """Bodies of `POST /v1/events`."""
    deep = b'{"a":' * 200 + b"1" + b"}" * 200
    return (
        b'\x00{"message":"paid","stream":"shop/1","event_id":"a-1","n":1.5e3}',
        b'\x00[{"message":"a"},"text",{"event_id":7},null,3]',
        b'\x01{"a":1}\n\n{"b":[1,2,{"c":null}]}\r\nbroken\n"text"\n',
        b"\x02GET /orders/17 200 in 3 ms \xc3\xa9",
        b"\x00" + deep,
        b"\x00[" + deep + b"]",
        b"\x03{}",
    )


def otlp_protobuf(data: bytes) -> object:
    """`POST /v1/logs` and the two others, in protobuf."""
    chosen, body = data[:1] or b"\x00", data[1:]
    return read_otlp(body, _described(_SIGNALS[chosen[0] % 3]), is_json=False)


def otlp_json(data: bytes) -> object:
    """The same in JSON."""
    chosen, body = data[:1] or b"\x00", data[1:]
    return read_otlp(body, _described(_SIGNALS[chosen[0] % 3]), is_json=True)


def otlp_batches() -> Sequence[bytes]:
    """Batches of each signal in protobuf."""
    return tuple(bytes([number]) + batch.SerializeToString() for number, batch in enumerate(_batches()))


def otlp_documents() -> Sequence[bytes]:
    """Batches of each signal in JSON, as the specification spells them."""
    attribute = {"key": "service.name", "value": {"stringValue": "shop"}}
    resource = {"attributes": [attribute, {"key": "n", "value": {"arrayValue": {"values": [{"intValue": "3"}, {}]}}}]}
    log = {
        "timeUnixNano": "1772447820123456789",
        "body": {"stringValue": "paid"},
        "traceId": "00" * 16,
        "severityNumber": 9,
    }
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "pay", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    point = {"asDouble": 1.5, "timeUnixNano": "1772447820123456789", "attributes": [attribute]}
    documents = (
        {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [log]}]}]},
        {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]},
        {
            "resourceMetrics": [
                {"resource": resource, "scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [point]}}]}]}
            ]
        },
    )
    return tuple(bytes([number]) + orjson.dumps(document) for number, document in enumerate(documents))


def _batches() -> Sequence[Message]:
    return (
        batches.logs(
            LogRecord(time_unix_nano=batches.AT, body=batches.value({"a": [1, 2.5, None, b"x"]})),
            service__name="shop",
        ),
        batches.traces(Span(trace_id=batches.TRACE, span_id=batches.SPAN, name="pay"), service__name="shop"),
        batches.metrics(Metric(name="m"), service__name="shop"),
    )


def packed(data: bytes) -> object:
    """A body as Content-Encoding says, in pieces: any bytes, or any bytes well packed and then cut or followed by others."""
    chosen, rest = (data[:1] or b"\x00")[0], data[1:]
    encoding = ("gzip", "zstd", "identity", "br")[chosen & 3]
    if chosen & 4:
        whole = gzip.compress(rest, 1, mtime=0) if encoding == "gzip" else zstandard.ZstdCompressor().compress(rest)
        rest = whole[: len(whole) - (chosen >> 4)] + whole * (chosen >> 3 & 1)

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(rest), 1 << 10):
            yield rest[at : at + (1 << 10)]

    reading = bounds.body(chunks(), encoding, 1 << 20)
    try:
        reading.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits for something")


def packed_bodies() -> Sequence[bytes]:
    """Packed bodies: whole, several members, bombs."""
    zeros = bytes(4 << 20)
    rle = b"\x28\xb5\x2f\xfd\x00\x58" + b"\x02\x00\x10\x00" * 200 + b"\x03\x00\x10\x00"
    return (
        b"\x00" + gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0),
        b"\x01" + zstandard.ZstdCompressor().compress(b"one") * 2,
        b"\x00" + zlib.compress(zeros, 9, wbits=31),
        b"\x01" + zstandard.ZstdCompressor().compress(zeros),
        b"\x01" + rle,
        b"\x02plain",
        b"\x04packed by the fuzzer",
        b"\x05packed by the fuzzer",
        b"\x15cut",
    )


def webhook(data: bytes) -> object:
    """A webhook of Stripe: an unsigned header and body, or a body well signed."""
    chosen, rest = (data[:1] or b"\x00")[0], data[1:]
    if chosen & 1:
        header, _, body = rest.partition(b"\n")
        verify_webhook(body, header.decode("latin-1"), (_SIGNED_BY, ""), _NOW)
    else:
        body = rest
        header_text = sign_webhook(body.decode("utf-8", "replace"), _SIGNED_BY, _NOW)
        verify_webhook(body, header_text, (_SIGNED_BY,), _NOW)
    return stripe_events.parse(body)


def webhook_bodies() -> Sequence[bytes]:
    """Events of Stripe, and headers."""
    event = {
        "id": "evt_1",
        "type": "invoice.paid",
        "livemode": False,
        "created": _NOW,
        "data": {"object": {"id": "in_1", "amount": 5}},
    }
    body = orjson.dumps(event)
    thin = orjson.dumps({**event, "created": "2026-03-02T10:00:00.000Z", "data": None, "related_object": {"id": "m_1"}})
    header = sign_webhook(body.decode(), _SIGNED_BY, _NOW).encode()
    return (
        b"\x00" + body,
        b"\x00" + thin,
        b"\x01" + header + b"\n" + body,
        b"\x01t=%d,v1=\xe9\n{}" % _NOW,
        b"\x01t=,v1=,v0=\n{}",
    )


ANSWERED = (Answered,)
WEBHOOK = (stripe_events.BadEvent,)
