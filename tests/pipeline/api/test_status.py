"""The status of all processes: what they say themselves, what can't be asked, and that callers make no load."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from pipeline.api import status
from pipeline.api.app import build
from pipeline.api.status import Gatherer, Process, Target, targets
from pipeline.embedded.ports import free_ports
from schemas.errors import SettingsError

READY = (200, b'{"status": "ready", "failing": {}}')
NOT_READY = (503, b'{"status": "not ready", "failing": {"stripe": "no answer from 10.0.0.7", "<b>": "x"}}')


@contextmanager
def process(code: int, body: bytes) -> Iterator[tuple[str, list[str]]]:
    """Something that answers on a port, and what it was asked."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join(10)


def gathered(*origins: str) -> status.Status:
    return asyncio.run(Gatherer(tuple(Target(f"p{i}", origin) for i, origin in enumerate(origins))).status())


def test_each_process_is_told_with_the_names_of_what_fails_and_nothing_more() -> None:
    (nobody,) = free_ports(1)
    with process(*READY) as (one, _), process(*NOT_READY) as (two, _):
        found = gathered(one, two, f"http://127.0.0.1:{nobody}")
    assert found.status == "degraded"
    assert found.processes == (
        Process("p0", "ready"),
        Process("p1", "not ready", ("stripe",)),
        Process("p2", "unreachable"),
    )


@pytest.mark.parametrize(
    "other",
    [
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"status": "fine"}'),
        (302, b""),
        (200, b'{"status": "ready", "x": "' + b"x" * (70 << 10) + b'"}'),
    ],
    ids=["page", "list", "words", "redirect", "large"],
)
def test_what_is_no_answer_of_ours_is_unreachable(other: tuple[int, bytes]) -> None:
    with process(*other) as (one, _):
        assert gathered(one).processes == (Process("p0", "unreachable"),)


def test_processes_are_asked_once_in_two_seconds_whoever_asks() -> None:
    clock = [100.0]
    with process(*READY) as (one, asked):
        gatherer = Gatherer((Target("packer", one),), lambda: clock[0], lambda: datetime(2026, 3, 2, tzinfo=UTC))
        app = build({}, "1", "abc", status=gatherer)

        async def ask(times: int) -> list[httpx.Response]:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
                return list(await asyncio.gather(*(client.get("/v1/status") for _ in range(times))))

        first = asyncio.run(ask(20))
        assert asked == ["/readyz"]
        clock[0] += status.KEPT_S
        asyncio.run(ask(1))
        assert len(asked) == 2
    assert {answer.status_code for answer in first} == {200}
    assert first[0].json() == {
        "status": "ready",
        "at": "2026-03-02T00:00:00Z",
        "processes": [{"name": "packer", "state": "ready", "failing": []}],
    }


@pytest.mark.parametrize(
    "setting", ["packer", "packer=", "=http://a", "packer=ftp://a", "Pa cker=http://a", "a=http://a/x"]
)
def test_a_wrong_target_is_named(setting: str) -> None:
    with pytest.raises(SettingsError, match="STATUS_TARGETS"):
        targets(setting)
