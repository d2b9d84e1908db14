"""A POST to where a tenant says: to public addresses only, within seconds, with a bounded answer, and nowhere else after it.

The host is looked up once, every address of it is checked, and the connection goes to an address that was checked, with the
host's name in Host and SNI: a name that answers otherwise a moment later (DNS rebinding) changes nothing. Redirects are
answers like others, proxies of the environment are not asked.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LookupTimeout
from dataclasses import dataclass, field
from typing import Any

import httpcore

from pipeline.alerts.addresses import Destination, Resolve, checked, destination

CONNECT_S, TOTAL_S = 3.0, 10.0
MOST_BODY = 4_096
_CHUNK = 16_384
_LOOKUPS = 8


class NotAnswered(Exception):
    """No answer came; the text says why, in one line."""


@dataclass(frozen=True)
class Reply:
    """What was answered: `body` at most 4 KiB of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses of a host as the system knows them."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Outbound:
    """How requests go out. `allow_loopback` also lets http through: for tests and local development only."""

    allow_loopback: bool = False
    resolve: Resolve = system_resolver
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    clock: Callable[[], float] = time.monotonic
    connect_s: float = CONNECT_S
    total_s: float = TOTAL_S
    _lookups: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_LOOKUPS), repr=False)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The answer to a POST. `Blocked`: nothing was sent; `NotAnswered`."""
        to = destination(url, allow_loopback=self.allow_loopback)
        deadline = self.clock() + self.total_s
        addresses = checked(self._addresses(to), allow_loopback=self.allow_loopback)
        backend = _Backend(addresses, self.connect_s, deadline, self.clock)
        shown = f"[{to.host}]" if ":" in to.host else to.host
        target = httpcore.URL(scheme=to.scheme, host=to.host, port=to.port, target=to.target)
        usual = {"http": 80, "https": 443}[to.scheme]
        sent = {
            "Host": shown if to.port == usual else f"{shown}:{to.port}",
            "User-Agent": "DriftLock-Webhooks/1",
            "Connection": "close",
            **headers,
        }
        given = [(name.encode(), value.encode()) for name, value in sent.items()]
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self.tls, network_backend=backend) as pool,
                pool.stream("POST", target, headers=given, content=body) as response,
            ):
                return Reply(response.status, _headers(response.headers), _bounded(response.iter_stream()))
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise NotAnswered(self._said(error)) from error

    def _addresses(self, to: Destination) -> Sequence[str]:
        try:
            return self._lookups.submit(self.resolve, to.host, to.port).result(self.connect_s)
        except LookupTimeout as error:
            raise NotAnswered(f"the host was not found within {self.connect_s:.0f} seconds") from error
        except (OSError, UnicodeError) as error:
            raise NotAnswered("the host was not found") from error

    def _said(self, error: Exception) -> str:
        late = f"no whole answer within {self.total_s:.0f} seconds"
        kinds = {
            httpcore.ConnectTimeout: f"no connection within {self.connect_s:.0f} seconds",
            httpcore.ReadTimeout: late,
            httpcore.WriteTimeout: late,
            httpcore.RemoteProtocolError: "the answer is no HTTP",
        }
        return kinds.get(type(error)) or " ".join(str(error).split())[:200] or type(error).__name__


def _headers(given: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in given}


def _bounded(chunks: Iterable[bytes]) -> bytes:
    """The beginning of an answer; the rest is not read."""
    kept = bytearray()
    for chunk in chunks:
        kept += chunk
        if len(kept) >= MOST_BODY:
            break
    return bytes(kept[:MOST_BODY])


class _Backend(httpcore.NetworkBackend):
    """Connects to addresses that were checked, whatever name is asked for."""

    def __init__(self, addresses: Sequence[str], connect_s: float, deadline: float, clock: Callable[[], float]) -> None:
        self._addresses = addresses
        self._connect_s = connect_s
        self._deadline = deadline
        self._clock = clock

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - it was looked up already
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        until = min(self._clock() + self._connect_s, self._deadline)
        failed: Exception = httpcore.ConnectTimeout()
        for address in self._addresses:
            left = until - self._clock()
            if left <= 0:
                break
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _Stream(stream, self._deadline, self._clock)
        raise failed


class _Stream(httpcore.NetworkStream):
    """A connection whose every step ends by one deadline: an answer that trickles is cut off too."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float, clock: Callable[[], float]) -> None:
        self._inner = inner
        self._deadline = deadline
        self._clock = clock

    def _left(self, error: type[httpcore.TimeoutException]) -> float:
        left = self._deadline - self._clock()
        if left <= 0:
            raise error
        return left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._inner.read(max_bytes, self._left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        for at in range(0, len(buffer), _CHUNK):
            self._inner.write(buffer[at : at + _CHUNK], self._left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        left = self._left(httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline, self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
