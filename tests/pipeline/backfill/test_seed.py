"""What of a file can be learned, and the line that says why the rest can't."""

from uuid import UUID

import pytest

from pipeline.backfill.seed import BadSeed, seeds
from pipeline.scan.parse import Fields
from pipeline.scan.read import Line
from schemas.records import time_of

ORGANIZATION = UUID(int=1)
FIELDS = Fields(time="at")
NOW = 1_700_000_000_000


def made(*bodies: bytes) -> list[tuple[str, int]]:
    lines = [Line("f", n + 1, body) for n, body in enumerate(bodies)]
    found = list(seeds(lines, FIELDS, ORGANIZATION, "web", NOW))
    assert [time_of(one.headers) for one in found] == [one.time for one in found]
    return [(one.stream, one.time) for one in found]


def test_streams_and_times_are_those_of_the_lines() -> None:
    assert made(b'{"at":1600000000}', b'{"at":1600000001,"stream":"db"}') == [
        ("web", 1_600_000_000_000),
        ("db", 1_600_000_001_000),
    ]


@pytest.mark.parametrize(
    ("bodies", "said"),
    [
        ([b'{"at":1700000000}'], "f, line 1 is not of the past"),
        ([b'{"at":1600000001}', b'{"at":1600000000}'], "f, line 2 was before the line before it in the stream web"),
        ([b'{"at":1600000000,"stream":5}'], "f, line 1 is no event: stream must be text"),
        ([b'{"at":0}'], "f, line 1 is no event: its time is 0"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(bodies: list[bytes], said: str) -> None:
    with pytest.raises(BadSeed, match=said):
        made(*bodies)
