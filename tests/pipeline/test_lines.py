"""Lines of files: plain, compressed, growing, rotated, or not readable."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from pipeline.lines import following, lines
from schemas.errors import DriftlockError

TEXT = b"one\r\n\ntwo \xff\nlast"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("f.log", TEXT),
        ("f.log.gz", gzip.compress(TEXT, mtime=0)),
        ("f.log.zst", zstandard.compress(TEXT) + zstandard.compress(b"")),
    ],
)
def test_lines_of_a_file(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert list(lines(str(tmp_path / name))) == [b"one", b"two \xff", b"last"]


@pytest.mark.parametrize("name", ["missing.log", "broken.gz", "broken.zst"])
def test_what_cannot_be_read_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    if "broken" in name:
        (tmp_path / name).write_bytes(b"\x00\x01 not compressed")
    with pytest.raises(DriftlockError, match="can't be read") as told:
        list(lines(str(tmp_path / name)))
    assert "\n" not in str(told.value)


def test_a_growing_file_is_followed_through_rotation(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\ntw")
    steps: Iterator[object] = iter(
        [
            lambda: path.write_bytes(b"one\ntwo\n"),
            lambda: (path.rename(tmp_path / "old"), path.write_bytes(b"three\n")),
            lambda: path.write_bytes(b"4\n"),
        ]
    )
    ended = False

    def wait(_seconds: float) -> None:
        nonlocal ended
        step = next(steps, None)
        if callable(step):
            step()
        else:
            ended = True

    assert [line for line in following(str(path), lambda: ended, wait) if line] == [b"one", b"two", b"three", b"4"]


@pytest.mark.parametrize("path", ["-", "x.gz"])
def test_what_cannot_grow_is_not_followed(path: str) -> None:
    with pytest.raises(DriftlockError, match="can't be followed"):
        list(following(path, lambda: False))


def test_a_damaged_block_of_gzip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(b"")[:10] + b"\xff" * 20)
    with pytest.raises(DriftlockError, match="invalid block type"):
        list(lines(str(tmp_path / "f.gz")))
