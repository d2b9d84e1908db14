"""Messages: strict, and a wrong one is told in one line."""

from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.models import AnomalyUsage, BadMessage, Event, Position, ScoredUsage, usage_from_bytes
from schemas.records import describe, read

SOME = UUID("7a6f3f0c-4a3b-4a57-9a54-3d3f1d0f6a01")
PLACE = Position(topic_id="t", partition=0, frame=1, event=2)


def unit(count: int = 1) -> AnomalyUsage:
    return AnomalyUsage(
        usage_id=SOME,
        organization_id=SOME,
        stream="s",
        is_anomaly=True,
        count=count,
        calibrated=True,
        occurred_at=1,
        position=PLACE,
        detector_version="1",
    )


def test_usage_is_told_apart_by_is_anomaly() -> None:
    scored = ScoredUsage(
        usage_id=SOME,
        organization_id=SOME,
        is_anomaly=False,
        count=5,
        duplicates=0,
        opened={},
        occurred_at=1,
        position=PLACE,
    )
    assert usage_from_bytes(unit().to_bytes()) == unit()
    assert usage_from_bytes(scored.to_bytes()) == scored


@pytest.mark.parametrize("flag", [None, 1, 0, "true", []])
def test_is_anomaly_must_be_a_bool(flag: object) -> None:
    value = orjson.loads(unit().to_bytes()) | {"is_anomaly": flag}
    with pytest.raises(BadMessage, match="is_anomaly"):
        usage_from_bytes(orjson.dumps(value))


@pytest.mark.parametrize("count", [0, -1, 10_001, 1.5, "1", None, True])
def test_a_bad_count_is_refused(count: object) -> None:
    value = orjson.loads(unit().to_bytes()) | {"count": count}
    with pytest.raises(BadMessage, match="count"):
        usage_from_bytes(orjson.dumps(value))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(BadMessage) as raised:
        usage_from_bytes(data)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["stream", "event_id"])
@pytest.mark.parametrize("given", [None, "", "a", "x" * 128, "x" * 129, 0, -(2**63), 2**64 - 1, 1.5, True, [], {}])
def test_an_events_schema_says_what_is_read(name: str, given: object) -> None:
    said = orjson.dumps({name: given, "else": [1, {"a": None}]})
    try:
        Event.model_validate_json(said, strict=True)
    except ValidationError:
        right = False
    else:
        right = True
    events, dead = read(said, describe(None))
    assert (len(events) == 1, dead == []) == (right, right)
