"""A bundle's parts give the same bundle back, whatever bytes its events hold."""

from dataclasses import replace
from uuid import UUID

import pytest

from detectors.detector import Controls
from pipeline.evidence.bundle import Bundle, Source, from_parts, to_parts, versions
from pipeline.evidence.course import Event, Step

ODD = (
    Event(0, UUID(int=1), 5, b"", b"\xff\x00 not text", None),
    Event(3, UUID(int=2), 6, b"name \xe9", 'é\n\u2028\\"'.encode(), "00-a-b-01"),
    Event(4, UUID(int=3), 7, b"x", b"", None),
)
BUNDLE = Bundle(
    Source(str(UUID(int=9)), "a\nstream", "topic", 3, Controls(0.1 + 0.2, 7)),
    versions(),
    (b'{"a":1}', b'{"a":2}'),
    b"{}",
    b"\x00\n\xff",
    (Step(1, ODD, -1), Step(2, (), 1 << 50)),
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
