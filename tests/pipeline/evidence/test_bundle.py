"""A bundle's parts give the same bundle back, whatever bytes its events hold."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from detectors.detector import Controls
from pipeline.evidence.bundle import Bundle, Source, from_parts, to_parts, versions
from pipeline.evidence.course import Event, Step
from pipeline.worker.rules import Asked
from schemas.controls import AnchorControl, FeedbackControl, ForgetControl, StreamControl

ODD = (
    Event(0, UUID(int=1), 5, b"", b"\xff\x00 not text", None),
    Event(3, UUID(int=2), 6, b"name \xe9", 'é\n\u2028\\"'.encode(), "00-a-b-01"),
    Event(4, UUID(int=3), 7, b"x", b"", None),
)
STREAM: dict[str, Any] = {"organization_id": UUID(int=9), "stream": "a\nstream", "version": 1}
CHANGES = (
    StreamControl(**STREAM, sensitivity=7, muted_until=12, paused=True),
    ForgetControl(**STREAM),
    AnchorControl(**STREAM),
    FeedbackControl(**STREAM, anomaly_id=UUID(int=8), verdict="normal", patterns=("00000000000000ff.12",)),
)
BUNDLE = Bundle(
    Source(str(UUID(int=9)), "a\nstream", "topic", 3),
    versions(),
    (b'{"a":1}', b'{"a":2}'),
    b"{}",
    b"\x00\n\xff",
    (
        Step(1, ODD, -1, Asked(Controls(0.1 + 0.2, 7), 12), CHANGES, renewed=True),
        Step(2, (), 1 << 50, Asked(Controls(), 0, paused=True)),
    ),
    (),
)


def test_what_goes_in_comes_out() -> None:
    assert from_parts(to_parts(BUNDLE)) == BUNDLE
    assert to_parts(from_parts(to_parts(BUNDLE))) == to_parts(BUNDLE)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("settings", b"[]"),
        ("settings", b"{}"),
        ("events", b""),
        ("events", b'{"frame":1}'),
        ("ledger", b'{"seq":1,"entry":{}}'),
    ],
)
def test_parts_that_are_none_are_refused(part: str, value: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        from_parts({**to_parts(replace(BUNDLE)), part: value})
