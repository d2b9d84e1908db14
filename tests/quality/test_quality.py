"""A small `make quality`: two everyday streams against their committed figures; and when a figure counts as fallen."""

import math
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.quality import everyday, figures, shared
from tests.quality.__main__ import measured
from tests.quality.judge import COLUMNS, ROOT, Judged, NoAnswer, heading, judge, line, run
from tests.quality.measures import HIGHER_IS_BETTER

COMMITTED: dict[str, Any] = {"s": {"AP": {"value": 0.5, "tolerance": 0.02}, "delay": {"value": 10.0, "tolerance": 5}}}


@cache
def once(name: str) -> Judged:
    return judge(everyday.stream(name))


@pytest.mark.parametrize("name", everyday.SMALL)
def test_no_figure_fell(name: str) -> None:
    known = figures.read()["own"]
    assert name in known, "run `make quality-accept`"
    judged = once(name)
    assert figures.worse(known, {name: judged.row}) == []
    assert judged.row["AP"] > 2 * judged.stream.anomalous.mean(), "no better than chance: the figures say nothing"


def test_every_everyday_stream_has_committed_figures() -> None:
    assert set(figures.read()["own"]) == set(everyday.STREAMS)
    assert set(HIGHER_IS_BETTER) <= set(figures.TOLERANCE)


@pytest.mark.parametrize(
    ("row", "fallen"),
    [
        ({"AP": 0.49, "delay": 14.0}, []),
        ({"AP": 0.9, "delay": 0.0}, []),
        ({"AP": 0.47, "delay": 10.0}, ["AP"]),
        ({"AP": 0.5, "delay": 16.0}, ["delay"]),
        ({"AP": math.nan, "delay": 10.0}, ["AP"]),
        ({"delay": 10.0}, ["AP"]),
    ],
)
def test_a_figure_falls_by_more_than_its_tolerance(row: dict[str, float], fallen: list[str]) -> None:
    said = figures.worse(COMMITTED, {"s": row, "not committed": {"AP": 0.0}})
    assert [line.split()[1] for line in said] == fallen


def test_accepting_keeps_tolerances_and_leaves_out_what_is_unknown() -> None:
    old = {"s": {"AP": {"value": 0.5, "tolerance": 0.007}}, "other": COMMITTED["s"]}
    new = figures.accepted(old, {"s": {"AP": 0.61, "F1": 0.3, "NAB": math.nan, "kev/s": 9.0}})
    assert new["s"] == {
        "AP": {"value": 0.61, "tolerance": 0.007},
        "F1": {"value": 0.3, "tolerance": figures.TOLERANCE["F1"]},
    }
    assert new["other"] == COMMITTED["s"]


def test_the_command_measures_draws_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measured(["made_orders"], figures.read(), tmp_path, accept=False) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "made_orders"
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")
    better = figures.read()
    better["own"]["made_orders"]["AP"]["value"] = 1.0
    assert measured(["made_orders"], better, tmp_path, accept=False) == 1
    assert "fell: made_orders: AP" in capsys.readouterr().err


def test_an_unknown_stream_is_one_line_and_exit_code_two() -> None:
    command = [sys.executable, "-m", "tests.quality", "--streams", "nosuch"]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, timeout=60)
    assert done.returncode == 2
    assert b"no such stream: nosuch" in done.stderr
    assert b"Traceback" not in done.stderr


def test_our_judge_is_held_to_the_shared_one() -> None:
    one = once("made_orders")
    assert shared.differing({"made_orders": dict(one.row)}, [one]) == []
    assert len(shared.differing({"made_orders": {**one.row, "AP": 0.1}}, [one])) == 1


def test_the_readme_has_the_committed_average_precisions() -> None:
    text = figures.README.read_text("utf-8")
    assert figures.put_into(text, "average precision", figures.average_precisions(figures.read())) == text


def test_what_is_put_into_a_text_replaces_what_was_there() -> None:
    text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb"
    assert figures.put_into(text, "x", "new") == "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb"
    with pytest.raises(ValueError, match="not enough values"):
        figures.put_into(text, "y", "new")


def test_the_best_peer_is_named() -> None:
    known = {"peers": {"s": {"one": 0.1, "two": 0.25}}}
    assert figures.best_peer(known, "s") == "0.250 two"
    assert figures.best_peer(known, "t") == "-"


def test_a_table_has_a_cell_for_each_column() -> None:
    row = dict.fromkeys(COLUMNS, 0.5) | {"delay": math.nan}
    assert len(heading().split()) == len(COLUMNS) + 1
    assert line("s", row).split() == ["s", *("-" if c == "delay" else "0.5" for c in COLUMNS)]


def test_a_scorer_that_answers_too_little_is_named() -> None:
    stream = everyday.stream("made_orders")
    with pytest.raises(NoAnswer, match="events went in, 0 answers came out"):
        run(["true"], stream)
    with pytest.raises(NoAnswer, match="ended with 2"):
        run(["sh", "-c", "exit 2"], stream)
