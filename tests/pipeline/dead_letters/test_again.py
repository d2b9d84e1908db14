"""Letters as records again: ids that stay, whatever the way they came, and what is refused beforehand."""

from typing import Any
from uuid import UUID

import orjson
import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from pipeline.dead_letters.again import again
from pipeline.dead_letters.transform import Transform
from pipeline.packer.dead import MAX_BODY_BYTES, Origin, dead_letter
from schemas import otlp, records
from schemas.models import DeadLetter
from schemas.topics import EVENTS, MAX_EVENT_BYTES, OTLP_LOGS, SEEDS

ORGANIZATION = "00000000-0000-5000-8000-000000000001"
KNOWN = {ORGANIZATION}
OWN = ("x-organization-id", ORGANIZATION.encode())


def letter(value: bytes, *headers: tuple[str, bytes], index: int = 0, offset: int = 7, **more: Any) -> DeadLetter:
    topic = more.pop("topic", "events")
    origin = Origin(topic, "T", 0, offset, 1_700_000_000_000, more.pop("organization", ORGANIZATION), headers, b"k")
    _, message = dead_letter(origin, index, more.pop("reason", "not JSON"), value, **more)
    return DeadLetter.from_bytes(message)


def ids(one: DeadLetter, rules: Transform | None = None) -> list[bytes]:
    made = again(one, rules, KNOWN)
    assert made.sent, made.refused
    events, dead = records.read(made.value, records.describe(made.headers))
    assert not dead
    return [event_id for _, _, _, event_id in events]


def test_an_event_keeps_the_id_in_its_bytes() -> None:
    assert ids(letter(b'{"event_id":"mine"}', OWN)) == [b"mine"]


def test_events_without_one_are_named_by_the_letter_and_stay_so() -> None:
    first = letter(b'[{"a":1},{"a":2}]', OWN)
    assert ids(first) == [f"{first.id}/{i}".encode() for i in range(2)]
    record = again(first, None, KNOWN)
    second = letter(record.value, *((n, v.encode()) for n, v in record.headers), offset=99)
    assert second.id != first.id
    assert (first.attempt, second.attempt) == (1, 2)
    assert ids(second) == ids(first)
    assert again(second, None, KNOWN).headers[-1] == ("x-attempt", "3")


def test_events_of_a_request_keep_the_names_the_request_gave_them() -> None:
    headers = (OWN, ("content-type", b"application/x-ndjson"), ("x-event-ids", b"request/10"))
    whole = b'{"a":1}\n{bad}\n{"a":3}'
    _, dead = records.read(whole, records.describe(headers))
    ((index, _, reason, body),) = dead
    broken = letter(body, *headers, index=index, reason=reason)
    assert ids(broken, Transform(replace=[["{bad}", '{"a":2}']])) == [b"request/11"]


def test_a_record_of_an_otlp_batch_goes_back_to_its_topic_as_a_batch_of_one() -> None:
    batch = LogsData()
    logs = batch.resource_logs.add().scope_logs.add().log_records
    logs.add().body.string_value = "fine"
    logs.add().body.string_value = "x" * (MAX_EVENT_BYTES + 1)
    _, ((index, _, reason, body),) = otlp.read(batch.SerializeToString(), "logs")
    one = letter(body, OWN, topic=OTLP_LOGS.name, index=index, reason=reason)
    assert "bytes" in again(one, None, KNOWN).refused  # it would be too large again
    forced = again(one, None, KNOWN, force=True)
    assert (forced.topic, forced.value) == (OTLP_LOGS.name, body)
    stranger = letter(body, ("x-organization-id", ORGANIZATION[:-1].encode() + b"9"), topic=OTLP_LOGS.name)
    assert "not known" in again(stranger, None, KNOWN).refused
    small = LogsData()
    small.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "fine"
    assert again(letter(small.SerializeToString(), OWN, topic=OTLP_LOGS.name), None, KNOWN).sent


def test_a_workers_letter_of_an_otlp_record_is_an_event_now_and_goes_where_events_go() -> None:
    made = again(letter(b'{"body":"b"}', ("x-stream", b"logs:web"), topic=OTLP_LOGS.name, stage="worker"), None, KNOWN)
    assert (made.topic, made.refused) == (EVENTS.name, "")
    described = records.describe(made.headers)
    assert (described.stream, described.organization_id) == ("logs:web", ORGANIZATION)
    assert records.read(made.value, described)[0][0][1] == b'{"body":"b"}'


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (letter(b"{}", topic="control"), "control message"),
        (letter(b"x" * (MAX_BODY_BYTES + 1), OWN), "was cut"),
        (letter(b"\xff", OWN), "not UTF-8"),
        (letter(b"{}", organization=None), "no header"),
        (letter(b"{}", ("x-organization-id", b"me")), "not a UUID"),
        (letter(b"{}", ("x-organization-id", ORGANIZATION[:-1].encode() + b"9")), "not known"),
    ],
)
def test_what_would_be_rejected_again_is_said_beforehand(one: DeadLetter, why: str) -> None:
    made = again(one, None, KNOWN)
    assert not made.sent
    assert why in made.refused


def test_force_sends_what_would_be_rejected_and_never_what_can_not_be_whole() -> None:
    assert again(letter(b"\xff", OWN), None, KNOWN, force=True).sent
    assert not again(letter(b"x" * (MAX_BODY_BYTES + 1), OWN), None, KNOWN, force=True).sent


def test_headers_of_a_rule_replace_and_remove() -> None:
    rules = Transform(headers={"X-Organization-Id": ORGANIZATION, "x-stream": None})
    made = again(letter(b"{}", ("x-organization-id", b"me"), ("x-stream", b"s")), rules, KNOWN)
    assert made.sent
    assert records.describe(made.headers).organization_id == ORGANIZATION
    assert "x-stream" not in dict(made.headers)


def test_a_sinks_letter_goes_back_as_it_was() -> None:
    value = orjson.dumps({"v": 1})
    made = again(letter(value, ("traceparent", b"t"), topic="usage", stage="sink-usage"), None, KNOWN)
    assert (made.value, made.headers) == (value, (("traceparent", "t"), ("x-attempt", "2")))


def test_a_workers_letter_says_its_stream_and_what_it_was() -> None:
    made = again(letter(b"[1] text", ("x-stream", b"s"), stage="worker"), None, KNOWN)
    described = records.describe(made.headers)
    assert (described.stream, described.organization_id) == ("s", ORGANIZATION)
    assert records.read(made.value, described)[0][0][1] == b"[1] text"
    assert UUID(dict(made.headers)["x-event-ids"].partition("/")[0]) == made.letter.id


@pytest.mark.parametrize("stage", ["packer", "worker"])
def test_an_event_of_the_past_is_not_sent_after_those_that_came_later(stage: str) -> None:
    one = letter(b'{"a":1}', OWN, topic=SEEDS.name).model_copy(update={"stage": stage})
    made = again(one, None, KNOWN, force=True)
    assert (made.sent, made.refused) == (
        False,
        "an event of the past goes before those that came later: seed its file again",
    )
