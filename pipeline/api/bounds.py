"""What a request may hold: its body, read within bounds whatever it says of itself; and small bodies everywhere else."""

import zlib
from collections.abc import AsyncIterator

import zstandard
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.problems import Answered, answer

MAX_BODY = 5 << 20
MAX_SMALL_BODY = 64 << 10
_LARGE = frozenset({"/v1/events", "/v1/logs", "/v1/metrics", "/v1/traces"})
_OUT = 1 << 16


async def body(chunks: AsyncIterator[bytes], encoding: str, most: int = MAX_BODY) -> bytes:
    """The body, decompressed as Content-Encoding says; 413 as soon as it is more than `most` bytes, packed or not.

    A bomb costs `most` bytes: output is taken piece by piece. 415 for another encoding, 400 for what is none.
    """
    name = encoding.strip().lower()
    out = bytearray()
    read = 0
    inflate = _decoder(name, out, most)
    async for chunk in chunks:
        read += len(chunk)
        if read > most:
            raise _too_large(most)
        if chunk:
            inflate(chunk, last=False)
    inflate(b"", last=True)
    return bytes(out)


def _too_large(most: int) -> Answered:
    return Answered(413, f"a request may have {most} bytes, packed or not: send smaller batches")


class _Inflate:
    """gzip (several members too), zstd (several frames too) or nothing."""

    def __init__(self, name: str, out: bytearray, most: int) -> None:
        self._name, self._out, self._most = name, out, most
        self._gzip = zlib.decompressobj(31)
        self._zstd = zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj()
        self._begun = self._ended = False

    def __call__(self, chunk: bytes, *, last: bool) -> None:
        try:
            if self._name in {"", "identity"}:
                self._take(chunk)
            elif self._name == "gzip":
                self._gunzip(chunk)
            else:
                self._unzstd(chunk)
        except (zlib.error, zstandard.ZstdError) as error:
            raise Answered(400, f"the body is not {self._name}") from error
        if last and self._name in {"gzip", "zstd"} and self._begun and not self._ended:
            raise Answered(400, f"the body ends within its {self._name}")

    def _take(self, piece: bytes) -> None:
        self._out += piece
        if len(self._out) > self._most:
            raise _too_large(self._most)

    def _gunzip(self, chunk: bytes) -> None:
        while chunk:
            self._begun, self._ended = True, False
            self._take(self._gzip.decompress(chunk, _OUT))
            chunk = self._gzip.unconsumed_tail
            if self._gzip.eof:
                chunk, self._ended = self._gzip.unused_data, True
                self._gzip = zlib.decompressobj(31)

    def _unzstd(self, chunk: bytes) -> None:
        # 64 bytes in give at most 64 blocks of 128 KiB out, whatever they are.
        for at in range(0, len(chunk), 64):
            piece = chunk[at : at + 64]
            while piece:
                self._begun, self._ended = True, False
                self._take(self._zstd.decompress(piece))
                piece = b""
                if self._zstd.eof:
                    piece, self._ended = self._zstd.unused_data, True
                    self._zstd = zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj()


def _decoder(name: str, out: bytearray, most: int) -> _Inflate:
    if name not in {"", "identity", "gzip", "zstd"}:
        raise Answered(415, "Content-Encoding must be gzip or zstd, or left out")
    return _Inflate(name, out, most)


class SmallBodies:
    """Refuses bodies over 64 KiB wherever no batch of events is expected."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what is read of it."""
        if scope["type"] != "http" or scope["path"] in _LARGE:
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"content-length", b"0")
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_SMALL_BODY:
                raise Answered(413, f"a request to this may have {MAX_SMALL_BODY} bytes")
            return message

        if not given.isdigit() or int(given[:20]) > MAX_SMALL_BODY:
            await answer(413, f"a request to this may have {MAX_SMALL_BODY} bytes")(scope, receive, send)
            return
        await self._app(scope, counted, send)
