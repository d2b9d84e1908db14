"""What a figure says of itself, and when it fails a run."""

import io
import json

from rich.console import Console

from tests.benchmarks.figures import Figure, show

FAST = Figure("packer", 200.0, "events/CPU-s", "reading", 400.0, mark=0.333)
SLOW = Figure("packer", 100.0, "events/CPU-s", "reading", 400.0, mark=0.333)
PLAIN = Figure("worker", 1.0, "events/CPU-s", "reading", 400.0)
SMALL = Figure("changelog", 29.0, "bytes", "input", 100.0, mark=0.3, at_most=True)
LARGE = Figure("changelog", 30.0, "bytes", "input", 100.0, mark=0.3, at_most=True)
VOID = Figure("whole way", 100_000.0, "events/CPU-s", "Faust", 1_000.0, mark=10, void="the peer is too slow")


def test_a_mark_is_reached_or_kept_below() -> None:
    assert [f.met for f in (FAST, SLOW, PLAIN, SMALL, LARGE, VOID)] == [True, False, True, True, False, False]


def test_what_fails_a_run_says_so_in_one_line() -> None:
    assert [f.missed() for f in (FAST, PLAIN, SMALL)] == ["", "", ""]
    assert SLOW.missed() == "packer: 0.250 of reading, the mark is >= 0.333"
    assert LARGE.missed() == "changelog: 0.300 of input, the mark is < 0.3"
    assert VOID.missed() == "whole way: void, the peer is too slow"


def test_a_table_and_then_one_object_a_line() -> None:
    out = io.StringIO()
    show([FAST, LARGE, VOID], Console(file=out, width=160))
    lines = out.getvalue().splitlines()
    assert [line.rstrip().rsplit("  ", 1)[-1].strip() for line in lines[1:4]] == ["met", "MISSED", "void"]
    assert json.loads(lines[4]) == {
        "name": "packer",
        "value": 200,
        "unit": "events/CPU-s",
        "peer": "reading",
        "peer_value": 400,
        "ratio": 0.5,
        "mark": 0.333,
    }
    assert len(lines) == 7
