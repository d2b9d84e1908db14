"""What a person gives a command: files to scan or to send, evidence bundles."""

import gzip
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import orjson
import zstandard

from pipeline import lines as files
from pipeline.evidence import container, verify
from pipeline.evidence.bundle import to_parts
from pipeline.scan import parse, read
from schemas.models import Anomaly
from tests.pipeline.evidence import cases

_SUFFIXES = (".txt", ".gz", ".zst")
_PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".txt": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
_FIELDS = (parse.Fields(), parse.Fields(event="event"), parse.Fields(time="ts"), parse.Fields("event", "stream", "ts"))
_REPLACED = ("anomaly", "usage", "settings", "events", "ledger")
"""Parts that the fuzzer writes. Not the state: it is under a trusted signature or is not looked at."""


def scanned(data: bytes) -> object:
    """A file of `driftlock scan`, plain or packed (well, or any bytes), its lines by the fields that are named."""
    chosen, rest = (data[:1] or b"\x00")[0], data[1:]
    fields = _FIELDS[chosen >> 2 & 3]
    with _file(chosen, rest) as path:
        return [parse.parse(line, fields) for line in read.lines((str(path),))]


def unpacked(data: bytes) -> int:
    """Bytes of the file of an input, and of what it holds as far as it can be unpacked."""
    total = len(data)
    with _file((data[:1] or b"\x00")[0], data[1:]) as path:
        try:
            with read._open(str(path), lambda _: None) as stream:
                while chunk := stream.read(1 << 16):
                    total += len(chunk)
        except (OSError, EOFError, zlib.error, zstandard.ZstdError):
            pass  # up to here
    return total


def sent(data: bytes) -> object:
    """A file of `driftlock events produce`."""
    chosen, rest = (data[:1] or b"\x00")[0], data[1:]
    with _file(chosen, rest) as path:
        return sum(map(len, files.lines(str(path))))


class _file:  # noqa: N801 - a context, not a thing
    """A file of some bytes, packed first where the fuzzer chose so."""

    def __init__(self, chosen: int, rest: bytes) -> None:
        suffix = _SUFFIXES[(chosen & 3) % 3]
        if chosen & 16:
            rest = _PACKED[suffix](rest)
        self._file = tempfile.NamedTemporaryFile(suffix=suffix)  # noqa: SIM115 - closed on exit
        self._file.write(rest)
        self._file.flush()

    def __enter__(self) -> Path:
        return Path(self._file.name)

    def __exit__(self, *_error: object) -> None:
        self._file.close()


def file_contents() -> Sequence[bytes]:
    """Files, of each kind."""
    rows = b'{"event":"paid","stream":"shop","ts":1772445600}\n{"event":{"a":1},"ts":"2026-03-02T10:00:00Z"}\n'
    bomb = b"\x28\xb5\x2f\xfd\x00\x58" + b"\x02\x00\x10\x00" * 2_000 + b"\x03\x00\x10\x00"
    return (
        b"\x00a line\r\n\nanother",
        b"\x0c" + rows,
        b"\x1d" + rows,
        b"\x1e" + rows,
        b"\x01" + gzip.compress(rows, mtime=0),
        b"\x02" + zstandard.ZstdCompressor().compress(rows)[:-3],
        b'\x08{"ts":-1e308}',
        b'\x08{"ts":"0001-01-01T00:00:00+23:59"}',
        b"\x02" + bomb,
    )


def evidence(data: bytes) -> object:
    """A bundle: any bytes; or a part of any bytes, well sealed by a key that is trusted."""
    chosen, rest = (data[:1] or b"\x00")[0], data[1:]
    if chosen == 0:
        return verify.verify(rest)
    if chosen == 1:  # what is changed of a bundle, not all of it: else it is none at once
        at, sealed = int.from_bytes(rest[:2], "little"), _case().sealed
        return verify.verify(sealed[:at] + rest[2:] + sealed[at + len(rest[2:]) :])
    parts = {**_parts(), _REPLACED[chosen % len(_REPLACED)]: rest}
    about = {"anomaly": str(Anomaly.from_bytes(_case().bundle.anomaly[-1]).id)}
    key = cases.KEY.public_key().public_bytes_raw().hex()
    verdict = verify.verify(container.seal(parts, about, cases.KEY), [key])
    if verdict.good and orjson.loads(parts["settings"])["stream"] != _case().bundle.source.stream:
        raise AssertionError("a bundle of another stream is good")
    return verdict


@lru_cache(maxsize=1)
def _case() -> cases.Case:
    return next(case for seed in range(1, 50) for case in cases.cases(seed) if case.bundle.ledger)


@lru_cache(maxsize=1)
def _parts() -> Mapping[str, bytes]:
    return to_parts(_case().bundle)


def bundles() -> Sequence[bytes]:
    """A bundle (seen once, so that all is imported), a change of it, and each part of it that is replaced by itself."""
    first = len(_REPLACED)
    evidence(b"\x00" + _case().sealed)
    return (
        b"\x00" + _case().sealed,
        b"\x01\x30\x00x",
        b"\x01\x00\x00" + container.FIRST_LINE + b"{}\n\n",
        *(bytes([first + number]) + _parts()[name] for number, name in enumerate(_REPLACED)),
    )


SCANNED = (read.ScanInput,)
EVIDENCE = (container.NotABundle,)
