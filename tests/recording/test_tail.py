"""Entries of many lines are one event, whatever pieces the file grew by."""

import time
from pathlib import Path

import pytest

from tests.recording.tail import KAFKA, LINE, POSTGRES, SHOP, Entry, Source, Tail

MANY_LINES = """2026-11-23 10:00:00.124 UTC [12] shop@shop ERROR:  column "x" does not exist at character 8
2026-11-23 10:00:00.124 UTC [12] shop@shop HINT:  Perhaps another.
2026-11-23 10:00:00.124 UTC [12] shop@shop STATEMENT:  SELECT x
\tFROM y"""
LOGS = {
    POSTGRES: [
        "2026-11-23 10:00:00.123 UTC [12] shop@shop LOG:  duration: 0.1 ms  statement: SELECT 1",
        MANY_LINES,
        "2026-11-23 10:00:00.125 UTC [9] LOG:  checkpoint starting: time",
    ],
    KAFKA: [
        "[2026-11-23 10:00:00,123] INFO one (kafka.log.LogManager)",
        "[2026-11-23 10:00:00,124] ERROR two (kafka.server.Broker)\njava.io.IOException: no\n\tat a.B.c(B.java:1)",
        "[2026-11-23 10:00:00,125] INFO three (kafka.log.LogManager)",
    ],
    SHOP: [
        "2026-11-23 10:00:00,123 INFO [shop.http] one",
        "2026-11-23 10:00:00,124 ERROR [shop.http] two\nTraceback (most recent call last):\n  File\nKeyError: 1",
    ],
}


@pytest.mark.parametrize("first", LOGS)
def test_an_entry_of_many_lines_is_one_event(tmp_path: Path, first: object) -> None:
    wanted = LOGS[first]  # type: ignore[index]
    assert [entry.event for entry in _followed(tmp_path, first, "\n".join(wanted) + "\n")] == wanted


def test_a_json_object_is_an_object_and_anything_else_is_text(tmp_path: Path) -> None:
    entries = _followed(tmp_path, LINE, '{"event": "x", "n": 1}\n{broken\n[1]\n')
    assert [entry.event for entry in entries] == [{"event": "x", "n": 1}, "{broken", "[1]"]


def test_what_was_there_before_is_left_out(tmp_path: Path) -> None:
    assert [entry.event for entry in _followed(tmp_path, LINE, "new\n", before="old\n")] == ["new"]


def _followed(folder: Path, first: object, text: str, before: str = "") -> list[Entry]:
    path = folder / "log"
    path.write_text(before)
    seen: list[Entry] = []
    follow = Tail([Source("s", path, first)], seen.append)  # type: ignore[arg-type]
    began = time.time()
    follow.start()
    with path.open("a") as file:
        for piece in (text[: len(text) // 3], text[len(text) // 3 :]):
            file.write(piece)
            file.flush()
    follow.stop()
    assert all(entry.stream == "s" and began <= entry.at <= time.time() for entry in seen)
    return seen
