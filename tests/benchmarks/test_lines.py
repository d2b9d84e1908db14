"""The lines that everything is measured on."""

import json

from tests.benchmarks.lines import BURST_EVERY, BURST_LINES, lines


def test_the_same_seed_gives_the_same_lines() -> None:
    assert list(lines(1_000, 7, seed=1)) == list(lines(1_000, 7, seed=1))
    assert list(lines(1_000, 7, seed=1)) != list(lines(1_000, 7, seed=2))


def test_lines_are_json_of_about_200_bytes_that_name_their_stream() -> None:
    made = list(lines(20_000, 100))
    assert 195 <= sum(len(line) for _, line in made) / len(made) <= 205
    assert all(json.loads(line)["stream"] == stream for stream, line in made)
    assert len({stream for stream, _ in made}) == 100


def test_a_burst_is_of_one_stream() -> None:
    errors = [stream for stream, line in lines(2 * BURST_EVERY, 100) if b'"error"' in line]
    assert len(errors) == 2 * BURST_LINES
    assert len(set(errors)) == 2
