"""Lines of files: plain, .gz, .zst, or `-` for standard input."""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from schemas.errors import DriftlockError

MAX_EVENT_BYTES = 64 << 10
"""A longer line is cut here; in the pipeline it is a dead letter."""
_CHUNK = 1 << 20
_PIECE = 256


class ScanInput(DriftlockError):
    """A file can't be scanned."""


@dataclass(frozen=True)
class Line:
    """One line without its end, and where it stands; `number` counts from 1."""

    file: str
    number: int
    data: bytes


def lines(files: tuple[str, ...], progress: Callable[[int], None] = lambda _: None) -> Iterator[Line]:
    """All lines of all files in order, empty ones left out; `progress` gets the bytes read of the files as they lie on disk."""
    for file in files:
        try:
            with _open(file, progress) as stream:
                for number, data in enumerate(_split(stream), 1):
                    if data:
                        yield Line(file, number, data[:MAX_EVENT_BYTES])
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise ScanInput(f"{file} can't be read: {reason}") from error


def size(files: tuple[str, ...]) -> int | None:
    """Bytes of all files as they lie on disk; None where standard input is among them or one can't be seen."""
    try:
        return None if "-" in files else sum(Path(f).stat().st_size for f in files)
    except OSError:
        return None


@contextmanager
def _open(file: str, progress: Callable[[int], None]) -> Iterator[BinaryIO]:
    raw = sys.stdin.buffer if file == "-" else cast("BinaryIO", Path(file).open("rb"))  # noqa: SIM115 (closed by `closing`)
    with closing(cast("BinaryIO", _Counted(raw, progress))) as counted:
        if file.endswith(".gz"):
            with gzip.GzipFile(fileobj=counted) as unpacked:  # which closes itself and not what it reads
                yield cast("BinaryIO", unpacked)
        elif file.endswith(".zst"):
            yield cast("BinaryIO", _Zstandard(counted))
        else:
            yield counted


class _Counted:
    """A binary stream that says how many bytes were read."""

    def __init__(self, stream: BinaryIO, progress: Callable[[int], None]) -> None:
        self._stream = stream
        self._progress = progress

    def read(self, n: int = -1) -> bytes:
        data = self._stream.read(n)
        self._progress(len(data))
        return data

    def close(self) -> None:
        self._stream.close()


class _Zstandard:
    """A stream of zstd frames, decoded; EOFError where the last one is cut off (the library's own reader ends silently)."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder: zstandard.ZstdDecompressionObj | None = None
        self._data, self._at = b"", 0

    def read(self, n: int) -> bytes:
        """The next n bytes, or up to 8 MiB more; fewer only at the end.

        256 bytes in give at most 64 blocks of 128 KiB out, whatever they are: so a bomb costs time, not memory.
        """
        out = bytearray()
        while len(out) < n:
            if self._at == len(self._data):
                self._data, self._at = self._stream.read(n >> 3), 0
                if not self._data:
                    if not out and self._decoder is not None:
                        raise EOFError("it is cut off within a zstd frame")
                    break
            piece = self._data[self._at : self._at + _PIECE]
            decoder = self._decoder = self._decoder or zstandard.ZstdDecompressor().decompressobj()
            out += decoder.decompress(piece)
            self._at += len(piece)
            if decoder.eof:
                self._at -= len(decoder.unused_data)
                self._decoder = None
        return bytes(out)

    def close(self) -> None:
        self._stream.close()


def _split(stream: BinaryIO) -> Iterator[bytes]:
    """Lines of a stream. What is beyond 64 KiB of a line is dropped while it is read, so that memory stays bounded."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
        if len(rest) > 2 * MAX_EVENT_BYTES:
            rest = rest[: 2 * MAX_EVENT_BYTES]
    if rest:
        yield rest.removesuffix(b"\r")
