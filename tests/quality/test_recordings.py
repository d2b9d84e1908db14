"""The committed recordings: what they are made of, and that the detector meets its mark on both with one set of defaults."""

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.stack import recording
from pipeline.stack.recording import EVENTS_FILE, Line
from schemas import records
from schemas.topics import STREAM_HEADER
from tests.recording import check, labels, record

RECORDINGS = Path(__file__).parents[1] / "recording"
NAMES = ("demo", "held_out")
MOST_BYTES = 1_400_000
FORBIDDEN = {
    "a path of someone's machine": r"(?<![\w./-])/(?:root|home/\w+|Users/\w+|work|tmp/driftlock)(?:/|\b)",
    "a loopback address": r"(?<![\d.])127\.\d+\.\d",
    "a key": r"\b[sr]k_(?:test|live)_\w{8}",
    "a connection URL's password": r"\w+://\w+:[^@\s*]+@",
}


@cache
def _lines(name: str) -> tuple[Line, ...]:
    return tuple(recording.read(RECORDINGS / name))


@pytest.mark.parametrize("name", NAMES)
def test_the_detector_meets_the_mark(name: str) -> None:
    said = labels.read(RECORDINGS / name)
    verdict = check.judge(said, _lines(name), check.offline(_lines(name)))
    rows = check.table(said, verdict).splitlines()
    # Of the one held out only the verdict is told: who knows what was missed there would build for it.
    assert verdict.passed, "\n" + "\n".join(rows if name == "demo" else rows[-1:])


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_as_many_as_labelled_and_in_the_order_of_time(name: str) -> None:
    times = [line.at for line in _lines(name)]
    assert labels.read(RECORDINGS / name).lines == len(times)
    assert 20_000 <= len(times) <= 60_000
    assert times == sorted(times)


@pytest.mark.parametrize("name", NAMES)
def test_faults_are_apart_and_begin_after_enough_quiet_lines(name: str) -> None:
    faults = labels.read(RECORDINGS / name).faults
    assert len({fault.name for fault in faults}) == len(faults) >= 6
    for before, after in pairwise(faults):
        assert before.start < before.end
        assert before.end + check.MARGIN_S < after.start - check.BEFORE_S
    for stream in record.BUSY:
        quiet = sum(line.stream == stream and line.at < faults[0].start for line in _lines(name))
        assert quiet >= record.QUIET_LINES, stream


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_one_event_of_the_same_bytes_for_the_packer(name: str) -> None:
    described = {line.stream: records.describe([(STREAM_HEADER, line.stream.encode())]) for line in _lines(name)}
    for line in _lines(name):
        assert records.read(line.body, described[line.stream]) == ([(0, line.body, line.stream, b"")], [])


@pytest.mark.parametrize("name", NAMES)
def test_no_line_holds_a_label(name: str) -> None:
    files = (RECORDINGS / name / EVENTS_FILE).stat().st_size
    assert files <= MOST_BYTES
    names = [fault.name.encode() for fault in labels.read(RECORDINGS / name).faults if "_" in fault.name]
    names.remove(b"temp_file_limit")  # the name of PostgreSQL's own setting
    for line in _lines(name):
        assert not any(fault in line.body for fault in names)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_nothing_of_the_machine_that_recorded_is_in_it(name: str, what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = [line.body for line in _lines(name) if pattern.search(line.body.decode())]
    assert found == []


def test_the_two_recordings_are_two() -> None:
    one, other = (labels.read(RECORDINGS / name) for name in NAMES)
    assert one.seed != other.seed
    first, second = ([(f.name, f.start - said.faults[0].start) for f in said.faults] for said in (one, other))
    assert first != second
