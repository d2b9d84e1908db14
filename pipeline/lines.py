"""Lines of a file, plain or compressed, of standard input, or of a file that grows."""

import gzip
import io
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import zstandard

from schemas.errors import DriftlockError

_POLL_SECONDS = 0.2
_CHUNK = 1 << 16


def lines(path: str) -> Iterator[bytes]:
    """The lines of a file (.gz and .zst decompressed; "-": standard input), without their ends, empty ones left out."""
    try:
        with _opened(path) as file:
            for line in file:
                if text := line.rstrip(b"\r\n"):
                    yield text
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise _unreadable(path, error) from error


def following(
    path: str, stopped: Callable[[], bool], wait: Callable[[float], None] = time.sleep
) -> Iterator[bytes | None]:
    """The lines of a file and those written to it later, until `stopped`; None whenever there is nothing new.

    A line is given when its end is written. A file that was replaced or cut (rotated) is read again from its start.
    """
    if path == "-" or path.endswith((".gz", ".zst")):
        raise DriftlockError(f"{path} can't be followed: give a plain file")
    try:
        while not stopped():
            with Path(path).open("rb") as file:
                yield from _followed(path, file, stopped, wait)
    except OSError as error:
        raise _unreadable(path, error) from error


def _followed(
    path: str, file: IO[bytes], stopped: Callable[[], bool], wait: Callable[[float], None]
) -> Iterator[bytes | None]:
    """Lines until the name means another file, or this one became shorter."""
    begun = b""
    while not stopped():
        chunk = file.read(_CHUNK)
        if chunk:
            *whole, begun = (begun + chunk).split(b"\n")
            yield from (text for line in whole if (text := line.rstrip(b"\r")))
            continue
        here = os.fstat(file.fileno())
        try:
            there = Path(path).stat()
        except FileNotFoundError:  # between the two steps of a rotation
            there = here
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) or there.st_size < file.tell():
            if begun:
                yield begun
            return
        yield None
        wait(_POLL_SECONDS)


def _opened(path: str) -> IO[bytes]:
    if path == "-":
        return sys.stdin.buffer
    if path.endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if path.endswith(".zst"):
        source = Path(path).open("rb")  # noqa: SIM115 - closed with the reader
        reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True, closefd=True)
        return io.BufferedReader(reader, _CHUNK)
    return Path(path).open("rb")


def _unreadable(path: str, error: Exception) -> DriftlockError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DriftlockError(f"{path} can't be read: {reason}")
